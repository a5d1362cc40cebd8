use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::secret::random_hex32;
use hub_core::token::GENERATED_ROUNDS;
use hub_db::repo::browser_sessions::{self, BrowserSession, NewBrowserSession};
use hub_db::repo::tokens::{self, NewToken, Staying};
use hub_db::repo::{Owner, events, notices, oauth, purge, users};
use hub_db::{ConnectionTrait, Db};

use crate::harness::{Bed, noon, number, on_every_database};

on_every_database!(
    a_login_is_read_as_it_was_noted_until_it_ends,
    logins_are_no_codes_no_tokens_and_no_notices,
    a_login_ends_with_its_session_its_user_and_by_itself,
    an_id_that_is_used_again_is_not_the_login_of_before,
);

fn end() -> DateTime<Utc> {
    noon() + TimeDelta::days(14)
}

async fn user(db: &Db, name: &str) -> i32 {
    oauth::ensure_hub_client(db.conn()).await.unwrap();
    users::create(db.conn(), name, false, noon()).await.unwrap().id
}

async fn begin(db: &impl ConnectionTrait, user_id: i32, session: &str) -> BrowserSession {
    let new = NewBrowserSession {
        user_id,
        session_id: session.to_owned(),
        expires_at: end(),
        address: Some("2001:db8::7".to_owned()),
        agent: Some("Mozilla/5.0 (é; 😀)".to_owned()),
        mark: Some(format!("of-{session}")),
    };
    browser_sessions::begin(db, new, noon()).await.unwrap()
}

async fn listed(db: &Db, user: i32, now: DateTime<Utc>) -> Vec<BrowserSession> {
    browser_sessions::of_user(db.conn(), user, now).await.unwrap()
}

async fn a_login_is_read_as_it_was_noted_until_it_ends(bed: Bed) {
    let db = bed.db.conn();
    let (ada, bob) = (user(&bed.db, "ada").await, user(&bed.db, "bob").await);
    let (first, second) = (begin(db, ada, "one").await, begin(db, ada, "two").await);
    let unknown = NewBrowserSession {
        user_id: bob,
        session_id: "three".to_owned(),
        expires_at: noon() + TimeDelta::days(365 * 100),
        address: None,
        agent: None,
        mark: None,
    };
    let unknown = browser_sessions::begin(db, unknown, noon()).await.unwrap();
    for (user, login) in [(ada, &first), (ada, &second), (bob, &unknown)] {
        let found = browser_sessions::find(db, user, login.number()).await.unwrap();
        assert_eq!(found.as_ref(), Some(login));
        assert_eq!(browser_sessions::by_id(db, login.id, noon()).await.unwrap().as_ref(), Some(login));
    }
    let marked = async |mark: &str| browser_sessions::of_mark(db, mark, noon()).await.unwrap();
    assert_eq!(marked("of-two").await, std::slice::from_ref(&second));
    assert_eq!(marked("of-three").await, []);
    assert_eq!(unknown.expires_at.timestamp(), i64::from(i32::MAX), "the column ends in 2038");
    let later = DateTime::from_timestamp(i64::from(i32::MAX) + 1, 0).unwrap();
    assert!(!unknown.has_ended(later) && listed(&bed.db, bob, later).await.contains(&unknown));
    assert!(first.has_ended(later) && !listed(&bed.db, ada, later).await.contains(&first));
    let of_ada = first.number();
    assert!(browser_sessions::find(db, bob, of_ada).await.unwrap().is_none(), "it is not bob's");
    for other in [0, 1, of_ada ^ 1, of_ada | (1 << 63), u64::MAX] {
        assert!(browser_sessions::find(db, ada, other).await.unwrap().is_none(), "{other}");
    }

    let later = noon() + TimeDelta::hours(1);
    assert_eq!(listed(&bed.db, ada, noon()).await, [second.clone(), first.clone()]);
    browser_sessions::seen(db, &first, later).await.unwrap();
    let mut seen = first;
    seen.last_activity = later;
    assert_eq!(listed(&bed.db, ada, later).await, [seen, second.clone()]);
    assert_eq!(listed(&bed.db, ada, end()).await.len(), 2);
    let over = end() + TimeDelta::seconds(1);
    assert!(listed(&bed.db, ada, over).await.is_empty() && second.has_ended(over));
    assert!(browser_sessions::by_id(db, second.id, over).await.unwrap().is_none());
}

