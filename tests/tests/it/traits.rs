//! `docs/authenticators.md` names every setting of stock's authenticators.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use hub_tests::environment::{Needed, available};

/// Prints the settings of each class as JSON.
const LIST: &str = r#"
import importlib, json
classes = [
    "jupyterhub.auth.Authenticator", "jupyterhub.auth.LocalAuthenticator", "jupyterhub.auth.PAMAuthenticator",
    "jupyterhub.auth.DummyAuthenticator", "jupyterhub.auth.NullAuthenticator",
    "jupyterhub.authenticators.shared.SharedPasswordAuthenticator", "oauthenticator.oauth2.OAuthenticator",
    "oauthenticator.generic.GenericOAuthenticator", "oauthenticator.auth0.Auth0OAuthenticator",
    "oauthenticator.azuread.AzureAdOAuthenticator", "oauthenticator.bitbucket.BitbucketOAuthenticator",
    "oauthenticator.cilogon.CILogonOAuthenticator", "oauthenticator.github.GitHubOAuthenticator",
    "oauthenticator.gitlab.GitLabOAuthenticator", "oauthenticator.globus.GlobusOAuthenticator",
    "oauthenticator.google.GoogleOAuthenticator", "oauthenticator.openshift.OpenShiftOAuthenticator",
]
found = {}
for path in classes:
    module, name = path.rsplit(".", 1)
    found[name] = sorted(getattr(importlib.import_module(module), name).class_trait_names(config=True))
print(json.dumps(found))
"#;

/// What stands between backticks in the tables.
fn named(text: &str) -> BTreeSet<&str> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_setting_of_stock_authenticators_is_in_the_documentation() {
    if !available(&[Needed::VenvClients]) {
        return;
    }
    let python = Needed::VenvClients.path().join("bin/python");
    let output = Command::new(python).args(["-c", LIST]).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let settings: BTreeMap<String, Vec<String>> =
        serde_json::from_slice(&output.stdout).expect("the program prints JSON");
    assert!(settings["GenericOAuthenticator"].len() > 40, "{settings:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/authenticators.md");
    let text = std::fs::read_to_string(path).expect("the documentation is there");
    let known = named(&text);
    let missing: BTreeMap<&str, Vec<&str>> = settings
        .iter()
        .map(|(class, names)| {
            let names = names.iter().map(String::as_str);
            (class.as_str(), names.filter(|name| !known.contains(name)).collect::<Vec<_>>())
        })
        .filter(|(_, names)| !names.is_empty())
        .collect();
    assert!(missing.is_empty(), "not in docs/authenticators.md: {missing:#?}");
}
