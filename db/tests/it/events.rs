use std::collections::BTreeSet;

use chrono::TimeDelta;
use hub_db::repo::events::{self, KEPT, NewEvent};
use hub_db::repo::{notices, oauth, purge};
use hub_db::{Db, DbError, DbOptions};

use crate::harness::{Bed, Kind, noon, number, on_every_database};

on_every_database!(
    events_are_read_in_the_order_in_which_they_were_told,
    an_event_that_is_told_again_is_there_once,
    the_last_events_are_kept_and_the_others_deleted,
    events_end_with_all_that_came_before_them,
    whoever_reads_on_misses_nothing_of_what_many_tell_at_once,
);

fn new(text: impl Into<String>) -> NewEvent {
    NewEvent::new(text.into()).unwrap()
}

async fn tell(db: &Db, events: &[NewEvent]) {
    let tx = db.begin().await.unwrap();
    events::put(&tx, events, noon()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn texts(db: &Db, from: Option<i32>) -> Vec<String> {
    let found = events::since(db.conn(), from, noon()).await.unwrap();
    found.into_iter().map(|event| event.text).collect()
}

async fn events_are_read_in_the_order_in_which_they_were_told(bed: Bed) {
    let db = &bed.db;
    oauth::ensure_hub_client(db.conn()).await.unwrap();
    assert!(texts(db, None).await.is_empty());
    tell(db, &[new("one"), new("\u{1F600}")]).await;
    // Others use the table as well.
    notices::put(db.conn(), "a notice".to_owned(), noon()).await.unwrap();
    tell(db, &[new("three")]).await;
    assert_eq!(texts(db, None).await, ["one", "\u{1F600}", "three"]);
    let all = events::since(db.conn(), None, noon()).await.unwrap();
    assert!(all.windows(2).all(|pair| pair[0].place.id < pair[1].place.id));
    assert_eq!(texts(db, Some(all[1].place.id)).await, ["\u{1F600}", "three"]);
    assert!(texts(db, Some(all[2].place.id + 1)).await.is_empty());
    let told = notices::unseen(db.conn(), &mut BTreeSet::new(), noon()).await.unwrap();
    assert_eq!(told.iter().map(|notice| notice.text.as_str()).collect::<Vec<_>>(), ["a notice"]);
    let too_long = NewEvent::new("x".repeat(notices::LONGEST)).unwrap_err();
    assert!(matches!(too_long, DbError::Invalid(_)), "{too_long}");
}

async fn an_event_that_is_told_again_is_there_once(bed: Bed) {
    let db = &bed.db;
    oauth::ensure_hub_client(db.conn()).await.unwrap();
    let mut twice = new("twice");
    tell(db, std::slice::from_ref(&twice)).await;
    twice.uncertain = true;
    tell(db, &[twice, new("once")]).await;
    assert_eq!(texts(db, None).await, ["twice", "once"]);
}

async fn the_last_events_are_kept_and_the_others_deleted(bed: Bed) {
    let db = &bed.db;
    oauth::ensure_hub_client(db.conn()).await.unwrap();
    notices::put(db.conn(), "a notice".to_owned(), noon()).await.unwrap();
    let all: Vec<NewEvent> = (0..KEPT + 5).map(|count| new(count.to_string())).collect();
    for some in all.chunks(300) {
        tell(db, some).await;
    }
    let found = texts(db, None).await;
    assert_eq!((found.len() as u64, found[0].as_str()), (KEPT, "5"));
    for _ in 0..2 {
        events::prune(db.conn()).await.unwrap();
        let rows = number(db.conn(), "SELECT COUNT(*) FROM oauth_codes").await;
        assert_eq!(u64::try_from(rows).unwrap(), KEPT + 1);
    }
    assert_eq!(texts(db, None).await, found);
}

async fn events_end_with_all_that_came_before_them(bed: Bed) {
    let db = &bed.db;
    oauth::ensure_hub_client(db.conn()).await.unwrap();
    // The clock of the second hub is behind.
    for (text, behind) in [("first", 0), ("second", 40), ("third", 0)] {
        let tx = db.begin().await.unwrap();
        events::put(&tx, &[new(text)], noon() - TimeDelta::seconds(behind)).await.unwrap();
        tx.commit().await.unwrap();
    }
    let after = |seconds| noon() + TimeDelta::days(7) - TimeDelta::seconds(seconds);
    let found = async |seconds| {
        let found = events::since(db.conn(), None, after(seconds)).await.unwrap();
        found.into_iter().map(|event| event.text).collect::<Vec<_>>()
    };
    assert_eq!(found(110).await, ["first", "second", "third"]);
    assert_eq!(found(90).await, ["third"], "before an event that may be gone nothing is of use");
    assert!(found(50).await.is_empty());
    assert_eq!(purge::expired(db.conn(), after(-1)).await.unwrap().codes, 3);
}

/// Each writes on connections of its own, as hubs do.
async fn whoever_reads_on_misses_nothing_of_what_many_tell_at_once(bed: Bed) {
    const WRITERS: usize = 6;
    const EACH: usize = 30;
    oauth::ensure_hub_client(bed.db.conn()).await.unwrap();
    tell(&bed.db, &[new("begin")]).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (url, own) = (bed.url.clone(), bed.db.clone());
        writers.spawn(async move {
            let mut options = DbOptions::new(url);
            options.max_connections = 1;
            let db = if bed.kind == Kind::Sqlite { own } else { Db::connect(options).await.unwrap() };
            for count in 0..EACH {
                tell(&db, &[new(format!("{writer} {count}")), new(format!("{writer} {count} too"))]).await;
            }
            if bed.kind != Kind::Sqlite {
                db.close().await.unwrap();
            }
        });
    }
    let mut read = events::since(bed.db.conn(), None, noon()).await.unwrap();
    let mut is_over = false;
    loop {
        let last = read.last().unwrap().place;
        let news = events::since(bed.db.conn(), Some(last.id), noon()).await.unwrap();
        assert_eq!(news[0].place, last);
        read.extend(news.into_iter().skip(1));
        if is_over {
            break;
        }
        is_over = match writers.try_join_next() {
            Some(ended) => {
                ended.unwrap();
                writers.is_empty()
            }
            None => false,
        };
    }
    assert_eq!(read.len(), 1 + WRITERS * EACH * 2);
    let all = events::since(bed.db.conn(), None, noon()).await.unwrap();
    assert_eq!(read, all, "as read bit by bit, so read at once");
    for writer in 0..WRITERS {
        let own = format!("{writer} ");
        let own = read.iter().filter(|event| event.text.starts_with(&own)).map(|event| event.text.as_str());
        let told = (0..EACH).flat_map(|count| [format!("{writer} {count}"), format!("{writer} {count} too")]);
        assert!(own.eq(told), "each in its own order");
    }
}
