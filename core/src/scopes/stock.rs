//! The scopes that every hub knows. Their sentences for people are part of the interface, to the letter: programs
//! compare them, and people recognise them on the page that asks for consent. Those for the manual are this project's
//! own.

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
    row("(no_scope)", &[], "Identify the owner of the requesting entity."),
    row_doc(
        "self",
        &[],
        "Your own resources",
        "A user's own model, servers, tokens and shares. Means nothing for a service.",
    ),
    row_doc(
        "inherit",
        &[],
        "Anything you have access to",
        "Whatever the owner of the token may do at the time of the request. For tokens only.",
    ),
    row("admin-ui", &[], "Access the admin page."),
    row_doc(
        "admin:users",
        &["admin:auth_state", "users", "read:roles:users", "delete:users"],
        "Read, modify, create, and delete users and their authentication state, not including their servers or tokens. This is an extremely privileged scope and should be considered tantamount to superuser.",
        "Full administration of users, without their servers and tokens. As good as superuser.",
    ),
    row("admin:auth_state", &[], "Read a user’s authentication state."),
    row(
        "users",
        &["read:users", "list:users", "users:activity"],
        "Read and write permissions to user models (excluding servers, tokens and authentication state).",
    ),
    row("delete:users", &[], "Delete users."),
    row("list:users", &["read:users:name"], "List users, including at least their names."),
    row(
        "read:users",
        &["read:users:name", "read:users:groups", "read:users:activity"],
        "Read user models (including the URL of the default server if it is running).",
    ),
    row("read:users:name", &[], "Read names of users."),
    row("read:users:groups", &[], "Read users’ group membership."),
    row("read:users:activity", &[], "Read time of last user activity."),
    row(
        "read:roles",
        &["read:roles:users", "read:roles:services", "read:roles:groups"],
        "Read role assignments.",
    ),
    row("read:roles:users", &[], "Read user role assignments."),
    row("read:roles:services", &[], "Read service role assignments."),
    row("read:roles:groups", &[], "Read group role assignments."),
    row("users:activity", &["read:users:activity"], "Update time of last user activity."),
    row(
        "admin:servers",
        &["admin:server_state", "servers"],
        "Read, start, stop, create and delete user servers and their state.",
    ),
    row("admin:server_state", &[], "Read and write users’ server state."),
    row("servers", &["read:servers", "start:servers", "delete:servers"], "Start and stop user servers."),
    row(
        "read:servers",
        &["read:users:name"],
        "Read users’ names and their server models (excluding the server state).",
    ),
    row("start:servers", &[], "Start and edit users' servers. (added in JupyterHub 6)"),
    row("delete:servers", &[], "Stop and delete users' servers."),
    row("tokens", &["read:tokens"], "Read, write, create and delete user tokens."),
    row("read:tokens", &[], "Read user tokens."),
    row(
        "admin:groups",
        &["groups", "read:roles:groups", "delete:groups"],
        "Read and write group information, create and delete groups.",
    ),
    row(
        "groups",
        &["read:groups", "list:groups"],
        "Read and write group information, including adding/removing any users to/from groups. Note: adding users to groups may affect permissions.",
    ),
    row("list:groups", &["read:groups:name"], "List groups, including at least their names."),
    row("read:groups", &["read:groups:name"], "Read group models."),
    row("read:groups:name", &[], "Read group names."),
    row("delete:groups", &[], "Delete groups."),
    row_doc(
        "admin:services",
        &["list:services", "read:services", "read:roles:services"],
        "Create, read, update, delete services, not including services defined from config files.",
        "Administration of services that were added while the hub runs; those of the configuration stay as they are.",
    ),
    row("list:services", &["read:services:name"], "List services, including at least their names."),
    row("read:services", &["read:services:name"], "Read service models."),
    row("read:services:name", &[], "Read service names."),
    row("read:hub", &[], "Read detailed information about the Hub."),
    row("access:servers", &[], "Access user servers via API or browser."),
    row("access:services", &[], "Access services via API or browser."),
    row("users:shares", &["read:users:shares"], "Read and revoke a user's access to shared servers."),
    row("read:users:shares", &[], "Read servers shared with a user."),
    row("groups:shares", &["read:groups:shares"], "Read and revoke a group's access to shared servers."),
    row("read:groups:shares", &[], "Read servers shared with a group."),
    row("read:shares", &[], "Read information about shared access to servers."),
    row(
        "shares",
        &["access:servers", "read:shares", "users:shares", "groups:shares"],
        "Manage access to shared servers.",
    ),
    row(
        "proxy",
        &[],
        "Read information about the proxy’s routing table, sync the Hub with the proxy and notify the Hub about a new proxy.",
    ),
    row("shutdown", &[], "Shutdown the hub."),
    row("read:metrics", &[], "Read prometheus metrics."),
];
