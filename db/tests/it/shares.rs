use chrono::TimeDelta;
use hub_db::repo::share_codes::CodeFilter;
use hub_db::repo::shares::{Receiver, ShareFilter, Shared};
use hub_db::repo::{Range, groups, purge, share_codes, shares, spawners, users};
use hub_db::{ConnectionTrait, DbError, Timestamp};

use crate::harness::{Bed, Counting, noon, number, on_every_database, texts};

on_every_database!(
    granting_merges_and_revoking_narrows,
    shares_reach_users_through_their_groups,
    scopes_follow_when_owner_or_server_is_renamed,
    codes_are_exchanged_counted_and_end,
    lists_of_shares_take_a_fixed_number_of_queries,
);

const PAGE: Range = Range { offset: 0, limit: 50 };

fn scopes(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn server(db: &impl ConnectionTrait, owner: &str) -> Shared {
    let owner = users::create(db, owner, false, noon()).await.unwrap();
    let row = spawners::create(db, owner.id, "lab").await.unwrap();
    Shared { spawner_id: row.id, server_name: row.name, owner_id: owner.id, owner_name: owner.name }
}

async fn granting_merges_and_revoking_narrows(bed: Bed) {
    let db = bed.db.conn();
    let lab = server(db, "ada").await;
    let bob = users::create(db, "bob", false, noon()).await.unwrap();
    let to = Receiver::User(bob.id);
    let first = shares::grant(db, &lab, to, &scopes(&["access:servers"]), noon()).await.unwrap();
    assert_eq!(first.scopes.0, ["access:servers!server=ada/lab"]);
    let more = scopes(&["read:servers", "access:servers!server=ada/lab"]);
    let second = shares::grant(db, &lab, to, &more, noon()).await.unwrap();
    assert_eq!(second.id, first.id);
    assert_eq!(second.scopes.0, ["access:servers!server=ada/lab", "read:servers!server=ada/lab"]);

    let left =
        shares::revoke(db, &lab, to, Some(&scopes(&["read:servers", "servers"]))).await.unwrap().unwrap();
    assert_eq!(left.scopes.0, ["access:servers!server=ada/lab"]);
    let found = shares::find(db, lab.spawner_id, to, noon()).await.unwrap().unwrap();
    assert_eq!((found.user.as_deref(), found.group, found.server.clone()), (Some("bob"), None, lab.clone()));
    assert_eq!(shares::revoke(db, &lab, to, Some(&scopes(&["access:servers"]))).await.unwrap(), None);
    assert!(shares::find(db, lab.spawner_id, to, noon()).await.unwrap().is_none());
    shares::grant(db, &lab, to, &more, noon()).await.unwrap();
    assert_eq!(shares::revoke(db, &lab, to, None).await.unwrap(), None);
    assert_eq!(shares::revoke(db, &lab, to, None).await.unwrap(), None);
    assert_eq!(number(db, "SELECT COUNT(*) FROM shares").await, 0);
    assert!(matches!(shares::grant(db, &lab, to, &[], noon()).await, Err(DbError::Invalid(_))));
}

async fn shares_reach_users_through_their_groups(bed: Bed) {
    let db = bed.db.conn();
    let lab = server(db, "ada").await;
    let bob = users::create(db, "bob", false, noon()).await.unwrap();
    let staff = groups::create(db, "staff").await.unwrap();
    groups::add_users(db, staff.id, &[bob.id]).await.unwrap();
    let to_group =
        shares::grant(db, &lab, Receiver::Group(staff.id), &scopes(&["read:servers"]), noon()).await.unwrap();
    let to_bob =
        shares::grant(db, &lab, Receiver::User(bob.id), &scopes(&["servers"]), noon()).await.unwrap();
    let ids = async |which| {
        let page = shares::list(db, which, PAGE, noon()).await.unwrap();
        assert_eq!(page.total, page.items.len() as u64);
        page.items.into_iter().map(|entry| entry.share.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(ShareFilter::ToUserOrItsGroups(bob.id)).await, [to_group.id, to_bob.id]);
    assert_eq!(ids(ShareFilter::ToUser(bob.id)).await, [to_bob.id]);
    let held = async |groups| shares::scopes_of_user(db, bob.id, groups, noon()).await.unwrap();
    assert_eq!(held(false).await, ["servers!server=ada/lab"]);
    assert_eq!(held(true).await, ["read:servers!server=ada/lab", "servers!server=ada/lab"]);
    assert_eq!(ids(ShareFilter::ToGroup(staff.id)).await, [to_group.id]);
    assert_eq!(ids(ShareFilter::OfServer(lab.spawner_id)).await, [to_group.id, to_bob.id]);
    assert_eq!(ids(ShareFilter::OfOwner(bob.id)).await, [0; 0]);
    assert_eq!(shares::all(db, ShareFilter::OfOwner(lab.owner_id), noon()).await.unwrap().len(), 2);
    groups::remove_users(db, staff.id, &[bob.id]).await.unwrap();
    assert_eq!(ids(ShareFilter::ToUserOrItsGroups(bob.id)).await, [to_bob.id]);
    assert!(shares::delete(db, to_bob.id).await.unwrap());
    assert_eq!(shares::delete_of_server(db, lab.spawner_id).await.unwrap(), 1);
}

async fn scopes_follow_when_owner_or_server_is_renamed(bed: Bed) {
    let db = bed.db.conn();
    let lab = server(db, "ada").await;
    let bob = users::create(db, "bob", false, noon()).await.unwrap();
    shares::grant(db, &lab, Receiver::User(bob.id), &scopes(&["access:servers"]), noon()).await.unwrap();
    share_codes::create(db, &lab, &scopes(&["access:servers"]), noon() + TimeDelta::days(1), noon())
        .await
        .unwrap();
    users::rename(db, lab.owner_id, "lovelace").await.unwrap();
    spawners::rename(db, lab.spawner_id, "engine").await.unwrap();
    let read = shares::find(db, lab.spawner_id, Receiver::User(bob.id), noon()).await.unwrap().unwrap();
    assert_eq!(read.share.scopes.0, ["access:servers!server=lovelace/engine"]);
    assert_eq!(read.server.owner_name, "lovelace");
    let db = Counting::new(db);
    let held = shares::scopes_of_user(&db, bob.id, true, noon()).await.unwrap();
    assert_eq!((held, db.take()), (vec!["access:servers!server=lovelace/engine".to_owned()], 1));
    let db = bed.db.conn();
    assert_eq!(texts(db, "SELECT scopes FROM shares").await, ["[\"access:servers!server=ada/lab\"]"]);
    shares::repin(db, lab.owner_id).await.unwrap();
    let stored = ["[\"access:servers!server=lovelace/engine\"]"];
    assert_eq!(texts(db, "SELECT scopes FROM shares").await, stored);
    assert_eq!(texts(db, "SELECT scopes FROM share_codes").await, stored);
}

async fn codes_are_exchanged_counted_and_end(bed: Bed) {
    let db = bed.db.conn();
    let lab = server(db, "ada").await;
    let bob = users::create(db, "bob", false, noon()).await.unwrap();
    let end = noon() + TimeDelta::days(1);
    let (row, text) = share_codes::create(db, &lab, &scopes(&["access:servers"]), end, noon()).await.unwrap();
    assert_eq!(text.len(), 43);
    assert!(!row.hashed.as_deref().unwrap().contains(&text));
    assert!(share_codes::find(db, "wrong", noon()).await.unwrap().is_none());
    let code = share_codes::find(db, &text, noon()).await.unwrap().unwrap();
    assert_eq!(code.server, lab);

    for _ in 0..2 {
        let tx = bed.db.begin().await.unwrap();
        let share = share_codes::exchange(&tx, &code, Receiver::User(bob.id), noon()).await.unwrap();
        assert_eq!(share.scopes.0, ["access:servers!server=ada/lab"]);
        tx.commit().await.unwrap();
    }
    let seen = share_codes::by_id(db, row.id, noon()).await.unwrap().unwrap().code;
    assert_eq!((seen.exchange_count, seen.last_exchanged_at.map(Timestamp::utc)), (Some(2), Some(noon())));
    assert_eq!(number(db, "SELECT COUNT(*) FROM shares").await, 1);

    let list = async |which, now| share_codes::list(db, which, PAGE, now).await.unwrap().total;
    assert_eq!(list(CodeFilter::OfServer(lab.spawner_id), noon()).await, 1);
    assert_eq!(list(CodeFilter::OfOwner(lab.owner_id), noon()).await, 1);
    assert_eq!(list(CodeFilter::OfOwner(bob.id), noon()).await, 0);
    let late = end + TimeDelta::seconds(1);
    assert!(share_codes::find(db, &text, late).await.unwrap().is_none());
    assert_eq!(list(CodeFilter::OfOwner(lab.owner_id), late).await, 0);
    assert_eq!(purge::expired(db, late).await.unwrap().share_codes, 1);
    share_codes::create(db, &lab, &scopes(&["servers"]), end, noon()).await.unwrap();
    assert_eq!(share_codes::delete_of_server(db, lab.spawner_id).await.unwrap(), 1);
    assert!(!share_codes::delete(db, row.id).await.unwrap());
    assert!(matches!(share_codes::create(db, &lab, &[], end, noon()).await, Err(DbError::Invalid(_))));
}

async fn lists_of_shares_take_a_fixed_number_of_queries(bed: Bed) {
    let tx = bed.db.begin().await.unwrap();
    let bob = users::create(&tx, "bob", false, noon()).await.unwrap();
    for n in 0..15 {
        let lab = server(&tx, &format!("owner-{n}")).await;
        shares::grant(&tx, &lab, Receiver::User(bob.id), &scopes(&["servers"]), noon()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let db = Counting::new(bed.db.conn());
    let page = shares::list(&db, ShareFilter::ToUser(bob.id), PAGE, noon()).await.unwrap();
    assert_eq!(page.items.len(), 15);
    assert!(db.take() <= 6);
}
