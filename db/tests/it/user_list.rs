use hub_db::repo::user_list::{Only, ServerState, SortBy, UserQuery, list};
use hub_db::repo::{Range, groups, spawners, users};

use crate::harness::{Bed, Kind, at, noon, on_every_database};

on_every_database!(
    the_list_sorts_with_nulls_first_ascending_and_last_descending,
    the_list_filters_by_state_name_and_what_the_caller_may_see,
    pages_do_not_overlap_and_count_all,
);

fn everything() -> UserQuery {
    UserQuery {
        state: None,
        name_filter: None,
        only: None,
        sort: SortBy::Id,
        descending: false,
        range: Range { offset: 0, limit: 100 },
    }
}

async fn names(bed: &Bed, query: &UserQuery) -> Vec<String> {
    let page = list(bed.db.conn(), query).await.unwrap();
    page.items.into_iter().map(|user| user.name).collect()
}

/// `cy`, `ada` (seen late, one server runs), `bob` (seen early), `Dan` in group `staff`.
async fn fill(bed: &Bed) {
    let tx = bed.db.begin().await.unwrap();
    for (name, seen) in [
        ("cy", None),
        ("ada", Some("2026-03-02T00:00:00Z")),
        ("bob", Some("2026-03-01T00:00:00Z")),
        ("Dan", None),
    ] {
        let user = users::create(&tx, name, false, noon()).await.unwrap();
        spawners::create(&tx, user.id, "lab").await.unwrap();
        if let Some(seen) = seen {
            users::bump_activity(&tx, user.id, at(seen), chrono::TimeDelta::zero()).await.unwrap();
        }
        let lab = spawners::by_name(&tx, user.id, "lab").await.unwrap().unwrap();
        if name == "ada" {
            let address = spawners::Address {
                proto: "http".to_owned(),
                ip: String::new(),
                port: 1,
                base_url: "/".to_owned(),
            };
            spawners::set_server(&tx, lab.row.id, &address).await.unwrap();
        }
        if name == "Dan" {
            let staff = groups::create(&tx, "staff").await.unwrap();
            groups::add_users(&tx, staff.id, &[user.id]).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
}

async fn the_list_sorts_with_nulls_first_ascending_and_last_descending(bed: Bed) {
    fill(&bed).await;
    let sorted = async |sort, descending| names(&bed, &UserQuery { sort, descending, ..everything() }).await;
    assert_eq!(sorted(SortBy::Id, false).await, ["cy", "ada", "bob", "Dan"]);
    assert_eq!(sorted(SortBy::Id, true).await, ["Dan", "bob", "ada", "cy"]);
    assert_eq!(sorted(SortBy::LastActivity, false).await, ["cy", "Dan", "bob", "ada"]);
    assert_eq!(sorted(SortBy::LastActivity, true).await, ["ada", "bob", "cy", "Dan"]);
    let by_name: &[&str] = match bed.kind {
        Kind::MariaDb => &["ada", "bob", "cy", "Dan"],
        Kind::Sqlite | Kind::Postgres => &["Dan", "ada", "bob", "cy"],
    };
    // PostgreSQL follows the collation of the database, which the server's installation decides.
    let mut found = sorted(SortBy::Name, false).await;
    if bed.kind == Kind::Postgres && found != by_name {
        assert_eq!(found, ["ada", "bob", "cy", "Dan"]);
    } else {
        assert_eq!(found, by_name);
    }
    found.reverse();
    assert_eq!(sorted(SortBy::Name, true).await, found);
}

async fn the_list_filters_by_state_name_and_what_the_caller_may_see(bed: Bed) {
    fill(&bed).await;
    let state = async |state| names(&bed, &UserQuery { state: Some(state), ..everything() }).await;
    assert_eq!(state(ServerState::Active).await, ["ada"]);
    assert_eq!(state(ServerState::Inactive).await, ["cy", "bob", "Dan"]);

    let like = async |part: &str| {
        names(&bed, &UserQuery { name_filter: Some(part.to_owned()), ..everything() }).await
    };
    assert_eq!(like("A").await, ["ada", "Dan"]);
    assert_eq!(like("d_n").await, ["Dan"]);
    assert_eq!(like("'; --").await, [""; 0]);
    assert_eq!(like("").await.len(), 4);

    let only = async |users: &[&str], groups: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let only = Some(Only { users: owned(users), groups: owned(groups) });
        names(&bed, &UserQuery { only, ..everything() }).await
    };
    assert_eq!(only(&["bob"], &["staff", "none"]).await, ["bob", "Dan"]);
    assert_eq!(only(&[], &["staff"]).await, ["Dan"]);
    assert_eq!(only(&["nobody"], &[]).await, [""; 0]);
    assert_eq!(only(&[], &[]).await, [""; 0]);

    let both =
        UserQuery { state: Some(ServerState::Inactive), name_filter: Some("b".to_owned()), ..everything() };
    assert_eq!(names(&bed, &both).await, ["bob"]);
}

async fn pages_do_not_overlap_and_count_all(bed: Bed) {
    fill(&bed).await;
    let mut seen = Vec::new();
    for offset in [0, 3, 6] {
        let query =
            UserQuery { range: Range { offset, limit: 3 }, sort: SortBy::LastActivity, ..everything() };
        let page = list(bed.db.conn(), &query).await.unwrap();
        assert_eq!(page.total, 4);
        seen.extend(page.items.into_iter().map(|user| user.name));
    }
    assert_eq!(seen, ["cy", "Dan", "bob", "ada"]);
}
