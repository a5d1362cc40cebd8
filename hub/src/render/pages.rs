//! The pages, each with the variables that its template knows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use super::date::Date;
use super::user::{SpawnerView, UserView};

/// A page: its variables, and the templates that show it, the first that exists counts.
pub trait Page: Serialize {
    /// Names of templates.
    fn templates(&self) -> Vec<String>;
}

macro_rules! page {
    ($type:ident, $template:literal) => {
        impl Page for $type {
            fn templates(&self) -> Vec<String> {
                vec![$template.to_owned()]
            }
        }
    };
}

/// What templates may ask of the authenticator.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AuthenticatorView {
    /// Whether the login form asks for a one-time password.
    pub request_otp: bool,
    /// Label of that field.
    pub otp_prompt: String,
}

/// `login.html`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LoginPage {
    /// Markup of the authenticator in place of the form; trusted.
    pub custom_html: String,
    /// Name of the outside login service; a button instead of the form.
    pub login_service: String,
    /// The authenticator.
    pub authenticator: AuthenticatorView,
    /// Where the form is sent or the button leads, with `next`.
    pub authenticator_login_url: String,
    /// Where to go afterwards, validated.
    pub next: String,
    /// Name to begin with.
    pub username: String,
    /// Why the last attempt failed; empty for the first.
    pub login_error: String,
}
page!(LoginPage, "login.html");

/// One workspace of a person.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WorkspaceView {
    /// Name shown to people.
    pub display_name: String,
    /// Why the person cannot start its server; empty for who can.
    pub reason: String,
}

/// The workspaces of a person.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WorkspaceList {
    /// All of them, by the name of their server.
    pub known: BTreeMap<String, WorkspaceView>,
    /// Servers of those that were never started.
    pub never_started: Vec<SpawnerView>,
    /// Why they cannot be told; empty when they can.
    pub problem: String,
}

/// `home.html`, the control panel. Servers come from the `user` of the common variables.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HomePage {
    /// Where the start button leads: the server when it runs, else its start.
    pub url: String,
    /// Where named servers are workspaces: those of the person.
    pub workspaces: Option<WorkspaceList>,
    /// The default server.
    pub default_server: SpawnerView,
    /// Whether there may be others.
    pub allow_named_servers: bool,
    /// How many of them; 0 for any number.
    pub named_server_limit_per_user: i64,
    /// The named servers that are active.
    pub spawners: Vec<SpawnerView>,
    /// Servers whose names are no longer allowed.
    pub invalid_server_names: Vec<String>,
    /// What the authenticator keeps, for site templates; only where `enable_auth_state` is set.
    pub auth_state: Option<serde_json::Value>,
}
page!(HomePage, "home.html");

/// `spawn.html`, the options form.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SpawnPage {
    /// Whose server; the same as `user` but for administrators.
    pub for_user: UserView,
    /// The form's body; trusted markup of the spawner.
    pub spawner_options_form: String,
    /// Why the last attempt failed.
    pub error_message: String,
    /// The same as trusted markup; shown instead where it is set.
    pub html_error_message: String,
    /// Where the form is sent, with `_xsrf` and `next`.
    pub url: String,
    /// The server.
    pub spawner: SpawnerView,
    /// See [`HomePage::auth_state`].
    pub auth_state: Option<serde_json::Value>,
}
page!(SpawnPage, "spawn.html");

/// One of the profiles that a person may choose from.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProfileView {
    /// Value of the field `profile`.
    pub slug: String,
    /// Name.
    pub display_name: String,
    /// A sentence about it; trusted markup of the configuration.
    pub description: String,
    /// Whether it is chosen unless the person chooses another.
    pub selected: bool,
}

/// `profiles.html`, not a page but the body of the options form where the hub has profiles.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProfilesForm {
    /// The profiles, by name.
    pub profiles: Vec<ProfileView>,
}
page!(ProfilesForm, "profiles.html");

