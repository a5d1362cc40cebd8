use std::time::Duration;

use chrono::TimeDelta;
use hub_db::DbError;
use hub_db::repo::{notices, oauth, purge};

use crate::harness::{Bed, Kind, noon, on_every_database};

on_every_database!(
    a_notice_is_read_by_everybody_for_a_while,
    a_notice_of_any_letters_is_read_as_it_was_left,
    whoever_listens_is_woken,
);

async fn a_notice_is_read_by_everybody_for_a_while(bed: Bed) {
    let db = bed.db.conn();
    oauth::ensure_hub_client(db).await.unwrap();
    for text in ["one", "two"] {
        notices::put(db, text.to_owned(), noon()).await.unwrap();
    }
    let texts = async |after: TimeDelta| {
        let found = notices::recent(db, noon() + after).await.unwrap();
        found.into_iter().map(|notice| notice.text).collect::<Vec<_>>()
    };
    assert_eq!(texts(TimeDelta::seconds(30)).await, ["one", "two"]);
    assert!(texts(TimeDelta::minutes(3)).await.is_empty());
    assert_eq!(purge::expired(db, noon() + TimeDelta::minutes(3)).await.unwrap().codes, 2);
    for letter in ["x", "é", "\u{1F600}", "\""] {
        let most = notices::LONGEST / (notices::stored_size(letter) - notices::stored_size(""));
        let too_long = notices::put(db, letter.repeat(most + 1), noon()).await.unwrap_err();
        assert!(matches!(too_long, DbError::Invalid(_)), "{too_long}");
    }
}

async fn a_notice_of_any_letters_is_read_as_it_was_left(bed: Bed) {
    let db = bed.db.conn();
    oauth::ensure_hub_client(db).await.unwrap();
    for letter in ["x", "é", "\u{1F600}", "\""] {
        let rest = notices::LONGEST - notices::stored_size("");
        let text = letter.repeat(rest / (notices::stored_size(letter) - notices::stored_size("")));
        notices::put(db, text.clone(), noon()).await.unwrap();
        let last = notices::recent(db, noon()).await.unwrap().pop().unwrap();
        assert_eq!(last.text, text, "{letter}");
    }
}

async fn whoever_listens_is_woken(bed: Bed) {
    let waker = bed.db.waker().await.unwrap();
    bed.db.wake().await.unwrap();
    assert_eq!(waker.is_some(), bed.kind == Kind::Postgres);
    if let Some(mut waker) = waker {
        tokio::time::timeout(Duration::from_secs(30), waker.woken()).await.unwrap().unwrap();
    }
}
