use chrono::{DateTime, TimeDelta, Utc};
use hub_core::secret::random_hex32;
use hub_core::token::{CHOSEN_ROUNDS, GENERATED_ROUNDS};
use hub_db::repo::tokens::NewToken;
use hub_db::repo::{Owner, oauth, purge, services, tokens, users};
use hub_db::{ConnectionTrait, DbError};

use crate::harness::{Bed, noon, number, on_every_database};

on_every_database!(
    a_token_is_found_by_itself_until_it_ends,
    many_tokens_with_one_prefix_are_told_apart,
    chosen_tokens_are_hashed_often_and_bounded,
    stale_tokens_without_client_are_deleted_when_seen,
    tokens_are_listed_with_the_client_that_issued_them,
    logout_and_revocation_end_the_right_tokens,
);

fn plain(owner: Owner) -> NewToken {
    NewToken {
        owner,
        rounds: GENERATED_ROUNDS,
        client_id: oauth::HUB_CLIENT.to_owned(),
        scopes: vec!["inherit".to_owned()],
        note: "test".to_owned(),
        session_id: None,
        expires_at: None,
    }
}

async fn user(db: &impl ConnectionTrait, name: &str) -> Owner {
    Owner::User(users::create(db, name, false, noon()).await.unwrap().id)
}

async fn client(db: &impl ConnectionTrait, identifier: &str, description: &str) {
    let spec = oauth::ClientSpec {
        identifier: identifier.to_owned(),
        description: description.to_owned(),
        redirect_uri: String::new(),
        allowed_scopes: vec![],
    };
    oauth::upsert_client(db, spec, oauth::hash_secret("").await.unwrap()).await.unwrap();
}

async fn found(db: &impl ConnectionTrait, text: &str, now: DateTime<Utc>) -> Option<i32> {
    tokens::find(db, text, now).await.unwrap().map(|token| token.id)
}

async fn a_token_is_found_by_itself_until_it_ends(bed: Bed) {
    let db = bed.db.conn();
    let ada = user(db, "ada").await;
    let text = random_hex32();
    let end = noon() + TimeDelta::seconds(60);
    let made =
        tokens::create(db, &text, NewToken { expires_at: Some(end), ..plain(ada) }, noon()).await.unwrap();
    assert_eq!(made.prefix.as_deref(), Some(&text[..4]));
    assert!(made.hashed.as_deref().unwrap().starts_with("sha512:1:"));
    assert_eq!(made.scopes.0, ["inherit"]);
    assert_eq!(found(db, &text, noon()).await, Some(made.id));
    assert_eq!(found(db, &text, end).await, Some(made.id));
    assert_eq!(found(db, &text, end + TimeDelta::seconds(1)).await, None);
    let upper = text.to_uppercase();
    for other in ["", "x", &text[..31], upper.as_str(), &"x".repeat(65), "\u{0}é😀"] {
        assert_eq!(found(db, other, noon()).await, None, "{other:?}");
    }
    assert!(tokens::bump_activity(db, made.id, noon(), TimeDelta::seconds(30)).await.unwrap());
    assert!(!tokens::bump_activity(db, made.id, noon(), TimeDelta::seconds(30)).await.unwrap());
    tokens::set_scopes(db, made.id, vec!["read:hub".to_owned()]).await.unwrap();
    let again = tokens::find(db, &text, noon()).await.unwrap().unwrap();
    assert_eq!(again.last_activity.unwrap().utc(), noon());
    assert_eq!(again.scopes.0, ["read:hub"]);

    let late = end + TimeDelta::seconds(1);
    assert!(tokens::of_owner(db, ada, late).await.unwrap().is_empty());
    assert_eq!(purge::expired(db, noon()).await.unwrap().tokens, 0);
    assert_eq!(purge::expired(db, late).await.unwrap().tokens, 1);
    assert_eq!(number(db, "SELECT COUNT(*) FROM api_tokens").await, 0);
}

async fn many_tokens_with_one_prefix_are_told_apart(bed: Bed) {
    let db = bed.db.conn();
    let ada = user(db, "ada").await;
    let mut made = Vec::new();
    for n in 0..5 {
        let text = format!("same-prefix-{n}");
        made.push((tokens::create(db, &text, plain(ada), noon()).await.unwrap().id, text));
    }
    for (id, text) in &made {
        assert_eq!(found(db, text, noon()).await, Some(*id));
    }
    assert_eq!(found(db, "same-prefix-9", noon()).await, None);
}

async fn chosen_tokens_are_hashed_often_and_bounded(bed: Bed) {
    let db = bed.db.conn();
    let ada = user(db, "ada").await;
    let chosen = || NewToken { rounds: CHOSEN_ROUNDS, note: "é".repeat(2000), ..plain(ada) };
    let made = tokens::create(db, "correct horse battery", chosen(), noon()).await.unwrap();
    assert!(made.hashed.as_deref().unwrap().starts_with("sha512:16384:"));
    assert_eq!(made.note.as_deref().map(|note| note.chars().count()), Some(1023));
    assert_eq!(found(db, "correct horse battery", noon()).await, Some(made.id));
    let again = tokens::create(db, "correct horse battery", chosen(), noon()).await.unwrap_err();
    assert!(again.is_conflict(), "{again}");
    for bad in ["short".to_owned(), "x".repeat(65)] {
        let error = tokens::create(db, &bad, chosen(), noon()).await.unwrap_err();
        assert!(matches!(error, DbError::Invalid(_)), "{error}");
        assert!(!error.to_string().contains(&bad));
    }
    let orphan = NewToken { client_id: "nobody".to_owned(), ..plain(ada) };
    assert!(tokens::create(db, &random_hex32(), orphan, noon()).await.unwrap_err().is_conflict());
}

