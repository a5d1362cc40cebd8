use std::time::Duration;

use hub_config::{FileSource, LogLevel, Origin, QUICK_START, Sources, load};
use secrecy::ExposeSecret as _;

use crate::support::{Bench, no_env, toml};

#[test]
fn without_any_source_the_defaults_are_those_of_stock() {
    let loaded = load(&Sources::default()).unwrap();
    let config = loaded.config;
    assert_eq!(config.hub.base_url, "/");
    assert_eq!(config.hub.cookie_max_age, Duration::from_hours(14 * 24));
    assert_eq!(config.hub.concurrent_spawn_limit, 100);
    assert_eq!(config.spawner.command(), ["jupyterhub-singleuser"]);
    assert!(!config.hub.allow_named_servers);
    assert!(config.proxy.bind_url.is_loopback());
    assert_eq!(config.db.url.expose_secret(), "sqlite:///jupyterhub.sqlite");
    assert!(loaded.warnings.is_empty());
}

#[test]
fn the_quick_start_profile_turns_named_servers_on() {
    let text = FileSource::BuiltIn { name: "quick start".to_owned(), text: QUICK_START.to_owned() };
    let loaded = load(&Sources { files: vec![text], env: no_env(), ..Sources::default() }).unwrap();
    assert!(loaded.config.hub.allow_named_servers);
    assert_eq!(loaded.config.authenticator.kind, "first-admin");
    assert!(matches!(loaded.origins.of("hub.allow_named_servers"), Origin::BuiltIn { line: 3, .. }));
}

#[test]
fn later_files_win_over_earlier_ones_and_flags_over_variables_over_files() {
    let mut bench = Bench::new()
        .file("a.toml", "[spawner]\nstart_timeout = \"1m\"\nhttp_timeout = 11\nargs = [\"a\", \"b\"]\n")
        .file("b.toml", "[spawner]\nstart_timeout = \"2m\"\nargs = [\"c\"]\n");
    let config = bench.load().unwrap().config;
    assert_eq!(config.spawner.start_timeout, Duration::from_mins(2));
    assert_eq!(config.spawner.http_timeout, Duration::from_secs(11));
    assert_eq!(config.spawner.args, ["c"], "lists are replaced, not joined");

    bench = bench.env("HUB__SPAWNER__START_TIMEOUT", "3m");
    assert_eq!(bench.load().unwrap().config.spawner.start_timeout, Duration::from_mins(3));

    bench = bench.flag("--set spawner.start_timeout", "spawner.start_timeout", "4m");
    let loaded = bench.load().unwrap();
    assert_eq!(loaded.config.spawner.start_timeout, Duration::from_mins(4));
    assert_eq!(loaded.origins.of("spawner.start_timeout").to_string(), "flag --set spawner.start_timeout");
    assert_eq!(
        *loaded.origins.of("spawner.http_timeout"),
        Origin::File { path: bench.path("a.toml"), line: 3 }
    );
    assert_eq!(*loaded.origins.of("spawner.poll_interval"), Origin::Default);
}

