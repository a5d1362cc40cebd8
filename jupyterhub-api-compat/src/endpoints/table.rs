//! The table.

use super::{Auth, Endpoint, Method, Target, Xsrf};

/// A handler of the REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointId {
    /// Version of the API.
    GetVersion,
    /// The hub answers.
    Health,
    /// Prometheus text.
    Metrics,
    /// Details of the installation.
    GetInfo,
    /// Shut down.
    Shutdown,
    /// The proxy's routes.
    GetProxy,
    /// Put the proxy's routes right.
    CheckProxy,
    /// Another proxy is in charge.
    MoveProxy,
    /// Owner and scopes of the credential.
    WhoAmI,
    /// Users.
    ListUsers,
    /// Several new users.
    CreateUsers,
    /// A user.
    GetUser,
    /// A new user.
    CreateUser,
    /// Rename, make administrator, set login state.
    EditUser,
    /// Delete with everything.
    DeleteUser,
    /// Report activity.
    PostActivity,
    /// Deprecated; only checks.
    AdminAccess,
    /// A server.
    GetServer,
    /// A new named server, not started.
    CreateServer,
    /// Start, and create if needed.
    StartServer,
    /// Rename, change options.
    EditServer,
    /// Stop, and delete if asked to.
    StopServer,
    /// Events of a start.
    Progress,
    /// Stop and start with the same options.
    RestartServer,
    /// Tokens of a user.
    ListTokens,
    /// A new token.
    CreateToken,
    /// A token.
    GetToken,
    /// Revoke a token.
    DeleteToken,
    /// Shares that a user has got.
    ListUserShared,
    /// One of them.
    GetUserShared,
    /// Give one of them up.
    LeaveUserShared,
    /// Groups.
    ListGroups,
    /// Several new groups.
    CreateGroups,
    /// A group.
    GetGroup,
    /// A new group.
    CreateGroup,
    /// Delete.
    DeleteGroup,
    /// Add members.
    AddGroupUsers,
    /// Take members out.
    RemoveGroupUsers,
    /// Replace the properties.
    SetGroupProperties,
    /// Shares that a group has got.
    ListGroupShared,
    /// One of them.
    GetGroupShared,
    /// Give one of them up.
    LeaveGroupShared,
    /// Services.
    ListServices,
    /// A service.
    GetService,
    /// A new external service.
    CreateService,
    /// Delete such a service.
    DeleteService,
    /// Shares of all servers of a user. Stock looks for a filter on a server called `None`, which only
    /// scopes unfiltered or filtered by user or group can satisfy: the same as asking for the user.
    ListOwnerShares,
    /// Shares of a server.
    ListServerShares,
    /// Share a server.
    GrantShare,
    /// End a share, or parts of it.
    RevokeShare,
    /// End all shares of a server.
    DeleteShares,
    /// Share codes for all servers of a user.
    ListOwnerShareCodes,
    /// Share codes for a server.
    ListServerShareCodes,
    /// A new share code.
    CreateShareCode,
    /// Delete one or all of a server.
    DeleteShareCodes,
    /// Deprecated: owner of a token.
    TokenOwner,
    /// Was removed in version 2: always 404, GET without a token in the path included.
    TokenEndpointGone,
    /// Deprecated: owner of a cookie, in the path or in the body.
    CookieOwner,
    /// Begin of an OAuth login, with a page that asks for consent.
    Authorize,
    /// The consent.
    ConfirmAuthorize,
    /// A code for a token.
    ExchangeToken,
    /// The description of the REST API.
    OpenApi,
    /// The same as a page.
    Docs,
    /// What happens to servers, as it happens.
    Events,
    /// Start several servers.
    StartServers,
    /// Stop several servers.
    StopServers,
    /// Logins of the browsers of a user.
    ListSessions,
    /// End all of them.
    EndSessions,
    /// End one of them.
    EndSession,
    /// Volumes of a user's servers.
    ListVolumes,
    /// Why the caller's credential allows what it allows.
    ExplainOwn,
    /// Why a token allows what it allows.
    ExplainToken,
}

const fn scoped(
    id: EndpointId,
    method: Method,
    path: &'static str,
    scopes: &'static [&'static str],
    on: Target,
) -> Endpoint {
    Endpoint { id, method, path, auth: Auth::Scopes, scopes, on, xsrf: Xsrf::Api, extension: false }
}

