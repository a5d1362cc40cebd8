//! Users.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::transport::Query;
use super::{Client, Result};
use crate::models::User;

/// Which users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserQuery {
    /// `active`, `ready` or `inactive`.
    pub state: Option<String>,
    /// Part of the name.
    pub name_filter: Option<String>,
    /// Whether stopped servers are told, too.
    pub stopped_servers: bool,
}

impl Client {
    /// All users that the token shows.
    pub async fn users(&self, wanted: &UserQuery) -> Result<Vec<User>> {
        let mut query = Query::new();
        if let Some(state) = &wanted.state {
            query.push(("state", state.clone()));
        }
        if let Some(name) = &wanted.name_filter {
            query.push(("name_filter", name.clone()));
        }
        if wanted.stopped_servers {
            query.push(("include_stopped_servers", "1".to_owned()));
        }
        self.list(&["users"], &query).await
    }

    /// One user, with stopped servers.
    pub async fn user(&self, name: &str) -> Result<User> {
        let query = vec![("include_stopped_servers", "1".to_owned())];
        self.call(Method::GET, &["users", name], &query, None).await
    }

    /// Creates users. Those that exist are skipped; if all do, the hub answers 409.
    pub async fn create_users(&self, names: &[String], admin: bool) -> Result<Vec<User>> {
        self.put(Method::POST, &["users"], &json!({"usernames": names, "admin": admin})).await
    }

    /// Renames a user, makes or unmakes an administrator.
    pub async fn edit_user(&self, name: &str, new_name: Option<&str>, admin: Option<bool>) -> Result<User> {
        let mut body = Map::new();
        if let Some(new_name) = new_name {
            body.insert("name".to_owned(), new_name.into());
        }
        if let Some(admin) = admin {
            body.insert("admin".to_owned(), admin.into());
        }
        self.put(Method::PATCH, &["users", name], &Value::Object(body)).await
    }

    /// Deletes a user with everything.
    pub async fn delete_user(&self, name: &str) -> Result<()> {
        self.order(Method::DELETE, &["users", name], None).await.map(drop)
    }
}
