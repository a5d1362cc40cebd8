use hub_db::repo::{Range, groups, roles, users};
use hub_db::{ConnectionTrait, JsonDict};
use serde_json::json;

use crate::harness::{Bed, noon, number, on_every_database};

on_every_database!(
    groups_are_made_listed_and_deleted_with_their_memberships,
    members_come_and_go_and_twice_is_once,
    the_groups_of_a_user_can_be_set_at_once,
);

async fn users_of(db: &impl ConnectionTrait, names: &[&str]) -> Vec<i32> {
    let mut ids = Vec::new();
    for name in names {
        ids.push(users::create(db, name, false, noon()).await.unwrap().id);
    }
    ids
}

async fn groups_are_made_listed_and_deleted_with_their_memberships(bed: Bed) {
    let db = bed.db.conn();
    let ids = users_of(db, &["ada"]).await;
    let staff = groups::create(db, "staff").await.unwrap();
    groups::create(db, "guests").await.unwrap();
    assert_eq!(staff.properties, Some(JsonDict(json!({}))));
    assert!(groups::create(db, "staff").await.unwrap_err().is_conflict());
    groups::set_properties(db, staff.id, json!({"quota": [1, {"é": null}]})).await.unwrap();
    let staff = groups::by_name(db, "staff").await.unwrap().unwrap();
    assert_eq!(staff.properties, Some(JsonDict(json!({"quota": [1, {"é": null}]}))));

    let range = Range { offset: 1, limit: 10 };
    let page = groups::list(db, None, range).await.unwrap();
    assert_eq!((page.total, page.items[0].name.as_str()), (2, "guests"));
    let page = groups::list(db, Some(&["staff".to_owned()]), Range { offset: 0, limit: 10 }).await.unwrap();
    assert_eq!((page.total, page.items.len()), (1, 1));
    assert_eq!(groups::list(db, Some(&[]), range).await.unwrap().total, 0);

    groups::add_users(db, staff.id, &ids).await.unwrap();
    let role =
        roles::RoleSpec { name: "r".to_owned(), description: None, scopes: vec![], managed_by_auth: false };
    let role = roles::create(db, role).await.unwrap();
    roles::assign(db, role.id, roles::Holder::Group(staff.id), false).await.unwrap();
    assert!(groups::delete(db, staff.id).await.unwrap());
    assert!(!groups::delete(db, staff.id).await.unwrap());
    assert_eq!(number(db, "SELECT COUNT(*) FROM user_group_map").await, 0);
    assert_eq!(number(db, "SELECT COUNT(*) FROM group_role_map").await, 0);
    assert_eq!(users::count(db).await.unwrap(), 1);
}

async fn members_come_and_go_and_twice_is_once(bed: Bed) {
    let db = bed.db.conn();
    let ids = users_of(db, &["cy", "ada", "bob"]).await;
    let staff = groups::create(db, "staff").await.unwrap();
    groups::add_users(db, staff.id, &ids[..2]).await.unwrap();
    groups::add_users(db, staff.id, &ids).await.unwrap();
    groups::add_users(db, staff.id, &[]).await.unwrap();
    let members =
        async || groups::members(db, &[staff.id]).await.unwrap().remove(&staff.id).unwrap_or_default();
    assert_eq!(members().await, ["cy", "ada", "bob"]);
    groups::remove_users(db, staff.id, &ids[1..2]).await.unwrap();
    assert_eq!(members().await, ["cy", "bob"]);
    let missing = groups::add_users(db, staff.id, &[99_999]).await.unwrap_err();
    assert!(missing.is_conflict(), "{missing}");
}

async fn the_groups_of_a_user_can_be_set_at_once(bed: Bed) {
    let db = bed.db.conn();
    let ids = users_of(db, &["ada", "bob"]).await;
    let old = groups::create(db, "old").await.unwrap();
    groups::create(db, "kept").await.unwrap();
    groups::add_users(db, old.id, &ids).await.unwrap();
    let set = async |names: &[&str]| {
        let tx = bed.db.begin().await.unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        groups::set_for_user(&tx, ids[0], &names).await.unwrap();
        tx.commit().await.unwrap();
        groups::names_of_users(db, &ids).await.unwrap()
    };
    let found = set(&["new", "kept"]).await;
    assert_eq!(found[&ids[0]], ["kept", "new"]);
    assert_eq!(found[&ids[1]], ["old"]);
    assert_eq!(set(&[]).await.get(&ids[0]), None);
    let of_bob = groups::of_user(db, ids[1]).await.unwrap();
    assert_eq!(of_bob.len(), 1);
    assert_eq!(of_bob[0].name, "old");
}
