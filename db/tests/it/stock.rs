//! Stock JupyterHub and we take turns on one database.

use std::path::Path;
use std::process::Stdio;

use chrono::TimeDelta;
use hub_core::secret::random_hex32;
use hub_core::token::{CHOSEN_ROUNDS, GENERATED_ROUNDS};
use hub_db::repo::shares::{Receiver, ShareFilter};
use hub_db::repo::spawners::Address;
use hub_db::repo::{
    Owner, browser_sessions, events, groups, oauth, role_members, roles, services, share_codes, shares,
    spawners, tokens, users,
};
use hub_db::types::{bytes_value, value_bytes};
use hub_db::{JsonDict, Tx, schema};
use serde_json::{Value, json};

use crate::harness::{Bed, Fresh, Kind, at, needed, on_every_database, run_empty};

on_every_database!(stock_reads_what_we_write);

/// Runs `stock.py` with the Python that a variable names; `None`: it is not set.
pub(crate) async fn stock(variable: &str, arguments: &[&str]) -> Option<Value> {
    let python = needed(variable)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stock.py");
    let mut command = tokio::process::Command::new(python);
    command.arg(script).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("the Python of the variable runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "stock.py {} failed:\n{text}\n{errors}", arguments[0]);
    let answer = text.lines().last().expect("stock.py answers");
    Some(serde_json::from_str(answer).expect("stock.py answers in JSON"))
}

/// The URL with SQLAlchemy's driver, which SQLAlchemy would else choose among those that it knows.
pub(crate) fn for_stock(url: &str) -> String {
    url.replacen("postgresql://", "postgresql+psycopg2://", 1)
        .replacen("postgres://", "postgresql+psycopg2://", 1)
        .replacen("mysql://", "mysql+pymysql://", 1)
        .replacen("mariadb://", "mysql+pymysql://", 1)
}

const PYTHON: &str = "HIMALIA_TEST_STOCK_PYTHON";

async fn schemas_are_equal(kind: Kind) {
    run_empty(kind, async move |bed: Bed| {
        schema::create(&bed.db).await.unwrap();
        let Some(theirs) = Fresh::make(kind).await else { return };
        if stock(PYTHON, &["make", &for_stock(&theirs.url)]).await.is_some() {
            let ours = stock(PYTHON, &["dump", &for_stock(&bed.url)]).await.unwrap();
            let made = stock(PYTHON, &["dump", &for_stock(&theirs.url)]).await.unwrap();
            assert_eq!(ours.as_object().map(serde_json::Map::len), Some(16));
            for (table, wanted) in made.as_object().unwrap() {
                assert_eq!(&ours[table], wanted, "{table}");
            }
            assert_eq!(ours, made);
        }
        theirs.drop().await;
    })
    .await;
}

#[tokio::test]
async fn the_schema_on_sqlite_is_that_of_stock() {
    schemas_are_equal(Kind::Sqlite).await;
}

#[tokio::test]
async fn the_schema_on_postgresql_is_that_of_stock() {
    schemas_are_equal(Kind::Postgres).await;
}

#[tokio::test]
async fn the_schema_on_mariadb_is_that_of_stock() {
    schemas_are_equal(Kind::MariaDb).await;
}

#[tokio::test]
async fn what_stock_writes_is_read_on_sqlite() {
    run_empty(Kind::Sqlite, what_stock_writes_is_read).await;
}

#[tokio::test]
async fn what_stock_writes_is_read_on_postgresql() {
    run_empty(Kind::Postgres, what_stock_writes_is_read).await;
}

#[tokio::test]
async fn what_stock_writes_is_read_on_mariadb() {
    run_empty(Kind::MariaDb, what_stock_writes_is_read).await;
}

async fn what_stock_writes_is_read(bed: Bed) {
    let Some(written) = stock(PYTHON, &["write", &for_stock(&bed.url)]).await else { return };
    schema::create(&bed.db).await.unwrap();
    let db = bed.db.conn();
    // Stock's tokens end by the clock of the machine.
    let now = at("2026-01-01T00:00:00Z");
    let fraction = if bed.kind == Kind::MariaDb { "2026-03-04T05:06:07Z" } else { "2026-03-04T05:06:07.5Z" };

    let ada = users::by_name(db, "ada").await.unwrap().unwrap();
    let bob = users::by_name(db, "bob").await.unwrap().unwrap();
    assert!(ada.is_admin() && !bob.is_admin());
    assert_eq!((ada.created.unwrap().utc(), ada.last_activity.unwrap().utc()), (at(fraction), at(fraction)));
    assert_eq!(ada.user_info, Some(JsonDict(json!({"name": "Ada é😀"}))));
    assert_eq!(ada.encrypted_auth_state, Some((0..=255).collect()));
    assert_eq!(written["cookie_id"], json!(ada.cookie_id));
    assert_eq!(users::by_cookie_id(db, &ada.cookie_id).await.unwrap().map(|user| user.id), Some(ada.id));

    let staff = groups::by_name(db, "staff").await.unwrap().unwrap();
    assert_eq!(staff.properties, Some(JsonDict(json!({"quota": [1, null]}))));
    assert_eq!(groups::members(db, &[staff.id]).await.unwrap()[&staff.id], ["bob"]);
    let grader = roles::by_name(db, "grader").await.unwrap().unwrap();
    assert_eq!((grader.description.as_deref(), grader.managed_by_auth), (Some("é"), true));
    assert_eq!(roles::scopes_of(db, roles::Holder::User(bob.id)).await.unwrap(), ["read:users", "self"]);
    let holders = role_members::members(db, grader.id).await.unwrap();
    assert_eq!((holders.users[0].name.as_str(), holders.groups[0].name.as_str()), ("ada", "staff"));

    let lab = spawners::by_name(db, ada.id, "lab").await.unwrap().unwrap();
    assert_eq!(lab.row.state, Some(JsonDict(json!({"pid": 42, "x": {"é": 1.5}}))));
    assert_eq!(lab.row.display_name.as_deref(), Some("Мой"));
    assert_eq!(lab.row.started.unwrap().utc(), at(fraction));
    let file = value_bytes(&lab.row.user_options.unwrap().0["file"]).unwrap();
    assert_eq!(file, [0, 255].repeat(60));
    let address = Address {
        proto: "http".to_owned(),
        ip: "127.0.0.1".to_owned(),
        port: 4321,
        base_url: "/user/ada/lab/".to_owned(),
    };
    assert_eq!(lab.server.as_ref().map(Address::from), Some(address));
    let client = oauth::client(db, "jupyterhub-user-ada-lab").await.unwrap().unwrap();
    assert!(oauth::verify_secret(&client, "client secret").await.unwrap());

    let service = services::by_name(db, "svc").await.unwrap().unwrap();
    assert_eq!(service.command.0, ["python3", "-m é"]);
    assert_eq!((service.timeout, service.from_config), (30, Some(false)));

    for (name, owner, client) in [
        ("ada", Owner::User(ada.id), "jupyterhub"),
        ("chosen", Owner::User(ada.id), "jupyterhub"),
        ("short", Owner::User(ada.id), "jupyterhub"),
        ("svc", Owner::Service(service.id), "jupyterhub"),
        ("oauth", Owner::User(ada.id), "jupyterhub-user-ada-lab"),
    ] {
        let text = match name {
            "chosen" => "correct horse battery",
            name => written["tokens"][name].as_str().unwrap(),
        };
        let token = tokens::find(db, text, now).await.unwrap().unwrap();
        let found = token.user_id.map(Owner::User).or(token.service_id.map(Owner::Service));
        assert_eq!((found, token.client_id.as_deref()), (Some(owner), Some(client)), "{name}");
        assert_eq!(token.scopes.0, ["inherit"]);
        assert_eq!(token.expires_at.is_some(), name == "short");
    }
    let listed = tokens::of_owner(db, Owner::User(ada.id), now).await.unwrap();
    let clients: Vec<&str> = listed.iter().filter_map(|entry| entry.oauth_client.as_deref()).collect();
    assert_eq!(clients.iter().filter(|name| **name == "lab of ada").count(), 1);

    let reached = shares::all(db, ShareFilter::ToUserOrItsGroups(bob.id), now).await.unwrap();
    let scopes: Vec<&[String]> = reached.iter().map(|share| &share.share.scopes.0[..]).collect();
    let (access, read) = ("access:servers!server=ada/lab", "read:servers!server=ada/lab");
    assert_eq!(scopes, [&[access.to_owned()][..], &[access.to_owned(), read.to_owned()][..]]);
    let code = written["code"].as_str().unwrap();
    assert!(share_codes::find(db, code, now).await.unwrap().is_some());
    let code = oauth::take_code(db, "stock-code", at("2026-03-04T00:00:00Z")).await.unwrap().unwrap();
    assert_eq!((code.user_id, code.code_challenge_method.as_deref()), (Some(ada.id), Some("S256")));

    let tx = bed.db.begin().await.unwrap();
    assert!(users::delete(&tx, ada.id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(users::count(db).await.unwrap(), 1);
}

/// When everything was written.
const WRITTEN: &str = "2026-03-04T05:06:07.5Z";

/// `ada`, `bob` in `staff`, and the role `grader`.
async fn write_people(tx: &Tx) -> (users::User, users::User, groups::Group) {
    let moment = at(WRITTEN);
    let ada = users::create(tx, "ada", true, moment).await.unwrap();
    let bob = users::create(tx, "bob", false, moment).await.unwrap();
    users::bump_activity(tx, ada.id, at("2026-03-04T05:06:07Z"), TimeDelta::zero()).await.unwrap();
    users::set_user_info(tx, ada.id, Some(json!({"name": "Ada é😀"}))).await.unwrap();
    users::set_auth_state(tx, ada.id, Some(vec![0, 255, 7])).await.unwrap();
    let staff = groups::create(tx, "staff").await.unwrap();
    groups::add_users(tx, staff.id, &[bob.id]).await.unwrap();
    groups::set_properties(tx, staff.id, json!({"quota": [1, null]})).await.unwrap();
    let role = roles::RoleSpec {
        name: "grader".to_owned(),
        description: Some("é".to_owned()),
        scopes: vec!["read:users".to_owned()],
        managed_by_auth: true,
    };
    let role = roles::create(tx, role).await.unwrap();
    roles::assign(tx, role.id, roles::Holder::User(ada.id), true).await.unwrap();
    roles::assign(tx, role.id, roles::Holder::Group(staff.id), false).await.unwrap();
    (ada, bob, staff)
}

/// The running server `lab` of `ada` with its OAuth client, and the service `svc`.
async fn write_servers(tx: &Tx, ada: &users::User) -> (i32, i32) {
    let moment = at(WRITTEN);
    let lab = spawners::create(tx, ada.id, "lab").await.unwrap();
    spawners::set_display_name(tx, lab.id, Some("Мой")).await.unwrap();
    spawners::set_state(tx, lab.id, Some(json!({"pid": 42, "x": {"é": 1.5}}))).await.unwrap();
    spawners::set_started(tx, lab.id, Some(moment)).await.unwrap();
    let options = json!({"file": bytes_value(&[0, 255].repeat(60)), "n": 1});
    spawners::set_user_options(tx, lab.id, Some(options)).await.unwrap();
    let address = Address {
        proto: "http".to_owned(),
        ip: "127.0.0.1".to_owned(),
        port: 4321,
        base_url: "/user/ada/lab/".to_owned(),
    };
    spawners::set_server(tx, lab.id, &address).await.unwrap();
    let client = oauth::ClientSpec {
        identifier: "jupyterhub-user-ada-lab".to_owned(),
        description: "lab of ada".to_owned(),
        redirect_uri: "/cb".to_owned(),
        allowed_scopes: vec!["read:users".to_owned()],
    };
    oauth::upsert_client(tx, client, oauth::hash_secret("client secret").await.unwrap()).await.unwrap();
    spawners::set_oauth_client(tx, lab.id, Some("jupyterhub-user-ada-lab")).await.unwrap();
    let service = services::ServiceSpec {
        command: vec!["python3".to_owned()],
        info: Some(json!({"a": 1})),
        timeout: 7,
        ..services::ServiceSpec::new("svc", false)
    };
    let service = services::upsert(tx, service).await.unwrap();
    (lab.id, service.id)
}

/// Tokens, shares and codes; the secrets behind them, as `stock.py read` wants them.
async fn write_credentials(tx: &Tx, ada: &users::User, service: i32, shared: &shares::Shared) -> Value {
    let moment = at(WRITTEN);
    let token = tokens::NewToken {
        owner: Owner::User(ada.id),
        rounds: GENERATED_ROUNDS,
        client_id: oauth::HUB_CLIENT.to_owned(),
        scopes: vec!["inherit".to_owned()],
        note: "é".to_owned(),
        session_id: Some("s1".to_owned()),
        expires_at: Some(at("2099-01-01T00:00:00Z")),
    };
    let (of_ada, of_svc, of_lab, ended) = (random_hex32(), random_hex32(), random_hex32(), random_hex32());
    let oauth_token = tokens::NewToken {
        client_id: "jupyterhub-user-ada-lab".to_owned(),
        expires_at: None,
        ..token.clone()
    };
    let chosen =
        tokens::NewToken { rounds: CHOSEN_ROUNDS, session_id: None, expires_at: None, ..token.clone() };
    let svc = tokens::NewToken { owner: Owner::Service(service), ..chosen.clone() };
    let past = tokens::NewToken { expires_at: Some(at("2020-01-01T00:00:00Z")), ..token.clone() };
    for (text, new) in [
        (of_ada.as_str(), token),
        ("correct horse battery", chosen),
        (&of_svc, svc),
        (&of_lab, oauth_token),
        (&ended, past),
    ] {
        tokens::create(tx, text, new, moment).await.unwrap();
    }
    let access = ["access:servers".to_owned()];
    let (_, share_code) =
        share_codes::create(tx, shared, &access, at("2099-01-01T00:00:00Z"), moment).await.unwrap();
    let code = oauth::NewCode {
        code: "our-code".to_owned(),
        client_id: "jupyterhub-user-ada-lab".to_owned(),
        user_id: ada.id,
        redirect_uri: "/cb".to_owned(),
        session_id: Some("s1".to_owned()),
        scopes: vec!["read:users".to_owned()],
        challenge: Some(("c".to_owned(), "S256".to_owned())),
        expires_at: at("2026-03-04T05:00:00Z"),
    };
    oauth::create_code(tx, code).await.unwrap();
    for end in ["2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z"] {
        let login = browser_sessions::NewBrowserSession {
            user_id: ada.id,
            session_id: "s2".to_owned(),
            expires_at: at(end),
            address: Some("192.0.2.7".to_owned()),
            agent: Some("é😀".to_owned()),
            mark: Some("himalia-session:5e55".to_owned()),
        };
        browser_sessions::begin(tx, login, moment).await.unwrap();
    }
    for told in [moment, at("2020-01-01T00:00:00Z")] {
        let event = events::NewEvent::new(json!({"action": "start", "user": "é😀"}).to_string()).unwrap();
        events::put(tx, &[event], told).await.unwrap();
    }
    json!({
        "tokens": {"ada": of_ada, "chosen": "correct horse battery", "svc": of_svc, "oauth": of_lab, "ended": ended},
        "share_code": share_code,
        "oauth_code": "our-code",
        "client_secret": "client secret",
    })
}

async fn stock_reads_what_we_write(bed: Bed) {
    let tx = bed.db.begin().await.unwrap();
    let (ada, bob, staff) = write_people(&tx).await;
    let (lab, service) = write_servers(&tx, &ada).await;
    let shared = shares::Shared {
        spawner_id: lab,
        server_name: "lab".to_owned(),
        owner_id: ada.id,
        owner_name: "ada".to_owned(),
    };
    let secrets = write_credentials(&tx, &ada, service, &shared).await;
    for (receiver, scope) in
        [(Receiver::User(bob.id), "access:servers"), (Receiver::Group(staff.id), "read:servers")]
    {
        shares::grant(&tx, &shared, receiver, &[scope.to_owned()], at(WRITTEN)).await.unwrap();
    }
    tx.commit().await.unwrap();

    let fraction =
        if bed.kind == Kind::MariaDb { "2026-03-04T05:06:07" } else { "2026-03-04T05:06:07.500000" };
    let Some(read) = stock(PYTHON, &["read", &for_stock(&bed.url), &secrets.to_string()]).await else {
        return;
    };
    let default = json!({
        "display_name": "", "state": null, "started": null, "options": {}, "address": null, "client": null,
    });
    let wanted = json!({
        "users": {
            "ada": {
                "admin": true, "created": fraction, "last_activity": "2026-03-04T05:06:07",
                "user_info": {"name": "Ada é😀"}, "auth_state": "00ff07", "cookie_id": ada.cookie_id,
                "groups": [], "roles": ["grader"], "shared": [],
                "servers": {
                    "": default,
                    "lab": {
                        "display_name": "Мой", "state": {"pid": 42, "x": {"é": 1.5}}, "started": fraction,
                        "options": {"file": "00ff".repeat(60), "n": 1},
                        "address": ["http", "127.0.0.1", 4321, "/user/ada/lab/"],
                        "client": "jupyterhub-user-ada-lab",
                    },
                },
            },
            "bob": {
                "admin": false, "created": fraction, "last_activity": null, "user_info": null,
                "auth_state": null, "cookie_id": bob.cookie_id, "groups": ["staff"], "roles": [],
                "shared": ["access:servers!server=ada/lab", "read:servers!server=ada/lab"],
                "servers": {"": default},
            },
        },
        "groups": {"staff": {"quota": [1, null]}},
        "roles": {"grader": ["é", ["read:users"], true]},
        "services": {"svc": [["python3"], {"a": 1}, false, 7]},
        "tokens": {
            "ada": ["user", "ada", "jupyterhub", ["inherit"], "é", "s1", "2099-01-01T00:00:00"],
            "chosen": ["user", "ada", "jupyterhub", ["inherit"], "é", null, null],
            "svc": ["service", "svc", "jupyterhub", ["inherit"], "é", null, null],
            "oauth": ["user", "ada", "jupyterhub-user-ada-lab", ["inherit"], "é", "s1", null],
            "ended": null,
        },
        "share_code": [["access:servers!server=ada/lab"], 0, "2099-01-01T00:00:00"],
        "client": ["lab of ada", "/cb", ["read:users"], true],
        "oauth_code": [
            "jupyterhub-user-ada-lab", "ada", "/cb", "s1", ["read:users"],
            at("2026-03-04T05:00:00Z").timestamp(), "S256",
        ],
        // Of the two logins and of the two events those that have ended are purged, and they are no tokens.
        "logins": 2,
        "tokens_of_ada": 4,
        "left": {
            "spawners": 1, "servers": 0, "api_tokens": 1, "shares": 0, "share_codes": 0, "oauth_codes": 1,
        },
    });
    for (key, wanted) in wanted.as_object().unwrap() {
        assert_eq!(&read[key], wanted, "{key}");
    }
}
