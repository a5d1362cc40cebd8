//! The table `[authenticator.oidc]`. Names are those of `GenericOAuthenticator` where it has the same setting.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hub_core::plugin::{DurationText, SecretText};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::exchange::TokenExchange;

/// How the hub proves to the provider that it is the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Secret in an `Authorization: Basic` header.
    ClientSecretBasic,
    /// Secret in the form.
    ClientSecretPost,
    /// A signed statement instead of a secret (RFC 7523).
    PrivateKeyJwt,
    /// A public client: PKCE alone.
    None,
}

/// Where the access token goes when user data are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenPlace {
    /// `Authorization: Bearer`.
    #[default]
    Header,
    /// Query argument `access_token`, for services that know no other way.
    Url,
}

/// A claim, and the values of which it must have one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRule {
    /// Path of the claim, see [`crate::claims`].
    pub claim: String,
    /// Values: texts are compared as they are; numbers and truth values by their JSON text.
    pub values: Vec<String>,
}

/// Settings of a login by OpenID Connect, or by OAuth 2 where `authorize_url`, `token_url` and `userdata_url` stand
/// in place of `issuer`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OidcOptions {
    /// The provider; its `/.well-known/openid-configuration` tells all addresses.
    pub issuer: String,
    /// Name of this hub at the provider.
    pub client_id: String,
    /// Secret for `client_secret_basic` and `client_secret_post`.
    #[schemars(with = "Option<SecretText>")]
    pub client_secret: Option<SecretString>,
    /// How the hub proves itself. When left out: `private_key_jwt` with a private key, else what the provider
    /// prefers among the two ways to send a secret, else `none`.
    pub client_auth: Option<ClientAuth>,
    /// File with the private key (PEM) for `private_key_jwt`.
    pub private_key_file: Option<PathBuf>,
    /// Algorithm of that key: `RS256`, `PS256`, `ES256`, `ES384`, `EdDSA`, …
    pub private_key_alg: String,
    /// `kid` of that key, when the provider wants one.
    pub private_key_id: Option<String>,

    /// Where the browser is sent; overrides the provider's word.
    pub authorize_url: Option<String>,
    /// Where codes become tokens; overrides the provider's word.
    pub token_url: Option<String>,
    /// Who the person is; overrides the provider's word.
    pub userdata_url: Option<String>,
    /// Keys of the provider; overrides its word.
    pub jwks_url: Option<String>,
    /// Where browsers log out; overrides the provider's word.
    pub end_session_url: Option<String>,
    /// Further query arguments of `userdata_url`.
    pub userdata_params: BTreeMap<String, String>,
    /// Where the access token goes when user data are asked for.
    pub userdata_token_method: TokenPlace,
    /// Takes user data from the id_token alone.
    pub userdata_from_id_token: bool,

    /// Scopes that are asked for. Empty: `openid profile email` with an issuer, none without.
    pub scope: Vec<String>,
    /// Further query arguments of `authorize_url`, such as `kc_idp_hint` or `prompt`.
    pub extra_authorize_params: BTreeMap<String, String>,
    /// Further fields of the request to `token_url` that makes tokens of a code; renewals and exchanges have none of
    /// them.
    pub token_params: BTreeMap<String, String>,
    /// Sends a PKCE challenge. Off only for providers that refuse it.
    pub enable_pkce: bool,
    /// Algorithms that signatures may have; `none` and the `HS` family are never taken.
    pub signing_algs: Vec<String>,
    /// How far the clocks of hub and provider may be apart.
    #[serde(with = "DurationText")]
    pub clock_skew: Duration,

    /// Claims that name the person, the first that is there: `preferred_username|sub`.
    pub username_claim: String,
    /// Takes `@DOMAIN` of this domain off names.
    pub strip_domain: Option<String>,
    /// Takes a name from an e-mail address that the provider has not verified.
    pub allow_unverified_email: bool,
    /// Whether a name stays with the account that had it first, as far as the hub has kept that
    /// (`enable_auth_state`).
    pub pin_subject: bool,
    /// Variables of servers that are made of the person's tokens: `{access_token}`, `{id_token}`, `{expires_at}`
    /// (Unix time of the access token's end), `{exchanged.NAME}`. Other braces are literal. Needs
    /// `authenticator.enable_auth_state`.
    pub server_environment: BTreeMap<String, String>,
    /// Services that take tokens of their own, by a name for them: `{exchanged.NAME}` in `server_environment` is the
    /// token that the provider gives for the service in exchange for the person's (RFC 8693).
    pub token_exchange: BTreeMap<String, TokenExchange>,
    /// Claim with the name to show; empty shows none.
    pub display_name_claim: String,

    /// Claim with groups.
    pub groups_claim: String,
    /// The same as a path in auth_state (`oauth_user.groups`), as stock has it; wins over `groups_claim`.
    pub auth_state_groups_key: Option<String>,
    /// Claim with the names of roles of this hub; needs `authenticator.manage_roles`. Empty: none.
    pub roles_claim: String,
    /// Groups whose members are administrators; all others are not.
    pub admin_groups: Vec<String>,
    /// Claims that make administrators; all others are not.
    pub admin_claims: Vec<ClaimRule>,

    /// Groups whose members get in.
    pub allowed_groups: Vec<String>,
    /// Groups whose members do not, whatever else is said.
    pub blocked_groups: Vec<String>,
    /// Claims that let in, any of them.
    pub allowed_claims: Vec<ClaimRule>,
    /// Claims without which nobody gets in, all of them (`hd` of Google, an identity provider's id).
    pub required_claims: Vec<ClaimRule>,
    /// Domains of verified e-mail addresses that let in.
    pub allowed_email_domains: Vec<String>,
    /// Lets in who was granted all these scopes.
    pub allowed_scopes: Vec<String>,

    /// Address to which the provider sends back, as registered there. When left out: `hub.public_url` or the address
    /// of the request, with `/hub/oauth_callback`.
    pub oauth_callback_url: Option<String>,
    /// Text for the login button; `authenticator.login_service` wins.
    pub login_service: String,
    /// What people read who are known but not allowed in.
    pub custom_403_message: String,

    /// Where the browser goes after logout, as it is; without it the provider is asked to log out too.
    pub logout_redirect_url: Option<String>,
    /// Whether logging out of the hub logs out of the provider.
    pub single_logout: bool,
    /// Where the provider sends the browser after that. When left out: the hub's logout page.
    pub post_logout_redirect_url: Option<String>,
    /// Whether the provider may end logins by `POST /hub/backchannel_logout`. Needs `enable_auth_state`.
    pub back_channel_logout: bool,
    /// Whether that ends API tokens too that people made for themselves.
    pub back_channel_ends_all_tokens: bool,
    /// Whether that stops servers.
    pub back_channel_stops_servers: bool,

    /// How long before their end access tokens are renewed; a quarter of their life at most.
    #[serde(with = "DurationText")]
    pub renew_before: Duration,
    /// How long people who are in stay in while the provider cannot be reached.
    #[serde(with = "DurationText")]
    pub outage_grace: Duration,

    /// Longest wait for one answer of the provider.
    #[serde(with = "DurationText")]
    pub http_timeout: Duration,
    /// Certificates (PEM) to trust beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// Checks the provider's certificate. Off only for trying things out.
    pub validate_server_cert: bool,
    /// Takes `http:` addresses that are not on this machine.
    pub allow_insecure_http: bool,
}

