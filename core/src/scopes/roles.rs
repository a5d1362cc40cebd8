//! The four roles that every hub has, and how roles are named.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Everybody has it.
pub const USER_ROLE: &str = "user";
/// Administrators have it; its scopes cannot be changed.
pub const ADMIN_ROLE: &str = "admin";
/// What the token of a server may do unless the spawner asks for something else. Assigned to nobody.
pub const SERVER_ROLE: &str = "server";
/// What a new API token may do unless something else is asked for. Assigned to nobody.
pub const TOKEN_ROLE: &str = "token";

/// A role as defined: by the hub or by a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDef {
    /// Name, see [`check_role_name`].
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Scopes, abbreviated, in the order of definition.
    pub scopes: Vec<String>,
}

fn role(name: &str, description: &str, scopes: &[&str]) -> RoleDef {
    RoleDef {
        name: name.to_owned(),
        description: description.to_owned(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
    }
}

/// The roles that are created, or put right, at every start. Answers to `get_default_roles`.
pub fn default_roles() -> Vec<RoleDef> {
    vec![
        role(USER_ROLE, "What every user may do", &["self"]),
        role(
            ADMIN_ROLE,
            "Administrators: everything",
            &[
                "admin-ui",
                "admin:users",
                "admin:servers",
                "admin:services",
                "tokens",
                "admin:groups",
                "list:services",
                "read:services",
                "read:hub",
                "proxy",
                "shutdown",
                "access:services",
                "access:servers",
                "read:roles",
                "read:metrics",
                "shares",
            ],
        ),
        role(
            SERVER_ROLE,
            "What a server may do: report activity",
            &["users:activity!user", "access:servers!server"],
        ),
        role(TOKEN_ROLE, "A token that may do what its owner may do", &["inherit"]),
    ]
}

/// A name that no role can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "invalid role name {0:?}: it must have 3 to 255 characters of a-z 0-9 - . ~ _, begin with a letter and end with a \
     letter or digit"
)]
pub struct RoleNameError(pub String);

/// Checks the name of a role: 3 to 255 characters of `a-z0-9-.~_`, a letter first, a letter or digit last.
pub fn check_role_name(name: &str) -> Result<(), RoleNameError> {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fine = match name.as_bytes() {
        [first, middle @ .., last] => {
            (1..=253).contains(&middle.len())
                && first.is_ascii_lowercase()
                && middle.iter().all(|b| alnum(*b) || matches!(b, b'-' | b'_' | b'~' | b'.'))
                && alnum(*last)
        }
        _ => false,
    };
    if fine { Ok(()) } else { Err(RoleNameError(name.to_owned())) }
}