/// `spawn_pending.html`, shown while a server starts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SpawnPendingPage {
    /// The server.
    pub spawner: SpawnerView,
    /// Where its events come from; the browser adds `_xsrf`.
    pub progress_url: String,
    /// Where a new attempt begins, for starts that fail before the person's eyes.
    pub spawn_url: String,
    /// See [`HomePage::auth_state`].
    pub auth_state: Option<serde_json::Value>,
}
page!(SpawnPendingPage, "spawn_pending.html");

/// `stop_pending.html`, shown while a server stops.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StopPendingPage {
    /// The server.
    pub spawner: SpawnerView,
    /// Whether it starts again when it has stopped.
    pub restarting: bool,
    /// See [`HomePage::auth_state`].
    pub auth_state: Option<serde_json::Value>,
}
page!(StopPendingPage, "stop_pending.html");

/// `not_running.html`: nothing there, or a start that failed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NotRunningPage {
    /// Whose server it is, in place of the person who looks at the page (stock does so too).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserView>,
    /// Name of the server; empty for the default one.
    pub server_name: String,
    /// Where the start button leads.
    pub spawn_url: String,
    /// Whether the last start failed.
    pub failed: bool,
    /// Why, for the person.
    pub failed_message: String,
    /// The same as trusted markup; shown instead where it is set.
    pub failed_html_message: String,
    /// Whether trying again may help, where that is known.
    pub retry: Option<bool>,
    /// Last lines of the server that failed.
    pub log_tail: Vec<String>,
    /// The failure in one line, for site templates.
    pub exception: Option<String>,
    /// Seconds until the server is started without a click; 0 for never.
    #[serde(serialize_with = "whole_seconds")]
    pub implicit_spawn_seconds: f64,
    /// See [`HomePage::auth_state`].
    pub auth_state: Option<serde_json::Value>,
}
page!(NotRunningPage, "not_running.html");

/// Whole numbers without a fraction, so that texts read well.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn whole_seconds<S: Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number within range")]
    if seconds.fract() == 0.0 && seconds.abs() < 1e9 {
        return serializer.serialize_i64(*seconds as i64);
    }
    serializer.serialize_f64(*seconds)
}

/// One API token on the token page.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TokenRow {
    /// `a<number>`, as the API calls it.
    pub api_id: String,
    /// What it is for.
    pub note: String,
    /// Scopes as stored.
    pub scopes: Vec<String>,
    /// Made when.
    pub created: Option<Date>,
    /// Last used.
    pub last_activity: Option<Date>,
    /// Of no use from then on.
    pub expires_at: Option<Date>,
}

/// One application that was authorized by OAuth, with its tokens taken together.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TokenClientRow {
    /// `api_id` of any of its tokens: revoking one revokes all.
    pub token_id: String,
    /// Name of the application.
    pub description: String,
    /// Tokens.
    pub tokens: Vec<TokenRow>,
    /// First authorized.
    pub created: Option<Date>,
    /// Last used.
    pub last_activity: Option<Date>,
}

/// One login of a browser.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionRow {
    /// `s<number>`, as the API calls it.
    pub id: String,
    /// The browser by its usual name; empty where it is not known.
    pub browser: String,
    /// The system that it runs on; empty where it is not known.
    pub system: String,
    /// From where the person logged in; empty where that is not known.
    pub address: String,
    /// What the browser said that it is.
    pub agent: String,
    /// Logged in when.
    pub created: Option<Date>,
    /// Last seen.
    pub last_activity: Option<Date>,
    /// Of no use from then on.
    pub expires_at: Option<Date>,
    /// Whether it is the browser in which the page is shown.
    pub current: bool,
}

/// `sessions.html`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionsPage {
    /// Whose logins.
    pub owner: String,
    /// Whether they are those of whoever looks.
    pub own: bool,
    /// Whether whoever looks may end them.
    pub may_end: bool,
    /// Whether the login of the browser itself is not in the list.
    pub unlisted: bool,
    /// The browser itself first, then the one seen last.
    pub sessions: Vec<SessionRow>,
}
page!(SessionsPage, "sessions.html");