impl Default for OidcOptions {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: None,
            client_auth: None,
            private_key_file: None,
            private_key_alg: "RS256".to_owned(),
            private_key_id: None,
            authorize_url: None,
            token_url: None,
            userdata_url: None,
            jwks_url: None,
            end_session_url: None,
            userdata_params: BTreeMap::new(),
            userdata_token_method: TokenPlace::Header,
            userdata_from_id_token: false,
            scope: Vec::new(),
            extra_authorize_params: BTreeMap::new(),
            token_params: BTreeMap::new(),
            enable_pkce: true,
            signing_algs: ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
                .map(str::to_owned)
                .to_vec(),
            clock_skew: Duration::from_secs(30),
            username_claim: "preferred_username|sub".to_owned(),
            strip_domain: None,
            allow_unverified_email: false,
            pin_subject: true,
            server_environment: BTreeMap::new(),
            token_exchange: BTreeMap::new(),
            display_name_claim: "name".to_owned(),
            groups_claim: "groups".to_owned(),
            auth_state_groups_key: None,
            roles_claim: String::new(),
            admin_groups: Vec::new(),
            admin_claims: Vec::new(),
            allowed_groups: Vec::new(),
            blocked_groups: Vec::new(),
            allowed_claims: Vec::new(),
            required_claims: Vec::new(),
            allowed_email_domains: Vec::new(),
            allowed_scopes: Vec::new(),
            oauth_callback_url: None,
            login_service: "OpenID Connect".to_owned(),
            custom_403_message: "Your account is known, but it may not use this hub. Ask those who run it."
                .to_owned(),
            logout_redirect_url: None,
            single_logout: true,
            post_logout_redirect_url: None,
            back_channel_logout: false,
            back_channel_ends_all_tokens: false,
            back_channel_stops_servers: false,
            renew_before: Duration::from_mins(1),
            outage_grace: Duration::from_hours(12),
            http_timeout: Duration::from_secs(10),
            ca_file: None,
            validate_server_cert: true,
            allow_insecure_http: false,
        }
    }
}

impl OidcOptions {
    /// Whether the provider speaks OpenID Connect, so that there are id_tokens.
    pub fn is_oidc(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// The scopes to ask for.
    pub fn scopes(&self) -> Vec<String> {
        if self.scope.is_empty() && self.is_oidc() {
            return ["openid", "profile", "email"].map(str::to_owned).to_vec();
        }
        self.scope.clone()
    }
}
