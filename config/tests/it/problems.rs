use rstest::rstest;

use crate::support::{Bench, problems, toml};

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_lines() {
    let found = problems(
        r#"[hub]
base_url = "/x/../y"
allow_named_server = true
cookie_max_age = 2026-01-01
server_names = "saef"

[spawner]
start_timout = "5m"
http_timeout = "5 parsecs"
cmd = "jupyterhub-singleuser"
kind = "lcoal"

[JupyterHub]
ip = ""
"#,
    );
    assert_eq!(
        found,
        [
            "hub.toml:2: hub.base_url: \"/x/../y\" is no base URL: it may not have the steps '.' and '..'",
            "hub.toml:3: hub.allow_named_server: unknown key (did you mean allow_named_servers?)",
            "hub.toml:4: hub.cookie_max_age: expected a duration such as \"30s\" or a number of seconds, found the date 2026-01-01",
            "hub.toml:5: hub.server_names: expected one of \"safe\", \"any\", found the text \"saef\" (did you mean \"safe\"?)",
            "hub.toml:8: spawner.start_timout: unknown key (did you mean start_timeout?)",
            "hub.toml:9: spawner.http_timeout: \"5 parsecs\" is no duration; write for example 30s, 5m, 1h30m, 14d or a number of seconds",
            "hub.toml:10: spawner.cmd: expected a list of texts, found the text \"jupyterhub-singleuser\"",
            "hub.toml:11: spawner.kind: there is no \"lcoal\" (did you mean local?)",
            "hub.toml:13: JupyterHub: unknown table (what JupyterHub calls JupyterHub is [hub] here)",
        ]
    );
}

