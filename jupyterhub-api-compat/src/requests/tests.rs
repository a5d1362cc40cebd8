use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Timestamp, recorded};

/// The message, none if the body is fine.
fn message<T>(read: Result<T, RequestError>) -> Option<String> {
    read.err().map(|error| error.to_string())
}

fn now() -> DateTime<Utc> {
    Timestamp::parse("2026-06-01T12:00:00Z").unwrap().0
}

#[test]
fn models_are_checked_in_the_words_of_stock() {
    for case in recorded::section("models") {
        let expected = case["error"].as_str();
        let body = case["body"].to_string();
        let given = match case["model"].as_str().unwrap() {
            "user" => message(EditUser::read(body.as_bytes())),
            // A body of null is no body here, and stock checks none.
            "group" if case["body"].is_null() => continue,
            "group" => message(CreateGroup::read(body.as_bytes())),
            _ if !case["body"].is_object() || case["body"] == json!({}) => continue,
            _ => {
                // The name is that of the path, and shows where the whole body is quoted.
                let mut named = case["body"].clone();
                named["name"] = json!("cull");
                let given = message(CreateService::read(named.to_string().as_bytes(), "cull"));
                assert_eq!(
                    given.is_some(),
                    expected.is_some_and(|text| !text.contains("service.name")),
                    "{case}: {given:?}"
                );
                if expected.is_some_and(|text| text.contains("must be") && !text.contains("service.name")) {
                    assert_eq!(given.as_deref(), expected, "{case}");
                }
                continue;
            }
        };
        let extra = ["user.groups cannot be changed here", "user.roles cannot be changed here"];
        if given.as_deref().is_some_and(|text| extra.contains(&text)) {
            assert_eq!(expected, None, "stock lets it through the check and fails later: {case}");
        } else {
            assert_eq!(given.as_deref(), expected, "{case}");
        }
    }
}

#[test]
fn bodies_for_servers_are_read_as_in_stock() {
    for case in recorded::section("server_bodies") {
        match ServerOptions::read(case["text"].as_str().unwrap().as_bytes()) {
            Ok(read) => {
                assert_eq!(case["error"], Value::Null, "{case}");
                assert_eq!(json!(read.display_name), case["body"]["display_name"], "{case}");
                assert_eq!(json!(read.user_options), case["body"]["user_options"], "{case}");
            }
            Err(error) => assert_eq!(error.to_string(), case["error"].as_str().unwrap_or_default(), "{case}"),
        }
    }
}

#[test]
fn names_are_judged_as_in_stock() {
    for case in recorded::section("names") {
        let text = case["text"].as_str().unwrap();
        assert_eq!(check_server_name(text).is_ok(), case["slug"].as_bool().unwrap(), "{case}");
        let shown = normalise_display_name(text);
        assert_eq!(shown.is_ok(), case["shown"].as_bool().unwrap(), "{case}");
        if let Ok(name) = shown {
            assert_eq!(name, case["name"].as_str().unwrap());
        }
        assert_eq!(quoted(case["name"].as_str().unwrap()), case["quoted"].as_str().unwrap(), "{case}");
    }
}