#[test]
fn variables_are_read_as_what_their_key_wants() {
    let config = Bench::new()
        .env("HUB__HUB__ALLOW_NAMED_SERVERS", "true")
        .env("HUB__HUB__API_PAGE_DEFAULT_LIMIT", "20")
        .env("HUB__AUTHENTICATOR__ADMIN_USERS", "ann, bob")
        .env("HUB__AUTHENTICATOR__OTP_PROMPT", "12345")
        .env("HUB__SPAWNER__CMD", r#"["a,b", 'c']"#)
        .env("HUB__SPAWNER__POLL_JITTER", "0.5")
        .env("HUB__SPAWNER__MEM_LIMIT", "2G")
        .env("HUB__HUB__HEADERS", "{ X-Robots-Tag = \"none\" }")
        .env("HUB__LOGGING__LEVEL", "debug")
        .env("HUB__AUTHENTICATOR__SHARED_PASSWORD__USER_PASSWORD", "not a number: 5")
        .env("HUB__SPAWNER__LOCAL__KILL_TIMEOUT", "7")
        .env("HUB_SERVICE_PORT", "8081")
        .load()
        .unwrap()
        .config;
    assert!(config.hub.allow_named_servers);
    assert_eq!(config.hub.api_page_default_limit, 20);
    assert_eq!(config.authenticator.admin_users, ["ann", "bob"]);
    assert_eq!(config.authenticator.otp_prompt, "12345");
    assert_eq!(config.spawner.command(), ["a,b", "c"]);
    assert!((config.spawner.poll_jitter - 0.5).abs() < f64::EPSILON);
    assert_eq!(config.spawner.mem_limit, Some(2 << 30));
    assert_eq!(config.hub.headers["X-Robots-Tag"], "none");
    assert_eq!(config.logging.level, LogLevel::Debug);
    assert_eq!(config.authenticator.options("shared-password")["user_password"], "not a number: 5");
    assert_eq!(config.spawner.options("local")["kill_timeout"], 7);
}

#[test]
fn a_file_wins_over_jupyterhubs_own_variables_as_in_stock() {
    let from_env = || {
        Bench::new()
            .env("CONFIGPROXY_AUTH_TOKEN", "from-env")
            .env("JPY_COOKIE_SECRET", "abcd")
            .env("JUPYTERHUB_CRYPT_KEY", &format!("{};{}", "1".repeat(64), "2".repeat(64)))
            .env("JUPYTERHUB_METRICS_PREFIX", "")
            .env("JUPYTERHUB_SERVER_SPAWN_DURATION_SECONDS_BUCKETS", "1, 2.5,600,inf")
            .env("JUPYTERHUB_SERVER_STOP_DURATION_SECONDS_BUCKETS", "7")
    };
    let config = from_env().load().unwrap().config;
    assert_eq!(config.proxy.auth_token.unwrap().expose_secret(), "from-env");
    assert_eq!(config.hub.cookie_secret.unwrap().expose_secret(), "abcd");
    assert_eq!(config.hub.crypt_keys.len(), 2);
    assert_eq!(config.metrics.prefix, "jupyterhub", "an empty variable says nothing");
    assert_eq!(config.metrics.server_spawn_duration_seconds_buckets, [1.0, 2.5, 600.0]);
    assert_eq!(config.metrics.server_stop_duration_seconds_buckets, [7.0]);

    let config = from_env().file("hub.toml", "[proxy]\nauth_token = \"from-file\"\n").load().unwrap().config;
    assert_eq!(config.proxy.auth_token.unwrap().expose_secret(), "from-file");
}

#[test]
fn base_urls_have_one_form_however_they_are_written() {
    for (written, normal) in [
        ("/", "/"),
        ("", "/"),
        ("notebooks", "/notebooks/"),
        ("//a//b", "/a/b/"),
        ("/@/space word/", "/@/space%20word/"),
        ("/@/space%20word/", "/@/space%20word/"),
        ("/ü/", "/%C3%BC/"),
    ] {
        let loaded = toml(&format!("[hub]\nbase_url = {written:?}\n")).unwrap();
        assert_eq!(loaded.config.hub.base_url, normal, "{written:?}");
    }
}

#[test]
fn ip_and_port_of_the_hub_change_parts_of_its_address() {
    let bench = Bench::new().file("hub.toml", "[hub]\nhub_ip = \"0.0.0.0\"\n");
    let loaded = bench.flag("--JupyterHub.hub_port", "hub.hub_port", "9081").load().unwrap();
    assert_eq!(loaded.config.hub.hub_bind_url.to_string(), "http://0.0.0.0:9081");
    assert_eq!(loaded.origins.of("hub.hub_bind_url").to_string(), "flag --JupyterHub.hub_port");
    let bench = Bench::new().file("hub.toml", "[hub]\nhub_port = 9081\n");
    let loaded = bench.flag("--set", "hub.hub_bind_url", "http://127.0.0.1:9082").load().unwrap();
    assert_eq!(loaded.config.hub.hub_bind_url.to_string(), "http://127.0.0.1:9082");
}

#[test]
fn ip_and_port_change_parts_of_the_address_and_a_later_address_wins_over_them() {
    let bench = Bench::new().file("hub.toml", "[proxy]\nport = 9000\n").flag("--ip", "proxy.ip", "::1");
    let loaded = bench.load().unwrap();
    assert_eq!(loaded.config.proxy.bind_url.to_string(), "http://[::1]:9000");
    assert_eq!(
        loaded.origins.of("proxy.bind_url").to_string().split(':').next(),
        Some(bench.path("hub.toml").to_str().unwrap())
    );

    let loaded = Bench::new()
        .file("hub.toml", "[proxy]\nport = 9000\n")
        .flag("--url", "proxy.bind_url", "http://:7000/lab")
        .load()
        .unwrap();
    assert_eq!(loaded.config.proxy.bind_url.port(), Some(7000));
    assert_eq!(loaded.config.proxy.bind_url.host(), Some(""));
    assert!(!loaded.config.proxy.bind_url.is_loopback());
    assert_eq!(loaded.config.hub.base_url, "/lab/", "the path of the address is the base URL");
    assert_eq!(loaded.origins.of("hub.base_url").to_string(), "flag --url");
}

#[test]
fn a_profile_has_the_keys_of_the_section_and_its_own_over_them() {
    let loaded = toml(
        r#"
        [spawner]
        start_timeout = "90s"
        environment = { A = "1", B = "2" }
        [spawner.local]
        kill_timeout = 3
        [spawner.profiles.big]
        display_name = "Big"
        default = true
        mem_limit = "8G"
        environment = { B = "3" }
        [spawner.profiles.big.local]
        term_timeout = 4
        "#,
    )
    .unwrap();
    let base = &loaded.config.spawner;
    let big = &base.profiles["big"];
    assert_eq!(big.display_name.as_deref(), Some("Big"));
    assert!(big.default);
    assert_eq!(big.spawner.start_timeout, Duration::from_secs(90));
    assert_eq!(big.spawner.mem_limit, Some(8 << 30));
    assert_eq!(
        big.spawner.environment,
        [("A", "1"), ("B", "3")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    );
    assert_eq!(big.spawner.options("local"), serde_json::json!({"kill_timeout": 3, "term_timeout": 4}));
    assert_eq!(base.mem_limit, None);
    assert_eq!(base.options("local"), serde_json::json!({"kill_timeout": 3}));
}

#[test]
fn names_of_stock_in_other_units_are_understood() {
    let config =
        toml("[hub]\ncookie_max_age_days = 0.5\ntoken_expires_in_max_seconds = 90\n").unwrap().config;
    assert_eq!(config.hub.cookie_max_age, Duration::from_hours(12));
    assert_eq!(config.hub.token_expires_in_max, Duration::from_secs(90));
}

#[test]
fn an_earlier_file_may_say_in_seconds_what_a_later_one_says_in_days() {
    let config = Bench::new()
        .file("a.toml", "[hub]\ncookie_max_age_days = 3\n")
        .file("b.toml", "[hub]\ncookie_max_age = \"1h\"\n")
        .load()
        .unwrap()
        .config;
    assert_eq!(config.hub.cookie_max_age, Duration::from_hours(1));
}

#[test]
fn waiting_for_ever_is_written_in_words_or_as_stocks_minus_one() {
    for written in ["\"forever\"", "-1"] {
        let config = toml(&format!("[hub]\ninit_spawners_timeout = {written}\n")).unwrap().config;
        assert_eq!(config.hub.init_spawners_timeout, None, "{written}");
    }
    let config = toml("[hub]\ninit_spawners_timeout = 0\n").unwrap().config;
    assert_eq!(config.hub.init_spawners_timeout, Some(Duration::ZERO));
}

#[test]
fn administrators_of_both_sections_are_one_list() {
    let config = toml("[hub]\nadmin_users = [\"ann\", \"bob\"]\n[authenticator]\nadmin_users = [\"bob\"]\n")
        .unwrap()
        .config;
    assert_eq!(config.authenticator.admin_users, ["bob", "ann"]);
}

#[test]
fn database_passwords_come_from_the_databases_own_variables() {
    let password = |url: &str| {
        let bench = Bench::new().file("hub.toml", &format!("[db]\nurl = {url:?}\n"));
        let loaded = bench.env("PGPASSWORD", "pg").env("MYSQL_PWD", "my").load().unwrap();
        loaded.config.db.password.map(|password| password.expose_secret().to_owned())
    };
    assert_eq!(password("postgresql+psycopg://hub@db/hub").as_deref(), Some("pg"));
    assert_eq!(password("mysql://hub@db/hub").as_deref(), Some("my"));
    assert_eq!(password("sqlite:///hub.sqlite"), None);
}
