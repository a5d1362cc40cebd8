//! Why a credential allows what it allows. Not in JupyterHub.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kind;

/// The answer of `GET /authorizations/scopes` and of `GET /users/{user}/tokens/{token}/scopes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// Whether the owner is a user or a service.
    pub kind: Kind,
    /// The owner.
    pub name: String,
    /// The token; null for a browser session, which may do all that its user may.
    pub token: Option<TokenAsked>,
    /// From where the owner holds scopes.
    pub sources: Vec<Source>,
    /// All that the credential allows at this moment, with its reasons, sorted.
    pub scopes: Vec<Reasons>,
    /// What the token asks for and its owner does not hold (any more), expanded and sorted.
    pub withheld: Vec<String>,
    /// The answer to the question in the query; null if there was none.
    pub decision: Option<ScopeDecision>,
}

/// A token and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenAsked {
    /// `a` and the number in the database.
    pub id: String,
    /// What it is for.
    pub note: Option<String>,
    /// Identifier of the OAuth client that issued it.
    pub oauth_client: Option<String>,
    /// As written on the token.
    pub scopes: Vec<String>,
}

/// What kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A role of the owner.
    Role,
    /// A role of a group that the owner is in.
    GroupRole,
    /// Servers that others share with the owner.
    Shares,
    /// What every credential tells: who its owner is, and for OAuth tokens the right to use the client's server or
    /// service.
    Credential,
}

/// One source of scopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// What kind.
    pub kind: SourceKind,
    /// Name of the role; empty for shares and for the credential itself.
    pub role: String,
    /// Name of the group, for a role that comes through one.
    pub group: Option<String>,
    /// As written there.
    pub scopes: Vec<String>,
}

/// One effective scope and why it is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reasons {
    /// The scope, with its filter.
    pub scope: String,
    /// All ways to it.
    pub because: Vec<Reason>,
}

/// One way from a source to an effective scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// Place in [`Explanation::sources`], from 0.
    pub source: usize,
    /// From what is written there, through what that includes, to the scope: `["self", "servers", "read:servers"]`.
    pub path: Vec<String>,
}

/// Whether a scope allows something on a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScopeDecision {
    /// The scope asked about, without a filter.
    pub scope: String,
    /// On what: `user=ada`, `server=ada/lab`, `group=maths`, `service=watch`; empty for everything.
    pub on: String,
    /// Whether it is allowed.
    pub allowed: bool,
    /// What a call that needs it answers: 200, 403 if the scope is not held at all, 404 if it is held for other things.
    pub status: u16,
}
