//! What every endpoint is for.

use serde_json::{Value, json};

use crate::endpoints::EndpointId;

/// What an endpoint is for.
pub(super) struct Description {
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) details: &'static str,
    pub(super) deprecated: bool,
}

const TAGS: [(&str, &str); 10] = [
    ("hub", "The hub itself."),
    ("users", "People."),
    ("servers", "Servers of people: start, stop, watch."),
    ("tokens", "API tokens."),
    ("sessions", "Logins of browsers."),
    ("groups", "Groups of people."),
    ("services", "Programs beside the hub."),
    ("shares", "Servers that people share with others."),
    ("proxy", "Routes."),
    ("authorization", "Who may do what; the OAuth provider."),
];

/// The tags of the document.
pub(super) fn tags() -> Value {
    TAGS.iter().map(|(name, description)| json!({"name": name, "description": description})).collect()
}

const WAITING: &str = "With `wait=ready` it answers when the server is ready, its start has failed or the time is up, \
    whatever comes first.";

/// What an endpoint is for.
pub(super) fn describe(id: EndpointId) -> Description {
    let (tag, summary, details) = texts(id);
    let deprecated = matches!(
        id,
        EndpointId::AdminAccess
            | EndpointId::TokenOwner
            | EndpointId::TokenEndpointGone
            | EndpointId::CookieOwner
    );
    Description { tag, summary, details, deprecated }
}

