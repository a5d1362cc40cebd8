//! What is asked of whom, written down from JupyterHub's documentation and, of extensions, from ours.

/// On what a route's scopes must allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    /// Only scopes without a filter will do.
    All,
    /// Any filter will do to be let in.
    Some,
    /// This user.
    User(&'static str),
    /// This server.
    Server(&'static str, &'static str),
    /// This group.
    Group(&'static str),
    /// This service.
    Service(&'static str),
}

/// A request that changes nothing even when it is allowed.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: &'static str,
    /// Below `/hub/api`, or of pages below the root.
    pub(super) path: &'static str,
    pub(super) body: &'static str,
    pub(super) scopes: &'static [&'static str],
    pub(super) on: On,
}

/// A body that is refused after the caller was let in.
const BAD: &str = "{bad";

const fn route(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    scopes: &'static [&'static str],
    on: On,
) -> Route {
    Route { method, path, body, scopes, on }
}

/// `ada` is in the group `maths`, `bob` in none; all requests are made with tokens of `root`, who is in `maths`, too.
pub(super) const ROUTES: &[Route] = &[
    route("GET", "/info", "", &["read:hub"], On::All),
    route("POST", "/shutdown", BAD, &["shutdown"], On::All),
    route("GET", "/proxy", "", &["proxy"], On::All),
    route("POST", "/proxy", "", &["proxy"], On::All),
    route("PATCH", "/proxy", BAD, &["proxy"], On::All),
    route("GET", "/users", "", &["list:users"], On::Some),
    route("POST", "/users", BAD, &["admin:users"], On::All),
    route(
        "GET",
        "/users/ada",
        "",
        &[
            "read:users",
            "read:users:name",
            "read:servers",
            "read:users:groups",
            "read:users:activity",
            "read:roles:users",
        ],
        On::User("ada"),
    ),
    route("POST", "/users/ada", BAD, &["admin:users"], On::User("ada")),
    route("PATCH", "/users/ada", BAD, &["admin:users"], On::User("ada")),
    // Nobody can delete themselves.
    route("DELETE", "/users/root", "", &["delete:users"], On::User("root")),
    route("POST", "/users/ada/activity", BAD, &["users:activity"], On::User("ada")),
    route("POST", "/users/ada/admin-access", "", &["servers"], On::User("ada")),
    route("GET", "/users/ada/server", "", &["read:servers"], On::Server("ada", "")),
    route("PUT", "/users/ada/server", BAD, &["start:servers"], On::Server("ada", "")),
    route("POST", "/users/ada/server", BAD, &["start:servers"], On::Server("ada", "")),
    route("PATCH", "/users/ada/server", BAD, &["start:servers"], On::Server("ada", "")),
    route("DELETE", "/users/ada/server", BAD, &["delete:servers"], On::Server("ada", "")),
    route("GET", "/users/ada/server/progress", "", &["read:servers"], On::Server("ada", "")),
    route("GET", "/users/ada/servers/lab", "", &["read:servers"], On::Server("ada", "lab")),
    route("PUT", "/users/ada/servers/lab", BAD, &["start:servers"], On::Server("ada", "lab")),
    route("POST", "/users/ada/servers/lab", BAD, &["start:servers"], On::Server("ada", "lab")),
    route("PATCH", "/users/ada/servers/lab", BAD, &["start:servers"], On::Server("ada", "lab")),
    route("DELETE", "/users/ada/servers/lab", BAD, &["delete:servers"], On::Server("ada", "lab")),
    route("GET", "/users/ada/servers/lab/progress", "", &["read:servers"], On::Server("ada", "lab")),
    route("GET", "/users/ada/tokens", "", &["read:tokens"], On::User("ada")),
    route("GET", "/users/ada/tokens/a0", "", &["read:tokens"], On::User("ada")),
    route("DELETE", "/users/ada/tokens/a0", "", &["tokens"], On::User("ada")),
    route("GET", "/users/ada/shared", "", &["read:users:shares"], On::User("ada")),
    route("GET", "/users/ada/shared/bob/x", "", &["read:users:shares"], On::User("ada")),
    route("DELETE", "/users/ada/shared/bob/x", "", &["users:shares"], On::User("ada")),
    route("GET", "/groups", "", &["list:groups"], On::Some),
    route("POST", "/groups", BAD, &["admin:groups"], On::All),
    route(
        "GET",
        "/groups/maths",
        "",
        &["read:groups", "read:groups:name", "read:roles:groups"],
        On::Group("maths"),
    ),
    route("POST", "/groups/maths", BAD, &["admin:groups"], On::Group("maths")),
    route("DELETE", "/groups/nobodies", "", &["delete:groups"], On::Group("nobodies")),
    route("POST", "/groups/maths/users", BAD, &["groups"], On::Group("maths")),
    route("DELETE", "/groups/maths/users", BAD, &["groups"], On::Group("maths")),
    route("PUT", "/groups/maths/properties", BAD, &["groups"], On::Group("maths")),
    route("GET", "/groups/maths/shared", "", &["read:groups:shares"], On::Group("maths")),
    route("GET", "/groups/maths/shared/bob/x", "", &["read:groups:shares"], On::Group("maths")),
    route("DELETE", "/groups/maths/shared/bob/x", "", &["groups:shares"], On::Group("maths")),
    route("GET", "/services", "", &["list:services"], On::Some),
    route(
        "GET",
        "/services/watch",
        "",
        &["read:services", "read:services:name", "read:roles:services"],
        On::Service("watch"),
    ),
    route("POST", "/services/fresh", BAD, &["admin:services"], On::Service("fresh")),
    // It is of the configuration.
    route("DELETE", "/services/watch", "", &["admin:services"], On::Service("watch")),
    route("GET", "/shares/ada", "", &["read:shares"], On::User("ada")),
    route("GET", "/shares/ada/lab", "", &["read:shares"], On::Server("ada", "lab")),
    route("POST", "/shares/ada/lab", BAD, &["shares"], On::Server("ada", "lab")),
    route("PATCH", "/shares/ada/lab", BAD, &["shares"], On::Server("ada", "lab")),
    route("DELETE", "/shares/ada/lab", "", &["shares"], On::Server("ada", "lab")),
    route("GET", "/share-codes/ada", "", &["read:shares"], On::User("ada")),
    route("GET", "/share-codes/ada/lab", "", &["read:shares"], On::Server("ada", "lab")),
    route("POST", "/share-codes/ada/lab", BAD, &["shares"], On::Server("ada", "lab")),
    route("DELETE", "/share-codes/ada/lab", "", &["shares"], On::Server("ada", "lab")),
];

