//! Who may do what, in texts and sets of texts.

use std::collections::BTreeSet;

use serde_json::Value;

use super::routes::{On, Route};
use crate::support::Answer;

/// Scopes and what they contain, as JupyterHub's documentation has them.
pub(super) const CONTAINED: &[(&str, &[&str])] = &[
    ("admin-ui", &[]),
    ("admin:users", &["admin:auth_state", "users", "read:roles:users", "delete:users"]),
    ("admin:auth_state", &[]),
    ("users", &["read:users", "list:users", "users:activity"]),
    ("delete:users", &[]),
    ("list:users", &["read:users:name"]),
    ("read:users", &["read:users:name", "read:users:groups", "read:users:activity"]),
    ("read:users:name", &[]),
    ("read:users:groups", &[]),
    ("read:users:activity", &[]),
    ("read:roles", &["read:roles:users", "read:roles:services", "read:roles:groups"]),
    ("read:roles:users", &[]),
    ("read:roles:services", &[]),
    ("read:roles:groups", &[]),
    ("users:activity", &["read:users:activity"]),
    ("admin:servers", &["admin:server_state", "servers"]),
    ("admin:server_state", &[]),
    ("servers", &["read:servers", "start:servers", "delete:servers"]),
    ("read:servers", &["read:users:name"]),
    ("start:servers", &[]),
    ("delete:servers", &[]),
    ("tokens", &["read:tokens"]),
    ("read:tokens", &[]),
    ("admin:groups", &["groups", "read:roles:groups", "delete:groups"]),
    ("groups", &["read:groups", "list:groups"]),
    ("list:groups", &["read:groups:name"]),
    ("read:groups", &["read:groups:name"]),
    ("read:groups:name", &[]),
    ("delete:groups", &[]),
    ("admin:services", &["list:services", "read:services", "read:roles:services"]),
    ("list:services", &["read:services:name"]),
    ("read:services", &["read:services:name"]),
    ("read:services:name", &[]),
    ("read:hub", &[]),
    ("access:servers", &[]),
    ("access:services", &[]),
    ("users:shares", &["read:users:shares"]),
    ("groups:shares", &["read:groups:shares"]),
    ("read:users:shares", &[]),
    ("read:groups:shares", &[]),
    ("read:shares", &[]),
    ("shares", &["access:servers", "read:shares", "users:shares", "groups:shares"]),
    ("proxy", &[]),
    ("shutdown", &[]),
    ("read:metrics", &[]),
];

/// No filter, filters that fit what the routes are about, filters that do not, and filters that name nothing: whoever
/// the token is of.
pub(super) const FILTERS: [&str; 14] = [
    "",
    "!user",
    "!server",
    "!service",
    "!user=ada",
    "!user=bob",
    "!user=root",
    "!server=ada/",
    "!server=ada/lab",
    "!group=maths",
    "!group=nobodies",
    "!group=others",
    "!service=watch",
    "!service=fresh",
];

/// A set of scopes with their filters.
pub(super) type Held = BTreeSet<String>;

/// A scope under a filter with all that it contains.
pub(super) fn expanded(scope: &str, filter: &str) -> Held {
    let mut done = BTreeSet::new();
    let mut todo = vec![scope];
    while let Some(scope) = todo.pop() {
        let contained = CONTAINED.iter().find(|(name, _)| *name == scope).unwrap().1;
        todo.extend(contained);
        // Servers are no users.
        if !(filter.starts_with("!server") && scope.starts_with("read:users")) {
            done.insert(format!("{scope}{filter}"));
        }
    }
    done
}

/// What tells who the owner of a token is.
pub(super) fn identity(owner: &str) -> Held {
    Held::from([format!("read:users:name!user={owner}"), format!("read:users:groups!user={owner}")])
}

