use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use hub_config::{
    HubSection, SecretError, decode_crypt_key, load_or_create_cookie_secret, load_or_create_secrets,
};
use secrecy::ExposeSecret as _;

use crate::support::{Bench, write_with_mode};

#[test]
fn a_secret_may_stand_in_a_file_relative_to_the_configuration() {
    let bench = Bench::new()
        .file(
            "hub.toml",
            "[proxy]\nauth_token_file = \"token\"\n[authenticator.dummy]\npassword_file = \"password\"\n\
             [[services]]\nname = \"a\"\napi_token_file = \"token\"\n",
        )
        .beside("token", "0123456789abcdef\n", 0o600)
        .beside("password", "with space \n", 0o640);
    let loaded = bench.load().unwrap();
    assert_eq!(loaded.config.proxy.auth_token.unwrap().expose_secret(), "0123456789abcdef");
    assert_eq!(loaded.config.services[0].api_token.as_ref().unwrap().expose_secret(), "0123456789abcdef");
    assert_eq!(
        loaded.config.authenticator.options("dummy"),
        serde_json::json!({"password": "with space "}),
        "only the end of the line is cut"
    );
    assert!(loaded.warnings.is_empty());
}

#[test]
fn a_secret_file_that_everybody_can_read_is_a_warning() {
    let bench =
        Bench::new().file("hub.toml", "[proxy]\nauth_token_file = \"token\"\n").beside("token", "abc", 0o644);
    let warnings = bench.load().unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].to_string().contains("hub.toml:2: proxy.auth_token_file"), "{}", warnings[0]);
}

#[test]
fn a_secret_file_that_is_missing_empty_or_a_directory_is_an_error() {
    let bench = Bench::new()
        .file("a.toml", "[proxy]\nauth_token_file = \"missing\"\n")
        .file("b.toml", "[db]\npassword_file = \"empty\"\n")
        .file("c.toml", "[hub]\ncrypt_keys_file = \".\"\n")
        .beside("empty", "\n", 0o600);
    let found = bench.problems();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("a.toml:2: proxy.auth_token_file: missing cannot be read"), "{found:#?}");
    assert!(found[1].starts_with("b.toml:2: db.password_file: empty is empty"), "{found:#?}");
    assert!(found[2].contains("hub.crypt_keys_file"), "{found:#?}");
}

#[test]
fn a_secret_and_its_file_contradict_each_other_in_one_place_and_override_each_other_in_two() {
    let both = Bench::new()
        .file("hub.toml", "[proxy]\nauth_token = \"a\"\nauth_token_file = \"token\"\n")
        .beside("token", "b", 0o600);
    assert_eq!(
        both.problems(),
        ["hub.toml:3: proxy.auth_token_file: says the same as auth_token; keep one of them"]
    );

    let later = Bench::new()
        .file("a.toml", "[proxy]\nauth_token_file = \"token\"\n")
        .file("b.toml", "[proxy]\nauth_token = \"a\"\n")
        .beside("token", "b", 0o600);
    assert_eq!(later.load().unwrap().config.proxy.auth_token.unwrap().expose_secret(), "a");
}

fn hub_with(path: &Path) -> HubSection {
    HubSection { cookie_secret_file: path.to_path_buf(), ..HubSection::default() }
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn the_cookie_secret_is_made_once_and_closed_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let hub = hub_with(&directory.path().join("jupyterhub_cookie_secret"));
    let first = load_or_create_cookie_secret(&hub).unwrap();
    let second = load_or_create_cookie_secret(&hub).unwrap();
    assert_eq!(first.secret.expose_secret(), second.secret.expose_secret());
    assert_eq!(first.secret.expose_secret().len(), 32);
    assert!(first.warnings.is_empty() && second.warnings.is_empty());
    assert_eq!(fs::metadata(&hub.cookie_secret_file).unwrap().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&hub.cookie_secret_file).unwrap();
    assert_eq!(text, format!("{}\n", hex::encode(first.secret.expose_secret())));
    assert_eq!(entries(directory.path()), 1, "no draft is left behind");
}

