//! What is remembered of a SQLite file, and by what it is forgotten.

use chrono::TimeDelta;
use hub_core::token::GENERATED_ROUNDS;
use hub_db::repo::tokens::{self, NewToken};
use hub_db::repo::{Owner, groups, oauth, users};
use hub_db::{Db, DbOptions};

use crate::harness::{Bed, Kind, noon, on_every_database, run};

on_every_database!(nothing_is_remembered_before_it_is_asked_for_nor_of_servers);

async fn nothing_is_remembered_before_it_is_asked_for_nor_of_servers(bed: Bed) {
    assert_eq!(bed.db.version(), None);
    bed.db.log_ahead().await.unwrap();
    assert_eq!(bed.db.version().is_some(), bed.kind == Kind::Sqlite);
}

fn token(owner: i32) -> NewToken {
    NewToken {
        owner: Owner::User(owner),
        rounds: GENERATED_ROUNDS,
        client_id: oauth::HUB_CLIENT.to_owned(),
        scopes: Vec::new(),
        note: String::new(),
        session_id: None,
        expires_at: None,
    }
}

/// Both versions.
fn versions(db: &Db) -> (u64, u64) {
    (db.version().unwrap(), db.version_without_activity().unwrap())
}

#[tokio::test]
async fn each_commit_of_another_connection_is_seen_and_little_ones_of_this_process_are_told_apart() {
    run(Kind::Sqlite, async |bed: Bed| {
        let db = &bed.db;
        db.log_ahead().await.unwrap();
        oauth::ensure_hub_client(db.conn()).await.unwrap();
        let ada = users::create(db.conn(), "ada", false, noon()).await.unwrap().id;
        let other = Db::connect(DbOptions::new(&bed.url)).await.unwrap();
        let later = |n: i64| noon() + TimeDelta::seconds(n);
        for n in 0..50 {
            let known = versions(db);
            assert_eq!(versions(db), known, "reading changes nothing");

            tokens::create(db.conn(), &format!("token-number-{n}"), token(ada), noon()).await.unwrap();
            assert_eq!(versions(db), known, "a token changes nothing that is known");

            assert!(users::bump_activity(db.conn(), ada, later(2 * n), TimeDelta::zero()).await.unwrap());
            let noted = versions(db);
            assert_ne!(noted.0, known.0);
            assert_eq!(noted.1, known.1, "activity changes nothing but times");
            assert!(!users::bump_activity(db.conn(), ada, noon(), TimeDelta::zero()).await.unwrap());
            assert_eq!(versions(db), noted, "nothing was written");

            let tx = db.begin().await.unwrap();
            users::bump_activity(&tx, ada, later(2 * n + 1), TimeDelta::zero()).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(versions(db).1, known.1, "nor does activity in a transaction");

            // The same by somebody else may come with anything.
            let before = versions(db);
            let moment = later(2 * n + 1) + TimeDelta::milliseconds(500);
            assert!(users::bump_activity(other.conn(), ada, moment, TimeDelta::zero()).await.unwrap());
            assert_ne!(versions(db).1, before.1);

            // Of somebody else and of this process, in either order.
            let before = versions(db);
            groups::create(other.conn(), &format!("group-{n}")).await.unwrap();
            tokens::create(db.conn(), &format!("further-token-{n}"), token(ada), noon()).await.unwrap();
            assert_ne!(versions(db).1, before.1);

            let before = versions(db);
            let tx = db.begin().await.unwrap();
            users::bump_activity(&tx, ada, later(2 * n), TimeDelta::seconds(-5)).await.unwrap();
            users::set_admin(&tx, ada, n % 2 == 0).await.unwrap();
            tx.commit().await.unwrap();
            assert_ne!(versions(db).1, before.1, "a transaction that changes more");
        }
        other.close().await.unwrap();
    })
    .await;
}