const fn extension(
    id: EndpointId,
    method: Method,
    path: &'static str,
    scopes: &'static [&'static str],
    on: Target,
) -> Endpoint {
    Endpoint { id, method, path, auth: Auth::Scopes, scopes, on, xsrf: Xsrf::Api, extension: true }
}

/// All endpoints.
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        id: EndpointId::GetVersion,
        method: Method::Get,
        path: "",
        auth: Auth::Nobody,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Exempt,
        extension: false,
    },
    Endpoint {
        id: EndpointId::GetVersion,
        method: Method::Get,
        path: "/",
        auth: Auth::Nobody,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Exempt,
        extension: false,
    },
    Endpoint {
        id: EndpointId::Health,
        method: Method::Get,
        path: "/health",
        auth: Auth::Nobody,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Page,
        extension: false,
    },
    Endpoint {
        id: EndpointId::Health,
        method: Method::Head,
        path: "/health",
        auth: Auth::Nobody,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Page,
        extension: false,
    },
    Endpoint {
        id: EndpointId::Metrics,
        method: Method::Get,
        path: "/metrics",
        auth: Auth::Metrics,
        scopes: &["read:metrics"],
        on: Target::None,
        xsrf: Xsrf::Page,
        extension: false,
    },
    scoped(EndpointId::GetInfo, Method::Get, "/info", &["read:hub"], Target::None),
    scoped(EndpointId::Shutdown, Method::Post, "/shutdown", &["shutdown"], Target::None),
    scoped(EndpointId::GetProxy, Method::Get, "/proxy", &["proxy"], Target::None),
    scoped(EndpointId::CheckProxy, Method::Post, "/proxy", &["proxy"], Target::None),
    scoped(EndpointId::MoveProxy, Method::Patch, "/proxy", &["proxy"], Target::None),
    Endpoint {
        id: EndpointId::WhoAmI,
        method: Method::Get,
        path: "/user",
        auth: Auth::Anybody,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Api,
        extension: false,
    },
    scoped(EndpointId::ListUsers, Method::Get, "/users", &["list:users"], Target::List),
    scoped(EndpointId::CreateUsers, Method::Post, "/users", &["admin:users"], Target::None),
    scoped(
        EndpointId::GetUser,
        Method::Get,
        "/users/{user}",
        &[
            "read:users",
            "read:users:name",
            "read:servers",
            "read:users:groups",
            "read:users:activity",
            "read:roles:users",
        ],
        Target::User,
    ),
    scoped(EndpointId::CreateUser, Method::Post, "/users/{user}", &["admin:users"], Target::User),
    scoped(EndpointId::EditUser, Method::Patch, "/users/{user}", &["admin:users"], Target::User),
    scoped(EndpointId::DeleteUser, Method::Delete, "/users/{user}", &["delete:users"], Target::User),
    scoped(
        EndpointId::PostActivity,
        Method::Post,
        "/users/{user}/activity",
        &["users:activity"],
        Target::User,
    ),
    scoped(EndpointId::AdminAccess, Method::Post, "/users/{user}/admin-access", &["servers"], Target::User),
    scoped(EndpointId::GetServer, Method::Get, "/users/{user}/server", &["read:servers"], Target::Server),
    scoped(EndpointId::CreateServer, Method::Put, "/users/{user}/server", &["start:servers"], Target::Server),
    scoped(EndpointId::StartServer, Method::Post, "/users/{user}/server", &["start:servers"], Target::Server),
    scoped(EndpointId::EditServer, Method::Patch, "/users/{user}/server", &["start:servers"], Target::Server),
    scoped(
        EndpointId::StopServer,
        Method::Delete,
        "/users/{user}/server",
        &["delete:servers"],
        Target::Server,
    ),
    scoped(
        EndpointId::Progress,
        Method::Get,
        "/users/{user}/server/progress",
        &["read:servers"],
        Target::Server,
    ),
    extension(
        EndpointId::RestartServer,
        Method::Post,
        "/users/{user}/server/restart",
        &["servers"],
        Target::Server,
    ),
    scoped(
        EndpointId::GetServer,
        Method::Get,
        "/users/{user}/servers/{server}",
        &["read:servers"],
        Target::Server,
    ),
    scoped(
        EndpointId::CreateServer,
        Method::Put,
        "/users/{user}/servers/{server}",
        &["start:servers"],
        Target::Server,
    ),
    scoped(
        EndpointId::StartServer,
        Method::Post,
        "/users/{user}/servers/{server}",
        &["start:servers"],
        Target::Server,
    ),
    scoped(
        EndpointId::EditServer,
        Method::Patch,
        "/users/{user}/servers/{server}",
        &["start:servers"],
        Target::Server,
    ),
    scoped(
        EndpointId::StopServer,
        Method::Delete,
        "/users/{user}/servers/{server}",
        &["delete:servers"],
        Target::Server,
    ),
    scoped(
        EndpointId::Progress,
        Method::Get,
        "/users/{user}/servers/{server}/progress",
        &["read:servers"],
        Target::Server,
    ),
    extension(
        EndpointId::RestartServer,
        Method::Post,
        "/users/{user}/servers/{server}/restart",
        &["servers"],
        Target::Server,
    ),
    scoped(EndpointId::ListTokens, Method::Get, "/users/{user}/tokens", &["read:tokens"], Target::User),
    Endpoint {
        id: EndpointId::CreateToken,
        method: Method::Post,
        path: "/users/{user}/tokens",
        auth: Auth::ScopesOrBody,
        scopes: &["tokens"],
        on: Target::User,
        xsrf: Xsrf::Deferred,
        extension: false,
    },
    scoped(EndpointId::GetToken, Method::Get, "/users/{user}/tokens/{token}", &["read:tokens"], Target::User),
    scoped(
        EndpointId::DeleteToken,
        Method::Delete,
        "/users/{user}/tokens/{token}",
        &["tokens"],
        Target::User,
    ),
    scoped(
        EndpointId::ListUserShared,
        Method::Get,
        "/users/{user}/shared",
        &["read:users:shares"],
        Target::User,
    ),
    scoped(
        EndpointId::GetUserShared,
        Method::Get,
        "/users/{user}/shared/{owner}/{shared_server}",
        &["read:users:shares"],
        Target::User,
    ),
    scoped(
        EndpointId::LeaveUserShared,
        Method::Delete,
        "/users/{user}/shared/{owner}/{shared_server}",
        &["users:shares"],
        Target::User,
    ),
    scoped(EndpointId::ListGroups, Method::Get, "/groups", &["list:groups"], Target::List),
    scoped(EndpointId::CreateGroups, Method::Post, "/groups", &["admin:groups"], Target::None),
    scoped(
        EndpointId::GetGroup,
        Method::Get,
        "/groups/{group}",
        &["read:groups", "read:groups:name", "read:roles:groups"],
        Target::Group,
    ),
    scoped(EndpointId::CreateGroup, Method::Post, "/groups/{group}", &["admin:groups"], Target::Group),
    scoped(EndpointId::DeleteGroup, Method::Delete, "/groups/{group}", &["delete:groups"], Target::Group),
    scoped(EndpointId::AddGroupUsers, Method::Post, "/groups/{group}/users", &["groups"], Target::Group),
    scoped(EndpointId::RemoveGroupUsers, Method::Delete, "/groups/{group}/users", &["groups"], Target::Group),
    scoped(
        EndpointId::SetGroupProperties,
        Method::Put,
        "/groups/{group}/properties",
        &["groups"],
        Target::Group,
    ),
    scoped(
        EndpointId::ListGroupShared,
        Method::Get,
        "/groups/{group}/shared",
        &["read:groups:shares"],
        Target::Group,
    ),
    scoped(
        EndpointId::GetGroupShared,
        Method::Get,
        "/groups/{group}/shared/{owner}/{shared_server}",
        &["read:groups:shares"],
        Target::Group,
    ),
    scoped(
        EndpointId::LeaveGroupShared,
        Method::Delete,
        "/groups/{group}/shared/{owner}/{shared_server}",
        &["groups:shares"],
        Target::Group,
    ),
    scoped(EndpointId::ListServices, Method::Get, "/services", &["list:services"], Target::List),
    scoped(
        EndpointId::GetService,
        Method::Get,
        "/services/{service}",
        &["read:services", "read:services:name", "read:roles:services"],
        Target::Service,
    ),
    scoped(
        EndpointId::CreateService,
        Method::Post,
        "/services/{service}",
        &["admin:services"],
        Target::Service,
    ),
    scoped(
        EndpointId::DeleteService,
        Method::Delete,
        "/services/{service}",
        &["admin:services"],
        Target::Service,
    ),
    scoped(EndpointId::ListOwnerShares, Method::Get, "/shares/{user}", &["read:shares"], Target::User),
    scoped(
        EndpointId::ListServerShares,
        Method::Get,
        "/shares/{user}/{server}",
        &["read:shares"],
        Target::Server,
    ),
    scoped(EndpointId::GrantShare, Method::Post, "/shares/{user}/{server}", &["shares"], Target::Server),
    scoped(EndpointId::RevokeShare, Method::Patch, "/shares/{user}/{server}", &["shares"], Target::Server),
    scoped(EndpointId::DeleteShares, Method::Delete, "/shares/{user}/{server}", &["shares"], Target::Server),
    scoped(
        EndpointId::ListOwnerShareCodes,
        Method::Get,
        "/share-codes/{user}",
        &["read:shares"],
        Target::User,
    ),
    scoped(
        EndpointId::ListServerShareCodes,
        Method::Get,
        "/share-codes/{user}/{server}",
        &["read:shares"],
        Target::Server,
    ),
    scoped(
        EndpointId::CreateShareCode,
        Method::Post,
        "/share-codes/{user}/{server}",
        &["shares"],
        Target::Server,
    ),
    scoped(
        EndpointId::DeleteShareCodes,
        Method::Delete,
        "/share-codes/{user}/{server}",
        &["shares"],
        Target::Server,
    ),
    Endpoint {
        id: EndpointId::TokenOwner,
        method: Method::Get,
        path: "/authorizations/token/{secret}",
        auth: Auth::Token,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Exempt,
        extension: false,
    },
    Endpoint {
        id: EndpointId::TokenEndpointGone,
        method: Method::Get,
        path: "/authorizations/token",
        auth: Auth::Token,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Exempt,
        extension: false,
    },
    Endpoint {
        id: EndpointId::TokenEndpointGone,
        method: Method::Post,
        path: "/authorizations/token",
        auth: Auth::Nobody,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Exempt,
        extension: false,
    },
    Endpoint {
        id: EndpointId::TokenEndpointGone,
        method: Method::Post,
        path: "/authorizations/token/{secret}",
        auth: Auth::Nobody,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Exempt,
        extension: false,
    },
    Endpoint {
        id: EndpointId::CookieOwner,
        method: Method::Get,
        path: "/authorizations/cookie/{cookie}",
        auth: Auth::Token,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Api,
        extension: false,
    },
    Endpoint {
        id: EndpointId::CookieOwner,
        method: Method::Get,
        path: "/authorizations/cookie/{cookie}/{value}",
        auth: Auth::Token,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Api,
        extension: false,
    },
    Endpoint {
        id: EndpointId::Authorize,
        method: Method::Get,
        path: "/oauth2/authorize",
        auth: Auth::Login,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Page,
        extension: false,
    },
    Endpoint {
        id: EndpointId::ConfirmAuthorize,
        method: Method::Post,
        path: "/oauth2/authorize",
        auth: Auth::Login,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Page,
        extension: false,
    },
    Endpoint {
        id: EndpointId::ExchangeToken,
        method: Method::Post,
        path: "/oauth2/token",
        auth: Auth::OAuthClient,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Exempt,
        extension: false,
    },
    Endpoint {
        id: EndpointId::OpenApi,
        method: Method::Get,
        path: "/openapi.json",
        auth: Auth::Nobody,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Exempt,
        extension: true,
    },
    Endpoint {
        id: EndpointId::Docs,
        method: Method::Get,
        path: "/docs",
        auth: Auth::Nobody,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Exempt,
        extension: true,
    },
    extension(EndpointId::Events, Method::Get, "/events", &["read:servers"], Target::List),
    extension(EndpointId::StartServers, Method::Post, "/servers/start", &["start:servers"], Target::List),
    extension(EndpointId::StopServers, Method::Post, "/servers/stop", &["delete:servers"], Target::List),
    extension(EndpointId::ListSessions, Method::Get, "/sessions", &["read:tokens"], Target::List),
    extension(EndpointId::EndSessions, Method::Delete, "/sessions", &["tokens"], Target::List),
    extension(EndpointId::EndSession, Method::Delete, "/sessions/{session}", &["tokens"], Target::List),
    extension(EndpointId::ListVolumes, Method::Get, "/users/{user}/volumes", &["read:servers"], Target::User),
    Endpoint {
        id: EndpointId::ExplainOwn,
        method: Method::Get,
        path: "/authorizations/scopes",
        auth: Auth::Anybody,
        scopes: &[],
        on: Target::None,
        xsrf: Xsrf::Api,
        extension: true,
    },
    extension(
        EndpointId::ExplainToken,
        Method::Get,
        "/users/{user}/tokens/{token}/scopes",
        &["read:tokens"],
        Target::User,
    ),
];