#[test]
fn a_cookie_secret_that_others_may_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    for mode in [0o604, 0o602, 0o644] {
        write_with_mode(&path, &"ab".repeat(32), mode);
        let error = load_or_create_cookie_secret(&hub_with(&path)).unwrap_err();
        assert!(matches!(error, SecretError::Open { mode: found, .. } if found == mode), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    write_with_mode(&path, &"ab".repeat(32), 0o640);
    assert!(load_or_create_cookie_secret(&hub_with(&path)).is_ok(), "the group may read, as in stock");
}

#[test]
fn an_old_cookie_secret_in_base64_is_taken_with_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    write_with_mode(&path, "c2VjcmV0IG9mIG9sZA==\n", 0o600);
    let old = load_or_create_cookie_secret(&hub_with(&path)).unwrap();
    assert_eq!(old.secret.expose_secret(), b"secret of old");
    assert_eq!(old.warnings.len(), 2, "{:?}", old.warnings);
    write_with_mode(&path, "!!\n", 0o600);
    assert!(matches!(load_or_create_cookie_secret(&hub_with(&path)), Err(SecretError::Content { .. })));
}

#[test]
fn the_setting_wins_over_the_variable_and_the_variable_over_the_file() {
    let secret = |bench: &Bench| {
        let hub = bench.load().unwrap().config.hub;
        load_or_create_cookie_secret(&hub).unwrap().secret.expose_secret().to_vec()
    };
    let bench = Bench::new().beside("secret", &"ab".repeat(32), 0o600);
    let path = bench.path("secret");
    let bench = bench.file("a.toml", &format!("[hub]\ncookie_secret_file = {path:?}\n"));
    assert_eq!(secret(&bench), [0xab; 32]);
    let bench = bench.env("JPY_COOKIE_SECRET", &"cd".repeat(32));
    assert_eq!(secret(&bench), [0xcd; 32]);
    let bench = bench.file("b.toml", &format!("[hub]\ncookie_secret = \"{}\"\n", "ef".repeat(32)));
    assert_eq!(secret(&bench), [0xef; 32]);
}

#[test]
fn keys_for_auth_state_have_three_notations() {
    assert_eq!(decode_crypt_key(&"0a".repeat(32)), Some([10; 32]));
    assert_eq!(decode_crypt_key("CgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo="), Some([10; 32]));
    assert_eq!(
        decode_crypt_key("raw raw raw raw raw raw raw raw!"),
        Some(*b"raw raw raw raw raw raw raw raw!")
    );
    for wrong in ["", "short", &"zz".repeat(32), &"0a".repeat(31)] {
        assert_eq!(decode_crypt_key(wrong), None, "{wrong}");
    }
}

#[test]
fn a_hub_without_configuration_keeps_its_secrets_in_one_closed_file() {
    let directory = tempfile::tempdir().unwrap();
    let first = load_or_create_secrets(directory.path()).unwrap();
    let second = load_or_create_secrets(directory.path()).unwrap();
    for (one, two) in [
        (&first.cookie_secret, &second.cookie_secret),
        (&first.crypt_key, &second.crypt_key),
        (&first.proxy_auth_token, &second.proxy_auth_token),
    ] {
        assert_eq!(one.expose_secret(), two.expose_secret());
        assert_eq!(one.expose_secret().len(), 64);
    }
    assert_ne!(first.cookie_secret.expose_secret(), first.crypt_key.expose_secret());
    assert_eq!(fs::metadata(&first.path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(entries(directory.path()), 1);

    write_with_mode(&first.path, "cookie_secret = \"0123\"\n", 0o600);
    let error = load_or_create_secrets(directory.path()).unwrap_err().to_string();
    assert!(!error.contains("0123"), "{error}");
}

#[test]
fn a_cookie_secret_of_stock_in_the_same_directory_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    write_with_mode(&directory.path().join("jupyterhub_cookie_secret"), &"ab".repeat(32), 0o600);
    let secrets = load_or_create_secrets(directory.path()).unwrap();
    assert_eq!(secrets.cookie_secret.expose_secret(), "ab".repeat(32));
}

#[test]
fn several_processes_that_begin_together_agree_on_one_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    let make = || load_or_create_cookie_secret(&hub_with(&path)).unwrap().secret.expose_secret().to_vec();
    let secrets: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    assert_eq!(entries(directory.path()), 1);
}