/// The project's own endpoints, with what `docs/extensions.md` says of each.
pub(super) const EXTENSIONS: &[Route] = &[
    route("POST", "/users/ada/server/restart", BAD, &["servers"], On::Server("ada", "")),
    route("POST", "/users/ada/servers/lab/restart", BAD, &["servers"], On::Server("ada", "lab")),
    route("POST", "/servers/start", BAD, &["start:servers"], On::Some),
    route("POST", "/servers/stop", BAD, &["delete:servers"], On::Some),
    route("GET", "/users/ada/tokens/0/scopes", "", &["read:tokens"], On::User("ada")),
    route("GET", "/users/ada/volumes", "", &["read:servers"], On::User("ada")),
];

/// The same, of which those that are let in get an answer that never ends, or end logins, or are narrowed to one person
/// by what they ask for: only the refusals are looked at.
pub(super) const WITH_EFFECT: &[Route] = &[
    route("GET", "/events", "", &["read:servers"], On::Some),
    route("GET", "/sessions", "", &["read:tokens"], On::Some),
    route("DELETE", "/sessions", "", &["tokens"], On::Some),
    route("DELETE", "/sessions/0", "", &["tokens"], On::Some),
];

/// Pages that ask for scopes. Those of the last kind show nothing to whoever may not enter, not even whether anything
/// is there.
pub(super) const PAGES: &[(Route, Refusal)] = &[
    (route("GET", "/hub/admin", "", &["admin-ui"], On::Some), Refusal::Told),
    (route("GET", "/hub/spawn/ada", "", &["servers"], On::Server("ada", "")), Refusal::Told),
    (route("GET", "/hub/spawn/ada/lab", "", &["servers"], On::Server("ada", "lab")), Refusal::Told),
    (route("GET", "/hub/spawn-pending/ada/lab", "", &["servers"], On::Server("ada", "lab")), Refusal::Told),
    (route("GET", "/hub/user/ada/tree", "", &["access:servers"], On::Server("ada", "")), Refusal::Hidden),
    (
        route("GET", "/hub/user/ada/lab/tree", "", &["access:servers"], On::Server("ada", "lab")),
        Refusal::Hidden,
    ),
];

/// How a page refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// As the API does: 403, or 404 where the scope is held for something else.
    Told,
    /// Always 404.
    Hidden,
}