/// `token.html`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TokenPage {
    /// Plain API tokens, newest activity first.
    pub api_tokens: Vec<TokenRow>,
    /// Applications.
    pub oauth_clients: Vec<TokenClientRow>,
    /// `<option>` elements, see [`super::expiry_options_html`].
    pub token_expires_in_options_html: String,
    /// Longest life of a token in seconds, where there is a limit.
    pub token_expires_in_max_seconds: Option<u64>,
    /// See [`HomePage::auth_state`].
    pub auth_state: Option<serde_json::Value>,
}
page!(TokenPage, "token.html");

/// `admin.html`. The page's scripts load everything else over the REST API.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AdminPage {
    /// The person who looks, for site templates; the same as `user`.
    pub current_user: UserView,
    /// Always true, as stock has it: site templates test it.
    pub admin_access: bool,
    /// Whether there may be servers beside the default ones.
    pub allow_named_servers: bool,
    /// How many of them; 0 for any number.
    pub named_server_limit_per_user: i64,
    /// Versions, for the footer.
    pub server_version: String,
    /// Rows of a page of a list where the address does not say otherwise.
    pub api_page_limit: u32,
    /// See [`HomePage::auth_state`].
    pub auth_state: Option<serde_json::Value>,
}
page!(AdminPage, "admin.html");

/// What a scope allows, in words.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ScopeDescription {
    /// Name, without filter; empty for the mere name of the person.
    pub scope: String,
    /// What it allows.
    pub description: String,
    /// To whom or what it is limited; empty for no limit.
    pub filter: String,
}

/// An application that asks for access.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OAuthClientView {
    /// Name.
    pub description: String,
    /// Where the person is sent afterwards.
    pub redirect_uri: String,
}

/// `oauth.html`, the confirmation.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OAuthPage {
    /// What is granted.
    pub allowed_scopes: BTreeSet<String>,
    /// The same in words.
    pub scope_descriptions: Vec<ScopeDescription>,
    /// Who asks.
    pub oauth_client: OAuthClientView,
    /// See [`HomePage::auth_state`].
    pub auth_state: Option<serde_json::Value>,
}
page!(OAuthPage, "oauth.html");

/// Who shares a server.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OwnerView {
    /// Name.
    pub name: String,
}

/// `accept-share.html`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AcceptSharePage {
    /// The code of the invitation.
    pub code: String,
    /// Who shares.
    pub owner: OwnerView,
    /// The server.
    pub spawner: SpawnerView,
    /// Whether it runs.
    pub spawner_ready: bool,
    /// Its address.
    pub spawner_url: String,
    /// What is shared.
    pub scope_descriptions: Vec<ScopeDescription>,
    /// Where to go after accepting, validated.
    pub next_url: String,
}
page!(AcceptSharePage, "accept-share.html");

/// The application at which people log in.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WayInView {
    /// Its name.
    pub service: String,
    /// Its address; empty when it is not known.
    pub url: String,
}

/// `{status}.html` where it exists, else `error.html`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ErrorPage {
    /// Status code.
    pub status_code: u16,
    /// Its usual name.
    pub status_message: String,
    /// What the person may read.
    pub message: String,
    /// The same as trusted markup; shown instead where it is set.
    pub message_html: String,
    /// Trusted markup below the message.
    pub extra_error_html: String,
    /// The cause in one line, for site templates; never secrets.
    pub exception: Option<String>,
    /// Where to log in first.
    pub way_in: Option<WayInView>,
    /// Id of the request, to be found in the log.
    pub request_id: Option<String>,
    /// Set when the person's servers could not be loaded; pages then do without them.
    pub no_spawner_check: bool,
}

impl Page for ErrorPage {
    fn templates(&self) -> Vec<String> {
        vec![format!("{}.html", self.status_code), "error.html".to_owned()]
    }
}

/// `logout.html`, shown where logging in happens by itself.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LogoutPage {}
page!(LogoutPage, "logout.html");
