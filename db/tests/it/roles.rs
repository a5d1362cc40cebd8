use hub_db::repo::roles::{Holder, RoleSpec};
use hub_db::repo::{groups, role_members, roles, services, users};

use crate::harness::{Bed, Counting, noon, number, on_every_database};

on_every_database!(
    roles_are_made_updated_and_deleted_with_their_holders,
    scopes_come_directly_and_through_groups_in_one_query,
    holders_of_all_kinds_are_listed_by_name,
);

fn spec(name: &str, scopes: &[&str]) -> RoleSpec {
    RoleSpec {
        name: name.to_owned(),
        description: Some(format!("The {name}")),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        managed_by_auth: false,
    }
}

async fn roles_are_made_updated_and_deleted_with_their_holders(bed: Bed) {
    let db = bed.db.conn();
    let ada = users::create(db, "ada", false, noon()).await.unwrap();
    let role = roles::upsert(db, spec("grader", &["read:users"])).await.unwrap();
    assert!(roles::create(db, spec("grader", &[])).await.unwrap_err().is_conflict());
    roles::assign(db, role.id, Holder::User(ada.id), false).await.unwrap();
    let changed =
        RoleSpec { description: None, managed_by_auth: true, ..spec("grader", &["list:users", "self"]) };
    let changed = roles::upsert(db, changed).await.unwrap();
    assert_eq!((changed.id, changed.description, changed.managed_by_auth), (role.id, None, true));
    assert_eq!(changed.scopes.0, ["list:users", "self"]);
    assert_eq!(roles::of(db, Holder::User(ada.id)).await.unwrap().len(), 1);
    let counting = Counting::new(db);
    let same =
        RoleSpec { description: None, managed_by_auth: true, ..spec("grader", &["list:users", "self"]) };
    roles::upsert(&counting, same).await.unwrap();
    assert_eq!(counting.take(), 1, "nothing changed, so nothing is written");
    assert!(roles::by_name(db, "Grader").await.unwrap().is_none());
    assert!(roles::delete(db, role.id).await.unwrap());
    assert!(!roles::delete(db, role.id).await.unwrap());
    assert_eq!(number(db, "SELECT COUNT(*) FROM user_role_map").await, 0);
    assert!(roles::all(db).await.unwrap().is_empty());
}

async fn scopes_come_directly_and_through_groups_in_one_query(bed: Bed) {
    let db = bed.db.conn();
    let ada = users::create(db, "ada", false, noon()).await.unwrap();
    let bob = users::create(db, "bob", false, noon()).await.unwrap();
    let staff = groups::create(db, "staff").await.unwrap();
    groups::add_users(db, staff.id, &[ada.id]).await.unwrap();
    let service = services::upsert(db, services::ServiceSpec::new("x", true)).await.unwrap();
    let user = roles::create(db, spec("user", &["self"])).await.unwrap();
    let grader = roles::create(db, spec("grader", &["read:users", "self"])).await.unwrap();
    roles::assign(db, user.id, Holder::User(ada.id), false).await.unwrap();
    roles::assign(db, user.id, Holder::Group(staff.id), false).await.unwrap();
    roles::assign(db, grader.id, Holder::Group(staff.id), false).await.unwrap();
    roles::assign(db, grader.id, Holder::Service(service.id), true).await.unwrap();
    roles::assign(db, grader.id, Holder::Service(service.id), true).await.unwrap();

    let db = Counting::new(db);
    assert_eq!(roles::scopes_of(&db, Holder::User(ada.id)).await.unwrap(), ["read:users", "self"]);
    assert_eq!(db.take(), 1);
    assert!(roles::scopes_of(&db, Holder::User(bob.id)).await.unwrap().is_empty());
    assert_eq!(roles::scopes_of(&db, Holder::Service(service.id)).await.unwrap(), ["read:users", "self"]);
    let direct = roles::of(&db, Holder::User(ada.id)).await.unwrap();
    assert_eq!(direct.len(), 1);
    assert!(roles::revoke(&db, grader.id, Holder::Group(staff.id)).await.unwrap());
    assert!(!roles::revoke(&db, grader.id, Holder::Group(staff.id)).await.unwrap());
    assert_eq!(roles::scopes_of(&db, Holder::User(ada.id)).await.unwrap(), ["self"]);
    assert_eq!(roles::revoke_all_of_user(&db, ada.id).await.unwrap(), 1);
    assert_eq!(roles::effective_of_user(&db, ada.id).await.unwrap().len(), 1, "the group's stays");
}

async fn holders_of_all_kinds_are_listed_by_name(bed: Bed) {
    let db = bed.db.conn();
    let role = roles::create(db, spec("grader", &[])).await.unwrap();
    let bob = users::create(db, "bob", false, noon()).await.unwrap();
    let ada = users::create(db, "ada", false, noon()).await.unwrap();
    let staff = groups::create(db, "staff").await.unwrap();
    let service = services::upsert(db, services::ServiceSpec::new("x", true)).await.unwrap();
    for (holder, managed) in [
        (Holder::User(bob.id), true),
        (Holder::User(ada.id), false),
        (Holder::Group(staff.id), true),
        (Holder::Service(service.id), false),
    ] {
        roles::assign(db, role.id, holder, managed).await.unwrap();
    }
    let members = role_members::members(db, role.id).await.unwrap();
    let shown: Vec<(&str, bool)> =
        members.users.iter().map(|m| (m.name.as_str(), m.managed_by_auth)).collect();
    assert_eq!(shown, [("ada", false), ("bob", true)]);
    assert_eq!((members.groups[0].id, members.groups[0].managed_by_auth), (staff.id, true));
    assert_eq!((members.services[0].id, members.services[0].name.as_str()), (service.id, "x"));
    roles::assign(db, role.id, Holder::User(bob.id), false).await.unwrap();
    roles::assign(db, role.id, Holder::Group(staff.id), false).await.unwrap();
    let members = role_members::members(db, role.id).await.unwrap();
    assert!(members.users.iter().chain(&members.groups).all(|member| !member.managed_by_auth));
    assert_eq!(role_members::names_of_users(db, &[ada.id]).await.unwrap()[&ada.id], ["grader"]);
    assert_eq!(role_members::names_of_groups(db, &[staff.id]).await.unwrap()[&staff.id], ["grader"]);
    assert_eq!(role_members::names_of_services(db, &[service.id]).await.unwrap()[&service.id], ["grader"]);
}