async fn stale_tokens_without_client_are_deleted_when_seen(bed: Bed) {
    let db = bed.db.conn();
    let ada = user(db, "ada").await;
    let text = random_hex32();
    tokens::create(db, &text, plain(ada), noon()).await.unwrap();
    db.execute_unprepared("UPDATE api_tokens SET client_id = NULL").await.unwrap();
    assert_eq!(found(db, "anything else", noon()).await, None);
    assert_eq!(number(db, "SELECT COUNT(*) FROM api_tokens").await, 1);
    assert_eq!(found(db, &text, noon()).await, None);
    assert_eq!(number(db, "SELECT COUNT(*) FROM api_tokens").await, 0);
}

async fn tokens_are_listed_with_the_client_that_issued_them(bed: Bed) {
    let db = bed.db.conn();
    let ada = user(db, "ada").await;
    let bob = user(db, "bob").await;
    let service = services::upsert(db, services::ServiceSpec::new("culler", true)).await.unwrap();
    let service = Owner::Service(service.id);
    client(db, "service-x", "The X service").await;
    let first = tokens::create(db, &random_hex32(), plain(ada), noon()).await.unwrap();
    let second = NewToken { client_id: "service-x".to_owned(), ..plain(ada) };
    let second = tokens::create(db, &random_hex32(), second, noon()).await.unwrap();
    tokens::create(db, &random_hex32(), plain(bob), noon()).await.unwrap();
    let of_service = tokens::create(db, &random_hex32(), plain(service), noon()).await.unwrap();
    tokens::bump_activity(db, first.id, noon() + TimeDelta::hours(1), TimeDelta::zero()).await.unwrap();

    let listed = tokens::of_owner(db, ada, noon()).await.unwrap();
    let shown: Vec<(i32, Option<&str>)> =
        listed.iter().map(|entry| (entry.token.id, entry.oauth_client.as_deref())).collect();
    assert_eq!(shown, [(second.id, Some("The X service")), (first.id, Some("JupyterHub"))]);
    assert!(tokens::by_id(db, ada, first.id, noon()).await.unwrap().is_some());
    assert!(tokens::by_id(db, bob, first.id, noon()).await.unwrap().is_none());
    assert!(tokens::by_id(db, service, first.id, noon()).await.unwrap().is_none());
    let listed = tokens::of_owner(db, service, noon()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].token.id, of_service.id);
    assert_eq!((listed[0].token.user_id, listed[0].token.service_id.is_some()), (None, true));
}

async fn logout_and_revocation_end_the_right_tokens(bed: Bed) {
    let db = bed.db.conn();
    let (ada, bob) = (user(db, "ada").await, user(db, "bob").await);
    let Owner::User(ada_id) = ada else { unreachable!() };
    client(db, "service-x", "").await;
    let with = |owner, client: &str, session: Option<&str>| NewToken {
        client_id: client.to_owned(),
        session_id: session.map(ToOwned::to_owned),
        ..plain(owner)
    };
    for new in [
        with(ada, "service-x", Some("s1")),
        with(ada, "jupyterhub", Some("s1")),
        with(ada, "service-x", Some("s2")),
        with(ada, "service-x", None),
        with(bob, "service-x", Some("s1")),
    ] {
        tokens::create(db, &random_hex32(), new, noon()).await.unwrap();
    }
    assert_eq!(tokens::of_user_and_client(db, ada_id, "service-x", noon()).await.unwrap().len(), 3);
    for session in ["s1", "s2"] {
        let code = oauth::NewCode {
            code: format!("code-{session}"),
            client_id: "service-x".to_owned(),
            user_id: ada_id,
            redirect_uri: "/cb".to_owned(),
            session_id: Some(session.to_owned()),
            scopes: Vec::new(),
            challenge: None,
            expires_at: noon() + TimeDelta::minutes(5),
        };
        oauth::create_code(db, code).await.unwrap();
    }
    assert_eq!(tokens::delete_by_session(db, ada_id, "s1").await.unwrap(), 2);
    assert!(oauth::code(db, "code-s1", noon()).await.unwrap().is_none());
    assert!(oauth::code(db, "code-s2", noon()).await.unwrap().is_some());
    assert_eq!(tokens::delete_by_client(db, ada_id, "service-x").await.unwrap(), 2);
    assert_eq!(tokens::of_owner(db, ada, noon()).await.unwrap().len(), 0);
    let left = tokens::of_owner(db, bob, noon()).await.unwrap();
    assert_eq!(left.len(), 1);
    assert!(tokens::delete(db, left[0].token.id).await.unwrap());
    assert!(!tokens::delete(db, left[0].token.id).await.unwrap());
}
