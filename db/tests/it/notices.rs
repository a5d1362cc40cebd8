use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use hub_db::DbError;
use hub_db::repo::{notices, oauth, purge};

use crate::harness::{Bed, Counting, Kind, noon, on_every_database};

on_every_database!(
    a_notice_is_read_by_everybody_for_a_while,
    what_was_seen_is_not_read_again,
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
        let found = notices::unseen(db, &mut BTreeSet::new(), noon() + after).await.unwrap();
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

async fn what_was_seen_is_not_read_again(bed: Bed) {
    oauth::ensure_hub_client(bed.db.conn()).await.unwrap();
    let db = Counting::new(bed.db.conn());
    let mut seen = BTreeSet::new();
    let mut read = async |after| {
        let found = notices::unseen(&db, &mut seen, noon() + after).await.unwrap();
        (found.into_iter().map(|notice| notice.text).collect::<Vec<_>>(), db.take(), seen.len())
    };
    notices::put(bed.db.conn(), "one".to_owned(), noon()).await.unwrap();
    assert_eq!(read(TimeDelta::zero()).await, (vec!["one".to_owned()], 2, 1));
    assert_eq!(read(TimeDelta::zero()).await, (Vec::new(), 1, 1));
    notices::put(bed.db.conn(), "two".to_owned(), noon() + TimeDelta::minutes(1)).await.unwrap();
    assert_eq!(read(TimeDelta::minutes(1)).await, (vec!["two".to_owned()], 2, 2));
    assert_eq!(read(TimeDelta::seconds(150)).await, (Vec::new(), 1, 1));
}

async fn a_notice_of_any_letters_is_read_as_it_was_left(bed: Bed) {
    let db = bed.db.conn();
    oauth::ensure_hub_client(db).await.unwrap();
    for letter in ["x", "é", "\u{1F600}", "\""] {
        let rest = notices::LONGEST - notices::stored_size("");
        let text = letter.repeat(rest / (notices::stored_size(letter) - notices::stored_size("")));
        notices::put(db, text.clone(), noon()).await.unwrap();
        let last = notices::unseen(db, &mut BTreeSet::new(), noon()).await.unwrap().pop().unwrap();
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