#[rstest]
#[case::key_of_another_section("[spawner]\nallow_named_servers = true\n", "there is hub.allow_named_servers")]
#[case::name_of_stock("[hub]\nload_roles = []\n", "is roles here")]
#[case::plugin_table("[authenticator.dumy]\npassword = \"x\"\n", "did you mean dummy?")]
#[case::profile("[spawner.profiles.a]\nmem_limt = \"1G\"\n", "spawner.profiles.a.mem_limt: unknown key")]
#[case::service(
    "[[services]]\nname = \"a\"\nadmn = true\n",
    "services[0].admn: unknown key (did you mean admin?)"
)]
#[case::whole_number("[hub]\napi_page_max_limit = 1.5\n", "expected a whole number, found the number 1.5")]
#[case::negative("[hub]\nactive_server_limit = -1\n", "expected 0 or more, found -1")]
#[case::port("[spawner]\nport = 65536\n", "at most 65535")]
#[case::large("[hub]\nactive_server_limit = 5000000000\n", "at most 4294967295")]
#[case::truth("[hub]\nadmin_access = \"yes\"\n", "expected true or false, found the text \"yes\"")]
#[case::list_item("[spawner]\ncmd = [\"a\", 1]\n", "spawner.cmd[1]: expected text, found the number 1")]
#[case::size("[spawner]\nmem_limit = \"1X\"\n", "\"1X\" is no size")]
#[case::address("[proxy]\nbind_url = \"127.0.0.1:8000\"\n", "must begin with http://")]
#[case::group("[groups]\na = 1\n", "expected a list of texts or a table, found the number 1")]
#[case::hosts_below_an_address("[hub]\nsubdomain_host = \"10.0.0.1\"\n", "must be a host name")]
#[case::hosts_with_a_path("[hub]\nsubdomain_host = \"https://a.test/x\"\n", "may not have a path")]
#[case::a_route_of_the_hub_beside_hosts(
    "[hub]\nsubdomain_host = \"a.test\"\nhub_routespec = \"/hub/\"\n",
    "must be / where hub.subdomain_host is set"
)]
#[case::a_route_without_host(
    "[hub]\nsubdomain_host = \"a.test\"\n[proxy.extra_routes]\n\"/x/\" = \"http://127.0.0.1:1\"\n",
    "must begin with a host name"
)]
#[case::public_path("[hub]\nbase_url = \"/a/\"\npublic_url = \"https://x.org/b/\"\n", "hub.base_url is /a/")]
#[case::https_without_certificate("[proxy]\nbind_url = \"https://:443\"\n", "there is no certificate")]
#[case::terms_not_agreed_to(
    "[proxy.acme]\ndomains = [\"lab.example.org\"]\n",
    "proxy.acme.accept_terms: is not true"
)]
#[case::a_certificate_for_nobody("[proxy.acme]\naccept_terms = true\n", "proxy.acme.domains: is empty")]
#[case::a_wildcard(
    "[proxy.acme]\ndomains = [\"a.test\", \"*.a.test\"]\naccept_terms = true\n",
    "proxy.acme.domains[1]: \"*.a.test\" is no host name"
)]
#[case::a_plain_authority(
    "[proxy.acme]\ndomains = [\"a.test\"]\naccept_terms = true\ndirectory = \"http://ca.test/\"\n",
    "proxy.acme.directory: must begin with https://"
)]
#[case::a_contact_by_scheme(
    "[proxy.acme]\ndomains = [\"a.test\"]\naccept_terms = true\ncontact = \"mailto:a@a.test\"\n",
    "proxy.acme.contact: must be a mail address"
)]
#[case::two_certificates(
    "[proxy]\nssl_key = \"k\"\nssl_cert = \"c\"\n[proxy.acme]\ndomains = [\"a.test\"]\naccept_terms = true\n",
    "proxy.acme: orders a certificate although"
)]
#[case::a_challenge_that_nobody_answers(
    "[proxy.acme]\ndomains = [\"a.test\"]\naccept_terms = true\nchallenge = \"http-01\"\n",
    "proxy.redirect_port: is missing"
)]
#[case::half_a_certificate("[proxy]\nssl_key = \"key.pem\"\n", "proxy.ssl_cert: is missing")]
#[case::external_proxy("[proxy]\nshould_start = false\n", "CONFIGPROXY_AUTH_TOKEN")]
#[case::route("[proxy.extra_routes]\n\"docs\" = \"http://127.0.0.1:1\"\n", "must begin with /")]
#[case::cookie_secret("[hub]\ncookie_secret = \"xyz\"\n", "hexadecimal digits")]
#[case::crypt_key("[hub]\ncrypt_keys = [\"short\"]\n", "hub.crypt_keys[0]: is neither 64")]
#[case::auth_state("[authenticator]\nenable_auth_state = true\n", "needs hub.crypt_keys")]
#[case::cookie_option("[hub]\ncookie_options = { samesit = \"Lax\" }\n", "did you mean samesite?")]
#[case::header("[hub.headers]\n\"a b\" = \"c\"\n", "no valid name of a header")]
#[case::network("[hub]\ntrusted_downstream_ips = [\"10.0.0.0/33\"]\n", "neither an address nor a network")]
#[case::pages("[hub]\napi_page_default_limit = 500\n", "between 1 and api_page_max_limit")]
#[case::database("[db]\nurl = \"oracle://x\"\n", "must begin with sqlite://")]
#[case::pattern("[authenticator]\nusername_pattern = \"a(\"\n", "no regular expression")]
#[case::admin_pattern(
    "[authenticator]\nusername_pattern = \"[a-c]\"\nadmin_users = [\"ann\", \"zoe\"]\n",
    "authenticator.admin_users[1]: \"zoe\" does not match"
)]
#[case::user_name("[authenticator]\nadmin_users = [\"a/b\"]\n", "authenticator.admin_users[0]: \"a/b\"")]
#[case::service_name("[[services]]\nurl = \"http://127.0.0.1:1\"\n", "every service needs a name")]
#[case::two_services(
    "[[services]]\nname = \"a\"\n[[services]]\nname = \"a\"\n",
    "there are two services \"a\""
)]
#[case::client_id(
    "[[services]]\nname = \"a\"\nurl = \"http://a:1\"\noauth_client_id = \"b\"\n",
    "must begin with service-"
)]
#[case::short_token("[[services]]\nname = \"a\"\napi_token = \"short\"\n", "8 to 64 characters, this has 5")]
#[case::role_name("[[roles]]\nname = \"a\"\n", "3 to 255 characters")]
#[case::admin_role("[[roles]]\nname = \"admin\"\nscopes = [\"self\"]\n", "cannot be changed")]
#[case::role_service("[[roles]]\nname = \"abc\"\nservices = [\"x\"]\n", "there is no service \"x\"")]
#[case::custom_scope("[custom_scopes.\"other:x\"]\ndescription = \"x\"\n", "no name of a custom scope")]
#[case::guarantee("[spawner]\nmem_limit = \"1G\"\nmem_guarantee = \"2G\"\n", "more than mem_limit")]
#[case::both_units("[hub]\ncookie_max_age = 5\ncookie_max_age_days = 1\n", "says the same as cookie_max_age")]
#[case::falling_buckets(
    "[metrics]\nserver_spawn_duration_seconds_buckets = [2, 1.5]\n",
    "metrics.server_spawn_duration_seconds_buckets: must be one or more numbers of seconds"
)]
#[case::no_buckets(
    "[metrics]\nserver_stop_duration_seconds_buckets = []\n",
    "each more than the one before it"
)]
#[case::own_route("[hub]\nhub_routespec = \"/hub?x\"\n", "may not have a query")]
#[case::option_of_nothing(
    "[spawner.apply_user_options]\nimage_input = \"image\"\n",
    "spawner.apply_user_options.image_input: \"image\" is no key that an option can set"
)]
#[case::override_of_nothing(
    "[spawner.group_overrides.a]\ngroups = [\"g\"]\nspawner_override = { mem_limt = \"1G\" }\n",
    "spawner.group_overrides.a.spawner_override.mem_limt: unknown key (did you mean mem_limit?)"
)]
#[case::two_places_for_overrides(
    "[spawner]\nkind = \"kube\"\n[spawner.group_overrides.a]\ngroups = [\"g\"]\n[spawner.kube.group_overrides.a]\ngroups = []\n",
    "is in [spawner.kube] as well"
)]
#[case::two_paths("[hub]\nbase_url = \"/a/\"\n[proxy]\nbind_url = \"http://:8000/b/\"\n", "has the path /b/")]
fn a_wrong_setting_is_explained(#[case] text: &str, #[case] expected: &str) {
    let found = problems(text);
    assert!(found.iter().any(|problem| problem.contains(expected)), "{found:#?}");
}