/// What a token that the hub gave `root` holds, with one scope under one filter. A filter without a name means the
/// owner, or the server or service that the token was given to, of which there is none here.
pub(super) fn held(scope: &str, filter: &str) -> Held {
    let own = match filter {
        "!user" => expanded(scope, "!user=root"),
        "!server" | "!service" => Held::new(),
        named => expanded(scope, named),
    };
    own.into_iter().chain(identity("root")).collect()
}

fn in_maths(user: &str) -> bool {
    ["ada", "root"].contains(&user)
}

/// Whether what is held allows a scope on something.
pub(super) fn allows(held: &Held, scope: &str, on: On) -> bool {
    let has = |filter: String| held.contains(&format!("{scope}{filter}"));
    let on_user =
        |user: &str| has(format!("!user={user}")) || in_maths(user) && has("!group=maths".to_owned());
    has(String::new())
        || match on {
            On::All => false,
            On::Some => held.iter().any(|text| text.split('!').next() == Some(scope)),
            On::User(user) => on_user(user),
            On::Server(user, server) => on_user(user) || has(format!("!server={user}/{server}")),
            On::Group(group) => has(format!("!group={group}")),
            On::Service(service) => has(format!("!service={service}")),
        }
}

/// What the model expects of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Allowed,
    Hidden,
    Lacking,
}

pub(super) fn expected(held: &Held, route: &Route) -> Expected {
    let has_any = |scope: &&&str| held.iter().any(|text| text.split('!').next() == Some(**scope));
    if route.scopes.iter().any(|scope| allows(held, scope, route.on)) {
        Expected::Allowed
    } else if route.scopes.iter().any(|scope| has_any(&scope)) && !matches!(route.on, On::Some | On::All) {
        // A filter can only hide what it could have shown.
        Expected::Hidden
    } else {
        Expected::Lacking
    }
}

/// What an answer shows.
pub(super) fn seen(answer: &Answer) -> Expected {
    let message = serde_json::from_str::<Value>(&answer.text).unwrap_or_default()["message"].clone();
    let message = message.as_str().unwrap_or_default();
    match answer.code() {
        404 if message == "No access to resources or resources not found" => Expected::Hidden,
        403 if message.starts_with("Action is not authorized with current scopes") => Expected::Lacking,
        403 if message.is_empty() => Expected::Hidden,
        _ => Expected::Allowed,
    }
}

/// The same for a page, which has no text to tell by.
pub(super) fn seen_of_page(answer: &Answer) -> Expected {
    match answer.code() {
        404 => Expected::Hidden,
        403 => Expected::Lacking,
        _ => Expected::Allowed,
    }
}

/// Each thing that a filter can be about.
const THINGS: [On; 11] = [
    On::All,
    On::User("ada"),
    On::User("bob"),
    On::User("root"),
    On::Server("ada", ""),
    On::Server("ada", "lab"),
    On::Server("bob", ""),
    On::Group("maths"),
    On::Group("nobodies"),
    On::Service("watch"),
    On::Service("fresh"),
];

/// What is expected of a token of somebody: what it asks for, and what tells who its owner is, each as far as the owner
/// holds it. Unlike the hub this looks at every thing by itself.
pub(super) fn expected_of_narrowed(
    asked: &Held,
    owner: &'static str,
    owned: &Held,
    route: &Route,
) -> Expected {
    let asked: Held = asked.union(&identity(owner)).cloned().collect();
    let may = |scope: &str, on: On| allows(&asked, scope, on) && allows(owned, scope, on);
    let anything = |scope: &str| THINGS.iter().chain([&On::User(owner)]).any(|on| may(scope, *on));
    let something = route.scopes.iter().any(|scope| anything(scope));
    let allowed = match route.on {
        On::Some => something,
        on => route.scopes.iter().any(|scope| may(scope, on)),
    };
    if allowed {
        Expected::Allowed
    } else if something && route.on != On::All {
        Expected::Hidden
    } else {
        Expected::Lacking
    }
}
