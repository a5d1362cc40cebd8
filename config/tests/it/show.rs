use crate::support::{Bench, toml};

#[test]
fn each_key_is_shown_with_its_origin() {
    let bench = Bench::new()
        .file("hub.toml", "[hub]\nbase_url = \"/lab\"\n")
        .env("HUB__SPAWNER__ARGS", "--debug")
        .flag("--port", "proxy.port", "9000");
    let text = hub_config::show(&bench.load().unwrap());
    let path = bench.path("hub.toml");
    for line in [
        format!("base_url = \"/lab/\"  # {}:2", path.display()),
        "args = [\"--debug\"]  # environment variable HUB__SPAWNER__ARGS".to_owned(),
        "bind_url = \"http://127.0.0.1:9000\"  # flag --port".to_owned(),
        "start_timeout = \"1m\"  # default".to_owned(),
        "# public_url is not set".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
}

const SECRETIVE: &str = r#"
[hub]
cookie_secret = "5ec2e701"
crypt_keys = ["5ec2e7025ec2e7025ec2e7025ec2e7025ec2e7025ec2e7025ec2e7025ec2e702"]
service_tokens = { grader = "5ec2e703" }
[db]
url = "postgresql://hub:5ec2e704@db/hub"
[proxy]
auth_token = "5ec2e705"
api_url = "http://hub:5ec2e70f@127.0.0.1:8001"
[authenticator]
kind = "shared-password"
[authenticator.shared-password]
user_password = "5ec2e706"
[[services]]
name = "grader"
url = "http://127.0.0.1:9999"
[[services]]
name = "other"
api_token = "5ec2e707"
command = ["one"]
environment = { KEY = "5ec2e700" }
[spawner]
environment = { AWS_SECRET_ACCESS_KEY = "5ec2e709" }
[spawner.profiles.big]
environment = { KEY = "5ec2e70a" }
[spawner.profiles.big.local]
access_token = "5ec2e708"
[spawner.kube]
environment = { DB_PASSWORD = "5ec2e70b", TURNED = { value = "5ec2e70c" } }
DB_PASSWORD = "5ec2e70d"
[templates]
vars = { mail = { SMTP_Password = "5ec2e70e" } }
"#;

#[test]
fn secrets_are_masked_when_shown_and_left_out_of_debug_output() {
    let loaded = toml(SECRETIVE).unwrap();
    let shown = hub_config::show(&loaded);
    let debug = format!("{loaded:?}");
    let json = serde_json::to_string(&loaded.config.hub).unwrap();
    for text in [&shown, &debug, &json] {
        for number in 1..=8 {
            assert!(!text.contains(&format!("5ec2e70{number}")), "{number}: {text}");
        }
    }
    assert!(!shown.contains("5ec2e70"), "{shown}");
    for masked in [
        "cookie_secret = \"********\"",
        "crypt_keys = [\"********\"]",
        "service_tokens = { grader = \"********\" }",
        "url = \"postgresql://hub:********@db/hub\"",
        "auth_token = \"********\"",
        "user_password = \"********\"",
        "api_token = \"********\"",
        "access_token = \"********\"",
    ] {
        assert!(shown.contains(masked), "{masked} is not in\n{shown}");
    }
}

#[test]
fn what_is_shown_can_be_read_back_and_shows_the_same() {
    let text = r#"
        [hub]
        base_url = "/a b/"
        headers = { "X-A" = "quote \" and\ttab" }
        [spawner]
        environment = { "with space" = "ü\n" }
        [spawner.local]
        nested = { list = [1, 2.5, true] }
        [spawner.profiles.big]
        mem_limit = "1G"
        [[services]]
        name = "one"
        url = "http://127.0.0.1:1"
        info = { a = { b = 1 } }
        [[roles]]
        name = "abc"
        scopes = ["self"]
        [groups]
        staff = ["ann"]
        [custom_scopes."custom:x:read"]
        description = "d"
    "#;
    let strip = |text: &str| {
        let uncommented = text.lines().map(|line| line.rsplit_once("  # ").map_or(line, |(left, _)| left));
        uncommented.collect::<Vec<_>>().join("\n")
    };
    let first = hub_config::show(&toml(text).unwrap());
    let second = hub_config::show(&toml(&first).unwrap_or_else(|errors| panic!("{errors}\n{first}")));
    assert_eq!(strip(&first), strip(&second));
}

#[test]
fn a_token_that_stands_where_a_name_belongs_is_not_repeated() {
    let token = "5ec2e70a5ec2e70a5ec2e70a5ec2e70a";
    for (table, name) in
        [("service_tokens", "grader"), ("api_tokens", "ann"), ("api_tokens", "somebody-else")]
    {
        let text = format!("[hub]\n{table} = {{ {token} = \"{name}\" }}\n[[services]]\nname = \"grader\"\n");
        let errors = toml(&text).unwrap_err().to_string();
        assert!(errors.contains(&format!("hub.{table}: ")) && errors.contains(":2: "), "{errors}");
        assert!(!errors.contains("5ec2e70a"), "{errors}");
    }
}
