//! The scopes that every hub knows.

/// One row: name, direct subscopes, sentence for people who are asked to consent, sentence for the manual where
/// that one must say more.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) subscopes: &'static [&'static str],
    pub(super) description: &'static str,
    pub(super) doc: Option<&'static str>,
}

const fn row(name: &'static str, subscopes: &'static [&'static str], description: &'static str) -> Row {
    Row { name, subscopes, description, doc: None }
}

const fn row_doc(
    name: &'static str,
    subscopes: &'static [&'static str],
    description: &'static str,
    doc: &'static str,
) -> Row {
    Row { name, subscopes, description, doc: Some(doc) }
}

/// All scopes of JupyterHub 6.1, in the order of its manual.
pub(super) const ROWS: &[Row] = &[
    row("(no_scope)", &[], "Know who you are."),
    row_doc(
        "self",
        &[],
        "Everything that is yours",
        "A user's own model, servers, tokens and shares. Means nothing for a service.",
    ),
    row_doc(
        "inherit",
        &[],
        "Everything that you may do",
        "Whatever the owner of the token may do at the time of the request. For tokens only.",
    ),
    row("admin-ui", &[], "Open the admin page. What can be done there needs scopes of its own."),
    row_doc(
        "admin:users",
        &["admin:auth_state", "users", "read:roles:users", "delete:users"],
        "Create, read, change and delete users, including their login state, but not their servers or tokens. \
         Whoever holds this can become anybody: treat it as full control.",
        "Full administration of users, without their servers and tokens. As good as superuser.",
    ),
    row("admin:auth_state", &[], "Read the login state that is kept for users."),
    row(
        "users",
        &["read:users", "list:users", "users:activity"],
        "Read and change users, without their servers, tokens and login state.",
    ),
    row("delete:users", &[], "Delete users."),
    row("list:users", &["read:users:name"], "List users, at the least by name."),
    row(
        "read:users",
        &["read:users:name", "read:users:groups", "read:users:activity"],
        "Read users, including where a running default server is found.",
    ),
    row("read:users:name", &[], "Read the names of users."),
    row("read:users:groups", &[], "Read which groups users are in."),
    row("read:users:activity", &[], "Read when users were last active."),
    row(
        "read:roles",
        &["read:roles:users", "read:roles:services", "read:roles:groups"],
        "Read who holds which role.",
    ),
    row("read:roles:users", &[], "Read the roles of users."),
    row("read:roles:services", &[], "Read the roles of services."),
    row("read:roles:groups", &[], "Read the roles of groups."),
    row("users:activity", &["read:users:activity"], "Report when users were active."),
    row(
        "admin:servers",
        &["admin:server_state", "servers"],
        "Create, start, stop, read and delete servers of users, including their internal state.",
    ),
    row("admin:server_state", &[], "Read the internal state of servers."),
    row("servers", &["read:servers", "start:servers", "delete:servers"], "Start and stop servers of users."),
    row(
        "read:servers",
        &["read:users:name"],
        "Read the names of users and their servers, without the servers' internal state.",
    ),
    row("start:servers", &[], "Start and edit servers of users."),
    row("delete:servers", &[], "Stop and delete servers of users."),
    row("tokens", &["read:tokens"], "Create, read and delete tokens of users."),
    row("read:tokens", &[], "Read the tokens of users, without their secret."),
    row(
        "admin:groups",
        &["groups", "read:roles:groups", "delete:groups"],
        "Create, read, change and delete groups.",
    ),
    row(
        "groups",
        &["read:groups", "list:groups"],
        "Read and change groups and who is in them. Membership can bring permissions with it.",
    ),
    row("list:groups", &["read:groups:name"], "List groups, at the least by name."),
    row("read:groups", &["read:groups:name"], "Read groups."),
    row("read:groups:name", &[], "Read the names of groups."),
    row("delete:groups", &[], "Delete groups."),
    row_doc(
        "admin:services",
        &["list:services", "read:services", "read:roles:services"],
        "Create, read and delete services, other than those of the configuration.",
        "Administration of services that were added while the hub runs; those of the configuration stay as they are.",
    ),
    row("list:services", &["read:services:name"], "List services, at the least by name."),
    row("read:services", &["read:services:name"], "Read services."),
    row("read:services:name", &[], "Read the names of services."),
    row("read:hub", &[], "Read details of the hub's installation."),
    row("access:servers", &[], "Use servers, in a browser or by their API."),
    row("access:services", &[], "Use services, in a browser or by their API."),
    row(
        "users:shares",
        &["read:users:shares"],
        "See which servers are shared with a user, and leave such shares.",
    ),
    row("read:users:shares", &[], "See which servers are shared with a user."),
    row(
        "groups:shares",
        &["read:groups:shares"],
        "See which servers are shared with a group, and leave such shares.",
    ),
    row("read:groups:shares", &[], "See which servers are shared with a group."),
    row("read:shares", &[], "See with whom servers are shared."),
    row(
        "shares",
        &["access:servers", "read:shares", "users:shares", "groups:shares"],
        "Share servers with others, and end such shares.",
    ),
    row("proxy", &[], "Read and resynchronise the proxy's routes, and point the hub at another proxy."),
    row("shutdown", &[], "Shut the hub down."),
    row("read:metrics", &[], "Read the hub's metrics."),
];