#[test]
fn several_users_are_created_at_once() {
    let read = |body: &str| CreateUsers::read(body.as_bytes());
    assert_eq!(
        read(r#"{"usernames": ["Ada", "bob"], "admin": true}"#),
        Ok(CreateUsers { usernames: vec!["Ada".to_owned(), "bob".to_owned()], admin: true })
    );
    for body in ["", "null", "{}", "[]", r#"{"usernames": []}"#, r#"{"admin": true}"#] {
        assert_eq!(
            message(read(body)).as_deref(),
            Some("Must specify at least one user to create"),
            "{body}"
        );
    }
    assert_eq!(
        message(read(r#"{"usernames": ["a"], "colour": 1}"#)).as_deref(),
        Some("Invalid JSON keys: {'colour': 1}")
    );
    for body in [r#"{"usernames": "ada"}"#, r#"{"usernames": [1]}"#, r#"{"usernames": {"a": 1}}"#] {
        assert_eq!(message(read(body)).as_deref(), Some("usernames must be a list of str"), "{body}");
    }
}

#[test]
fn a_user_can_be_created_without_a_body() {
    for body in ["", "{}", "null"] {
        assert_eq!(CreateUser::read(body.as_bytes()), Ok(CreateUser { admin: false }), "{body}");
    }
    assert_eq!(CreateUser::read(br#"{"admin": true}"#), Ok(CreateUser { admin: true }));
    assert_eq!(message(CreateUser::read(b"[1]")).as_deref(), Some("Invalid JSON data: [1]"));
}

#[test]
fn editing_a_user_hides_the_login_state_from_logs() {
    let edit =
        EditUser::read(br#"{"name": "eve", "admin": false, "auth_state": {"secret": "hush"}}"#).unwrap();
    assert_eq!((edit.name.as_deref(), edit.admin), (Some("eve"), Some(false)));
    assert!(!format!("{edit:?}").contains("hush"));
    assert_eq!(message(EditUser::read(b"")).as_deref(), Some("Invalid JSON data: None"));
}

#[test]
fn lists_of_users_take_their_arguments_as_in_stock() {
    let list = ListUsers::parse(Some("ready"), Some("Ad"), Some("-last_activity")).unwrap();
    let expected = ListUsers {
        state: Some(UserState::Ready),
        name_filter: Some("Ad".to_owned()),
        sort: UserSort::LastActivity,
        descending: true,
    };
    assert_eq!(list, expected);
    assert_eq!(ListUsers::parse(Some(""), Some(""), None), Ok(ListUsers::default()));
    assert_eq!(
        message(ListUsers::parse(None, None, Some("-x"))).as_deref(),
        Some("sort must be 'id', 'name', or 'last_activity', not '-x'")
    );
    assert_eq!(
        message(ListUsers::parse(Some("it's"), None, None)).as_deref(),
        Some("Unrecognized state filter: \"it's\"")
    );
    for (argument, included) in [(None, false), (Some("0"), false), (Some("False"), false), (Some(""), true)]
    {
        assert_eq!(ListUsers::include_stopped_servers(argument), included, "{argument:?}");
    }
}

#[test]
fn a_server_is_edited_key_by_key() {
    let edit = EditServer::read(br#"{"name": null, "display_name": "", "user_options": {"a": 1}}"#).unwrap();
    assert_eq!((edit.name, edit.display_name), (None, None));
    assert_eq!(edit.user_options.unwrap()["a"], 1);
    for (body, expected) in [
        ("", "Must specify at least one field to modify."),
        ("{}", "Must specify at least one field to modify."),
        ("[1]", "Body must be a JSON object"),
        (
            r#"{"name": "a", "b": 1, "c": 2}"#,
            "Unexpected fields: b, c, supported fields: name, display_name, user_options",
        ),
        (r#"{"name": 1}"#, "name must be a string"),
        (r#"{"display_name": null}"#, "display_name must be a string"),
        (r#"{"user_options": null}"#, "user_options must be a dict"),
    ] {
        assert_eq!(message(EditServer::read(body.as_bytes())).as_deref(), Some(expected), "{body}");
    }
}

#[test]
fn a_server_is_removed_only_when_asked_to() {
    for (body, remove) in [
        ("", false),
        ("{}", false),
        (r#"{"remove": false}"#, false),
        (r#"{"remove": true}"#, true),
        (r#"{"remove": 1}"#, true),
    ] {
        assert_eq!(StopServer::read(body.as_bytes()), Ok(StopServer { remove }), "{body}");
    }
}

#[test]
fn tokens_are_asked_for_as_in_stock() {
    let read = |body: &str| CreateToken::read(body.as_bytes());
    let body = r#"{"note": "", "expires_in": 60, "scopes": ["self"], "roles": null, "auth": {"password": "hush"}, "x": 1}"#;
    assert_eq!(CreateToken::proof(body.as_bytes()), Ok(Some(json!({"password": "hush"}))));
    assert_eq!(CreateToken::proof(br#"{"auth": null, "expires_in": "60"}"#), Ok(None));
    let token = read(body).unwrap();
    assert_eq!((&token.note, token.expires_in, &token.roles), (&None, Some(60), &None));
    assert!(!format!("{token:?}").contains("hush"));
    assert_eq!(read(""), Ok(CreateToken::default()));
    for (body, expected) in [
        ("[1]", "Body must be a JSON dict or empty"),
        (r#"{"roles": "user"}"#, "token roles must be null or a list of strings, not 'user'"),
        (r#"{"scopes": ["a", 1]}"#, "token scopes must be null or a list of strings, not ['a', 1]"),
        (r#"{"expires_in": "60"}"#, "token expires_in must be null or integer, not '60'"),
        (r#"{"expires_in": 1.5}"#, "token expires_in must be null or integer, not 1.5"),
        (r#"{"expires_in": 0}"#, "expires_in must be a positive integer or null, not 0"),
        (r#"{"scopes": [], "roles": []}"#, "Can only assign one of scopes or roles when creating tokens."),
    ] {
        assert_eq!(message(read(body)).as_deref(), Some(expected), "{body}");
    }
}

#[test]
fn tokens_live_no_longer_than_allowed() {
    let lifetime = |wanted, most| CreateToken { expires_in: wanted, ..CreateToken::default() }.lifetime(most);
    assert_eq!(lifetime(None, None), Ok(None));
    assert_eq!(lifetime(None, Some(0)), Ok(None));
    assert_eq!(lifetime(None, Some(60)), Ok(Some(60)));
    assert_eq!(lifetime(Some(30), Some(60)), Ok(Some(30)));
    assert_eq!(
        message(lifetime(Some(61), Some(60))).as_deref(),
        Some("token expires_in: 61 must not exceed 60")
    );
}

#[test]
fn activity_is_dated() {
    const SERVERS: &str = "servers must be a dict of the form {server_name: {last_activity: timestamp}}";
    let read = |body: &str| Activity::read(body.as_bytes(), now());
    let activity =
        read(r#"{"last_activity": "2026-06-01T12:30:00Z", "servers": {"": {"last_activity": "2026-06-01 10:00"}}}"#)
            .unwrap();
    assert_eq!(activity.last_activity, Some(now() + TimeDelta::minutes(30)));
    assert_eq!(activity.servers, [(String::new(), now() - TimeDelta::hours(2))]);
    for (body, expected) in [
        ("", "body must be a json dict"),
        ("[]", "body must be a json dict"),
        ("{}", "body must contain at least one of `last_activity` or `servers`"),
        (r#"{"servers": {}}"#, "body must contain at least one of `last_activity` or `servers`"),
        (r#"{"servers": ["a"]}"#, SERVERS),
        (r#"{"servers": {"a": 1}}"#, SERVERS),
        (r#"{"servers": {"a": {}}}"#, SERVERS),
        (r#"{"last_activity": "soon"}"#, "Not a valid timestamp: 'soon'"),
        (r#"{"last_activity": 5}"#, "Not a valid timestamp: 5"),
        (
            r#"{"last_activity": "2026-06-01T13:00:00Z"}"#,
            "Rejecting activity from more than an hour in the future: 2026-06-01T13:00:00Z",
        ),
    ] {
        assert_eq!(message(read(body)).as_deref(), Some(expected), "{body}");
    }
}

#[test]
fn groups_are_created_and_filled() {
    let groups = CreateGroups::read(br#"{"groups": ["a", "b"], "users": ["ada"]}"#).unwrap();
    assert_eq!((groups.groups.len(), groups.users), (2, vec!["ada".to_owned()]));
    assert_eq!(
        message(CreateGroups::read(b"{}")).as_deref(),
        Some("Must specify at least one group to create")
    );
    assert_eq!(CreateGroups::read(br#"{"groups": {"a": ["ada"]}}"#).unwrap().groups, ["a"]);
    assert_eq!(CreateGroup::read(b""), Ok(CreateGroup::default()));
    assert_eq!(message(GroupMembers::read_to_add(b"{}")).as_deref(), Some("Must specify users to add"));
    assert_eq!(message(GroupMembers::read_to_delete(b"{}")).as_deref(), Some("Must specify users to delete"));
    assert_eq!(message(GroupMembers::read_to_add(b"")).as_deref(), Some("Invalid JSON data: None"));
    assert_eq!(
        message(GroupMembers::read_to_add(br#"{"users": [1]}"#)).as_deref(),
        Some("usernames must be str")
    );
    assert_eq!(GroupProperties::read(br#"{"a": 1}"#).unwrap().0["a"], 1);
    assert_eq!(message(GroupProperties::read(b"[]")).as_deref(), Some("Must specify properties"));
}

#[test]
fn a_service_keeps_its_token_to_itself() {
    let body =
        br#"{"name": "other", "url": "http://127.0.0.1:9", "api_token": "hush", "environment": {"A": "1"},
                    "oauth_client_allowed_scopes": ["self"], "command": [], "display": false}"#;
    let service = CreateService::read(body, "cull").unwrap();
    assert_eq!(service.oauth_client_allowed_scopes.as_deref(), Some(["self".to_owned()].as_slice()));
    assert_eq!((service.display, service.environment["A"].as_str()), (Some(false), "1"));
    assert!(!format!("{service:?}").contains("hush"));
    assert_eq!(
        message(CreateService::read(br#"{"command": ["run"]}"#, "cull")).as_deref(),
        Some("Can not create managed service cull at runtime")
    );
    assert_eq!(message(CreateService::read(b"{}", "cull")).as_deref(), Some("Invalid service data"));
}

#[test]
fn the_proxy_is_moved_and_the_hub_shut_down() {
    assert_eq!(message(ProxyLocation::read(b"")).as_deref(), Some("need JSON body"));
    for body in ["[]", "{"] {
        let read = ProxyLocation::read(body.as_bytes());
        assert_eq!(message(read).as_deref(), Some("Request body must be JSON dict"));
    }
    let moved = ProxyLocation::read(br#"{"api_url": "http://h", "auth_token": "hush"}"#).unwrap();
    assert_eq!(moved.api_url.as_deref(), Some("http://h"));
    assert!(!format!("{moved:?}").contains("hush"));

    assert_eq!(Shutdown::read(b""), Ok(Shutdown::default()));
    assert_eq!(
        Shutdown::read(br#"{"proxy": true, "servers": 0}"#),
        Ok(Shutdown { proxy: Some(true), servers: Some(false) })
    );
    assert_eq!(
        message(Shutdown::read(br#"{"servers": "no"}"#)).as_deref(),
        Some("servers must be true or false, got 'no'")
    );
}

#[test]
fn a_share_is_with_one_user_or_one_group() {
    let read = |body: &str| ShareRequest::read(body.as_bytes());
    assert_eq!(
        read(r#"{"user": "bob", "scopes": []}"#),
        Ok(ShareRequest { with: ShareWith::User("bob".to_owned()), scopes: None })
    );
    for body in
        ["", r#"{"user": ""}"#, r#"{"user": "a", "group": "b"}"#, r#"{"user": 1}"#, r#"{"users": "a"}"#]
    {
        assert!(read(body).is_err(), "{body}");
    }
    let code = |body: &str| ShareCodeRequest::read(body.as_bytes()).map(|code| code.expires_in).ok();
    for (body, seconds) in [
        ("", Some(86_400)),
        (r#"{"expires_in": 60}"#, Some(60)),
        (r#"{"expires_in": 60.0}"#, Some(60)),
        (r#"{"expires_in": "60"}"#, Some(60)),
        (r#"{"expires_in": 31536000}"#, Some(31_536_000)),
        (r#"{"expires_in": 59}"#, None),
        (r#"{"expires_in": 31536001}"#, None),
        (r#"{"expires_in": null}"#, None),
        (r#"{"expires_in": 60.5}"#, None),
        (r#"{"user": "a"}"#, None),
    ] {
        assert_eq!(code(body), seconds, "{body}");
    }
}

#[test]
fn invalid_utf8_is_replaced_and_what_is_no_json_refused() {
    let options = ServerOptions::read(b"{\"display_name\": \"a\xff\"}").unwrap();
    assert_eq!(options.display_name.as_deref(), Some("a\u{fffd}"));
    let deep = "[".repeat(100_000);
    for body in ["{", " ", "NaN", "\u{feff}{}", deep.as_str()] {
        assert_eq!(ServerOptions::read(body.as_bytes()), Err(RequestError::NotJson));
    }
}

#[test]
fn a_message_quotes_only_the_beginning_of_a_huge_body() {
    let body = json!(["x".repeat(1_000_000)]).to_string();
    assert!(message(CreateUser::read(body.as_bytes())).unwrap().len() < 1100);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    let keys =
        "name|admin|users|groups|scopes|expires_in|display_name|user_options|servers|last_activity|info";
    leaf.prop_recursive(3, 20, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_makes_a_reader_panic(value in any_json()) {
        let text = value.to_string();
        let body = text.as_bytes();
        let _ = (CreateUsers::read(body), CreateUser::read(body), EditUser::read(body), ServerOptions::read(body));
        let _ = (EditServer::read(body), StopServer::read(body), CreateToken::read(body), Activity::read(body, now()));
        let _ = (CreateGroups::read(body), CreateGroup::read(body), GroupMembers::read_to_add(body));
        let _ = (CreateService::read(body, "s"), ProxyLocation::read(body), Shutdown::read(body));
        let _ = (ShareRequest::read(body), ShareCodeRequest::read(body), GroupProperties::read(body));
    }
}
