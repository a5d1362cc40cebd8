//! What every page is given.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use super::user::UserView;
use super::words::Language;

/// A service in the menu. `href` is where the link leads.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ServiceLink {
    /// Name.
    pub name: String,
    /// Target of the link.
    pub href: String,
    /// Address that the proxy forwards to.
    pub url: String,
    /// Path below which it is reached.
    pub prefix: String,
    /// Whether it is shown; only those with `true` belong into the list.
    pub display: bool,
    /// Whatever the configuration says about it.
    pub info: serde_json::Map<String, serde_json::Value>,
}

/// Variables of all pages (`template_namespace`). `static_url`, `version_hash`, `url_path_join` and the configured
/// `template_vars` are added by the renderer; a variable of the page wins over `template_vars`, which win over these.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CommonContext {
    /// The hub's prefix, `/base/hub/`, percent-encoded.
    pub base_url: String,
    /// The base URL, `/base/`, percent-encoded.
    pub prefix: String,
    /// The logged-in person; templates see `none` for everybody else.
    pub user: Option<UserView>,
    /// Where to log in.
    pub login_url: String,
    /// Where to log out.
    pub logout_url: String,
    /// Where the person's account is at the place where people log in; empty where there is none.
    pub account_url: String,
    /// Whether that place does not answer at the moment.
    pub login_away: bool,
    /// Name of the outside login service; empty where the hub has a form of its own.
    pub login_service: String,
    /// Services in the menu.
    pub services: Vec<ServiceLink>,
    /// Scopes of the request as `parse_scopes` gives them: scope to filters. Serialises `true` for no filter.
    pub parsed_scopes: BTreeMap<String, serde_json::Value>,
    /// The same as plain strings with their filters.
    pub expanded_scopes: BTreeSet<String>,
    /// The XSRF token of this person's session, for forms.
    pub xsrf: String,
    /// The same, under the name that scripts use.
    pub xsrf_token: String,
    /// Value for `nonce` of the one inline script, where the content security policy asks for it.
    pub csp_nonce: Option<String>,
    /// Language of the page.
    #[serde(serialize_with = "tag")]
    pub lang: Language,
    /// Whether administrators may open other people's servers; goes into `window.jhdata`.
    pub admin_access: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn tag<S: Serializer>(language: &Language, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(language.tag())
}