#[test]
fn a_route_of_the_hub_that_leaves_requests_out_is_a_warning() {
    for (text, expected) in [
        ("", None),
        ("hub_routespec = \"/\"", None),
        ("base_url = \"/a/\"\nhub_routespec = \"a\"", None),
        ("hub_routespec = \"hub/api\"", Some("servers that do not run do not reach the hub")),
        ("base_url = \"/a/\"\nhub_routespec = \"/hub/\"", Some("/a/hub/api/, through the proxy")),
    ] {
        let loaded = Bench::new().file("hub.toml", &format!("[hub]\n{text}\n")).load().unwrap();
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        match expected {
            None => assert!(warnings.is_empty(), "{text}: {warnings:?}"),
            Some(expected) => {
                assert!(warnings.iter().any(|it| it.contains(expected)), "{text}: {warnings:?}");
            }
        }
    }
}

#[test]
fn a_problem_in_the_environment_names_the_variable_and_one_in_a_flag_the_flag() {
    let bench = Bench::new()
        .env("HUB__SPAWNER__START_TIMOUT", "5m")
        .env("HUB__HUB", "x")
        .flag("--port", "proxy.port", "http")
        .flag("--set", "", "x");
    assert_eq!(
        bench.problems(),
        [
            "environment variable HUB__HUB: hub: expected a table, found the text \"x\"",
            "environment variable HUB__SPAWNER__START_TIMOUT: spawner.start_timout: unknown key (did you mean start_timeout?)",
            "flag --set: is no key (write section.key, for example hub.base_url)",
            "flag --port: proxy.port: expected a whole number, found the text \"http\"",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_is_reported_with_its_line_beside_the_problems_of_other_files() {
    let bench = Bench::new().file("a.toml", "[hub]\nbase_url = \n").file("b.toml", "[hub]\nx = 1\n");
    let found = bench.problems();
    assert!(
        found.iter().any(|problem| problem.starts_with("a.toml:2: ") && problem.contains("not valid TOML")),
        "{found:#?}"
    );
    assert!(found.iter().any(|problem| problem.starts_with("b.toml:2: hub.x: unknown key")), "{found:#?}");
}

#[test]
fn a_missing_file_is_a_problem() {
    let mut bench = Bench::new();
    bench.sources.files.push(hub_config::FileSource::Path(bench.path("nowhere.toml")));
    let found = bench.problems();
    assert!(found[0].starts_with("nowhere.toml:1: cannot be read: "), "{found:#?}");
}

#[test]
fn a_secret_of_the_wrong_type_is_not_repeated() {
    let found = problems("[hub]\ncookie_secret = 1234567\n").join("\n");
    assert!(found.contains("hub.cookie_secret: expected text, found a number"), "{found}");
    assert!(!found.contains("1234567"), "{found}");
}

#[test]
fn doubtful_settings_are_warnings() {
    let loaded =
        toml("[templates]\npaths = [\"/nowhere/at/all\"]\n[[services]]\nname = \"lonely\"\n").unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(
        warnings.iter().any(
            |warning| warning.contains("hub.toml:2: templates.paths[0]: /nowhere/at/all is no directory")
        ),
        "{warnings:#?}"
    );
    assert!(
        warnings.iter().any(|warning| warning.contains("neither url, command nor api_token")),
        "{warnings:#?}"
    );
}
