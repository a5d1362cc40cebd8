//! For whom something holds: conditions of profiles, options, choices and patches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who asks, for which server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asker {
    /// Name of the user.
    pub user: String,
    /// Name of the server, empty for the default one.
    pub server: String,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// Whether the user is an administrator.
    pub admin: bool,
    /// The profile that was chosen, where that is known.
    pub profile: Option<String>,
}

/// A condition: everything that is given must hold, and of each list one entry is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// Names of users.
    pub users: Vec<String>,
    /// Groups of which the user must be in one.
    pub groups: Vec<String>,
    /// Names of servers; the default server is the empty text.
    pub servers: Vec<String>,
    /// Profiles, by slug.
    pub profiles: Vec<String>,
    /// Whether the user must be an administrator, or must not.
    pub admin: Option<bool>,
    /// Whether the server must be a named one, or must not.
    pub named: Option<bool>,
}

impl Condition {
    /// Whether it holds.
    pub fn holds(&self, asker: &Asker) -> bool {
        let one_of = |wanted: &[String], name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
        one_of(&self.users, &asker.user)
            && one_of(&self.servers, &asker.server)
            && (self.groups.is_empty() || self.groups.iter().any(|group| asker.groups.contains(group)))
            && (self.profiles.is_empty()
                || asker.profile.as_ref().is_some_and(|chosen| self.profiles.contains(chosen)))
            && self.admin.is_none_or(|wanted| wanted == asker.admin)
            && self.named.is_none_or(|wanted| wanted != asker.server.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_is_given_must_hold() {
        let asker = Asker {
            user: "alice".to_owned(),
            server: "lab".to_owned(),
            groups: vec!["a".to_owned(), "b".to_owned()],
            admin: false,
            profile: Some("gpu".to_owned()),
        };
        for (condition, holds) in [
            (json!({}), true),
            (json!({"users": ["bob", "alice"]}), true),
            (json!({"users": ["bob"]}), false),
            (json!({"groups": ["c", "b"], "named": true}), true),
            (json!({"groups": ["c"]}), false),
            (json!({"profiles": ["gpu"], "admin": true}), false),
            (json!({"profiles": ["cpu"]}), false),
            (json!({"servers": [""]}), false),
            (json!({"named": false}), false),
        ] {
            let read: Condition = serde_json::from_value(condition.clone()).unwrap();
            assert_eq!(read.holds(&asker), holds, "{condition}");
        }
    }
}