async fn logins_are_no_codes_no_tokens_and_no_notices(bed: Bed) {
    let db = bed.db.conn();
    let ada = user(&bed.db, "ada").await;
    let login = begin(db, ada, "one").await;
    let code = format!("himalia-login:{:08x}", login.number() & u64::from(u32::MAX));
    assert_eq!(number(db, &format!("SELECT COUNT(*) FROM oauth_codes WHERE code = '{code}'")).await, 1);
    assert!(oauth::code(db, &code, noon()).await.unwrap().is_none());
    assert!(oauth::take_code(db, &code, noon()).await.unwrap().is_none());
    assert!(tokens::find(db, &code, noon()).await.unwrap().is_none());
    assert!(tokens::of_owner(db, Owner::User(ada), noon()).await.unwrap().is_empty());
    let unseen = async || notices::unseen(db, &mut BTreeSet::new(), noon()).await.unwrap();
    assert!(unseen().await.is_empty());
    assert!(events::since(db, None, noon()).await.unwrap().is_empty());

    notices::put(db, "told".to_owned(), noon()).await.unwrap();
    let tx = bed.db.begin().await.unwrap();
    events::put(&tx, &[events::NewEvent::new("told".to_owned()).unwrap()], noon()).await.unwrap();
    tx.commit().await.unwrap();
    let notice = unseen().await.pop().unwrap();
    let event = events::since(db, None, noon()).await.unwrap().pop().unwrap();
    for id in [notice.id, event.place.id] {
        assert!(browser_sessions::by_id(db, id, noon()).await.unwrap().is_none());
    }
    assert_eq!(listed(&bed.db, ada, noon()).await, [login]);
}

async fn a_login_ends_with_its_session_its_user_and_by_itself(bed: Bed) {
    let db = bed.db.conn();
    let (ada, bob) = (user(&bed.db, "ada").await, user(&bed.db, "bob").await);
    let token = async |session: &str| {
        let new = NewToken {
            owner: Owner::User(ada),
            rounds: GENERATED_ROUNDS,
            client_id: oauth::HUB_CLIENT.to_owned(),
            scopes: Vec::new(),
            note: String::new(),
            session_id: Some(session.to_owned()),
            expires_at: None,
        };
        tokens::create(db, &random_hex32(), new, noon()).await.unwrap().id
    };
    let (one, two) = (begin(db, ada, "one").await, begin(db, ada, "two").await);
    let other = begin(db, bob, "one").await;
    assert_eq!(tokens::delete_by_session(db, ada, "one").await.unwrap(), 0);
    assert!(browser_sessions::find(db, ada, one.number()).await.unwrap().is_none());

    begin(db, ada, "three").await;
    let (kept, doomed) = (token("two").await, token("four").await);
    let tx = bed.db.begin().await.unwrap();
    let staying = Staying { session: Some("two"), ..Staying::default() };
    let ended = tokens::delete_of_user(&tx, ada, false, staying).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ended.tokens.iter().map(|token| token.id).collect::<Vec<_>>(), [doomed]);
    assert_eq!(ended.sessions.into_iter().collect::<Vec<_>>(), ["four", "three"]);
    assert_eq!(listed(&bed.db, ada, noon()).await, [two]);
    let left = tokens::of_owner(db, Owner::User(ada), noon()).await.unwrap();
    assert_eq!(left.iter().map(|details| details.token.id).collect::<Vec<_>>(), [kept]);

    let tx = bed.db.begin().await.unwrap();
    let ended = tokens::delete_of_user(&tx, ada, false, Staying::default()).await.unwrap();
    assert_eq!(ended.sessions.into_iter().collect::<Vec<_>>(), ["two"]);
    tx.commit().await.unwrap();
    begin(db, ada, "five").await;
    let tx = bed.db.begin().await.unwrap();
    assert!(users::delete(&tx, ada).await.unwrap());
    tx.commit().await.unwrap();
    assert!(listed(&bed.db, ada, noon()).await.is_empty());

    assert_eq!(purge::expired(db, end()).await.unwrap().codes, 0);
    assert_eq!(listed(&bed.db, bob, end()).await, [other]);
    assert_eq!(purge::expired(db, end() + TimeDelta::seconds(1)).await.unwrap().codes, 1);
}

async fn an_id_that_is_used_again_is_not_the_login_of_before(bed: Bed) {
    let db = bed.db.conn();
    let ada = user(&bed.db, "ada").await;
    let before = begin(db, ada, "one").await;
    browser_sessions::delete(db, &before).await.unwrap();
    let after = begin(db, ada, "two").await;
    let id = format!("UPDATE oauth_codes SET id = {} WHERE id = {}", before.id, after.id);
    db.execute_unprepared(&id).await.unwrap();
    assert!(browser_sessions::find(db, ada, before.number()).await.unwrap().is_none());
    browser_sessions::seen(db, &before, end()).await.unwrap();
    browser_sessions::delete(db, &before).await.unwrap();
    let left = browser_sessions::by_id(db, before.id, noon()).await.unwrap().unwrap();
    assert_eq!((left.session_id.as_str(), left.last_activity), ("two", noon()));
    assert_ne!(left.number(), before.number());
}
