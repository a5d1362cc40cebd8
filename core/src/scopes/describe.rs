//! Scopes in words, for the page that asks for consent.

use std::collections::BTreeSet;

use serde::Serialize;

use super::parse::{Filter, Scope};
use super::table::ScopeTable;

/// One line of the page. Serialises to what the templates `oauth.html` and `accept-share.html` expect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The scope without filter; null for the mere knowledge of who somebody is.
    pub scope: Option<String>,
    /// What it allows.
    pub description: String,
    /// To what it is limited, in words; empty if not limited.
    pub filter: String,
}

/// Scopes in words, in the order given. `reader` is the user who reads the page. Answers to `describe_raw_scopes`.
pub fn describe_scopes<'s>(
    table: &ScopeTable,
    scopes: impl IntoIterator<Item = &'s str>,
    reader: &str,
) -> Vec<Description> {
    let describe = |text: &'s str| {
        let (name, filter) = match Scope::read(text) {
            Ok(scope) => (scope.name, words(&scope.filter, reader)),
            // Shown as it is rather than left out: nobody should consent to more than the page says.
            Err(_) => (text.to_owned(), String::new()),
        };
        Description { description: table.description(&name).to_owned(), scope: Some(name), filter }
    };
    scopes.into_iter().map(describe).collect()
}

/// What the consent page lists: of `allowed`, without the `required` scopes that every client gets. With nothing
/// left that is the knowledge of who somebody is; `inherit` stands for everything else.
pub fn describe_consent(
    table: &ScopeTable,
    allowed: &BTreeSet<String>,
    required: &BTreeSet<String>,
    reader: &str,
) -> Vec<Description> {
    let rest: Vec<&str> = allowed.difference(required).map(String::as_str).collect();
    if rest.is_empty() {
        let description = table.description("(no_scope)").to_owned();
        vec![Description { scope: None, description, filter: String::new() }]
    } else if rest.contains(&"inherit") {
        describe_scopes(table, ["inherit"], reader)
    } else {
        describe_scopes(table, rest, reader)
    }
}

fn words(filter: &Filter, reader: &str) -> String {
    match filter {
        Filter::None => String::new(),
        Filter::OwnUser => "only you".to_owned(),
        Filter::User(name) if name == reader => "only you".to_owned(),
        Filter::User(name) => format!("user {name}"),
        Filter::Group(name) => format!("users in group {name}"),
        Filter::Service(name) => format!("service {name}"),
        Filter::Server { user, server: Some(server) } => format!("server {user}/{server}"),
        Filter::Server { user, server: None } => format!("server {user}"),
        Filter::OwnService => "this service".to_owned(),
        Filter::OwnServer => "this server".to_owned(),
    }
}