fn texts(id: EndpointId) -> (&'static str, &'static str, &'static str) {
    use EndpointId as Id;
    match id {
        Id::GetVersion => ("hub", "The version of JupyterHub whose API this is", ""),
        Id::Health => ("hub", "Whether the hub answers", "Does not ask the database."),
        Id::Metrics => ("hub", "Metrics for Prometheus", "Needs no credentials where the site says so."),
        Id::GetInfo => ("hub", "Details of the installation", ""),
        Id::Shutdown => ("hub", "End the hub", ""),
        Id::OpenApi => ("hub", "This description", ""),
        Id::Docs => ("hub", "This description as a page", ""),
        Id::GetProxy => ("proxy", "The routes of the proxy", ""),
        Id::CheckProxy => ("proxy", "Put the routes of the proxy right", ""),
        Id::MoveProxy => ("proxy", "Another proxy is in charge", ""),
        Id::WhoAmI => ("users", "The owner of the credential, and what it allows", ""),
        Id::ListUsers => (
            "users",
            "List users",
            "Users of whom the credentials show nothing are left out. Clients that accept \
             `application/jupyterhub-pagination+json` get pages, others a bare list.",
        ),
        Id::CreateUsers => ("users", "Create several users", "Those that exist are skipped."),
        Id::GetUser => ("users", "A user", "Fields that the credentials do not show are left out."),
        Id::CreateUser => ("users", "Create a user", ""),
        Id::EditUser => ("users", "Rename a user, make or unmake an administrator, set the login state", ""),
        Id::DeleteUser => ("users", "Delete a user with everything", "Stops the servers first."),
        Id::PostActivity => ("users", "Report that somebody was active", ""),
        Id::AdminAccess => ("users", "Whether administrators may use the servers of others", ""),
        Id::GetServer => ("servers", "A server", WAITING),
        Id::CreateServer => ("servers", "Create a named server without starting it", ""),
        Id::StartServer => (
            "servers",
            "Start a server",
            "A named server that does not exist is created. 201 when it is up, 202 when that takes longer. With \
             `wait=ready` it answers when the server is ready, its start has failed or the time is up.",
        ),
        Id::EditServer => ("servers", "Change a server that does not run", ""),
        Id::StopServer => ("servers", "Stop a server", "204 when it is down, 202 when that takes longer."),
        Id::Progress => (
            "servers",
            "Watch a start",
            "Server-sent events, each a JSON object with `progress` and `message`; the last has `ready` or `failed`.",
        ),
        Id::RestartServer => ("servers", "Stop a server, if it runs, and start it", WAITING),
        Id::Events => (
            "servers",
            "Watch all servers",
            "Server-sent events, one for each start, stop and failure of a server that the credentials show: `event` is \
             `start`, `stop` or `failure`, `data` a JSON object. An event `reset` tells that some may have been missed.",
        ),
        Id::StartServers => (
            "servers",
            "Start several servers",
            "Does not wait for them. The answer tells for each server what a call for it alone would have answered.",
        ),
        Id::StopServers => (
            "servers",
            "Stop several servers",
            "Does not wait for them. The answer tells for each server what a call for it alone would have answered.",
        ),
        Id::ListVolumes => ("servers", "The volumes of a user's servers", "Those of deleted servers, too."),
        Id::ListTokens => ("tokens", "The tokens of a user", "Without their secrets."),
        Id::CreateToken => ("tokens", "Create a token", "The secret is shown this once."),
        Id::GetToken => ("tokens", "A token", "Without its secret."),
        Id::DeleteToken => (
            "tokens",
            "Revoke a token",
            "A token of an OAuth client takes all tokens of this client and user with it.",
        ),
        Id::ListSessions => (
            "sessions",
            "The logins of the browsers of a user",
            "Of the caller where no user is named. Logins that were made with JupyterHub itself are not among them.",
        ),
        Id::EndSessions => (
            "sessions",
            "End all logins of a user",
            "Those that were made with JupyterHub itself, too. What servers and services got in these browsers ends, and \
             open websockets are closed; tokens for scripts and running servers stay.",
        ),
        Id::EndSession => (
            "sessions",
            "End the login of one browser",
            "What servers and services got in this browser ends, and its open websockets are closed.",
        ),
        Id::ListGroups => ("groups", "List groups", ""),
        Id::CreateGroups => ("groups", "Create several groups", ""),
        Id::GetGroup => ("groups", "A group", ""),
        Id::CreateGroup => ("groups", "Create a group", ""),
        Id::DeleteGroup => ("groups", "Delete a group", ""),
        Id::AddGroupUsers => ("groups", "Add members", ""),
        Id::RemoveGroupUsers => ("groups", "Take members out", ""),
        Id::SetGroupProperties => ("groups", "Replace the properties of a group", ""),
        Id::ListServices => ("services", "Services by name", ""),
        Id::GetService => ("services", "A service", ""),
        Id::CreateService => ("services", "Add an external service", ""),
        Id::DeleteService => ("services", "Remove a service that was added so", ""),
        Id::ListOwnerShares => ("shares", "Shares of all servers of a user", ""),
        Id::ListServerShares => ("shares", "Shares of a server", ""),
        Id::GrantShare => ("shares", "Share a server with a user or a group", ""),
        Id::RevokeShare => ("shares", "End a share, or parts of it", ""),
        Id::DeleteShares => ("shares", "End all shares of a server", ""),
        Id::ListOwnerShareCodes => ("shares", "Share codes for all servers of a user", ""),
        Id::ListServerShareCodes => ("shares", "Share codes for a server", ""),
        Id::CreateShareCode => ("shares", "Create a share code", "The code is shown this once."),
        Id::DeleteShareCodes => ("shares", "Delete one share code, or all of a server", ""),
        Id::ListUserShared => ("shares", "What is shared with a user", ""),
        Id::GetUserShared => ("shares", "One share that a user has got", ""),
        Id::LeaveUserShared => ("shares", "Give up a share that a user has got", ""),
        Id::ListGroupShared => ("shares", "What is shared with a group", ""),
        Id::GetGroupShared => ("shares", "One share that a group has got", ""),
        Id::LeaveGroupShared => ("shares", "Give up a share that a group has got", ""),
        Id::TokenOwner => ("authorization", "The owner of a token", ""),
        Id::TokenEndpointGone => ("authorization", "Removed in JupyterHub 2", ""),
        Id::CookieOwner => ("authorization", "The user that a login cookie belongs to", ""),
        Id::Authorize => ("authorization", "Begin an OAuth login", ""),
        Id::ConfirmAuthorize => ("authorization", "Consent to an OAuth login", ""),
        Id::ExchangeToken => ("authorization", "Exchange an OAuth code for a token", ""),
        Id::ExplainOwn => (
            "authorization",
            "Why the credential of this call allows what it allows",
            "Every effective scope with the roles, groups and shares that it comes from.",
        ),
        Id::ExplainToken => (
            "authorization",
            "Why a token allows what it allows",
            "Every effective scope with the roles, groups and shares that it comes from, and what the token asks for in \
             vain.",
        ),
    }
}
