//! Why a credential allows what it allows: the way of every effective scope back to the role, group or share that
//! grants it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hub_core::scopes::{
    Client, Decision, ExpandContext, Resource, ScopeSet, ScopeTable, access_scope, identify_scopes,
    self_scopes,
};
use hub_db::entities::api_tokens;
use hub_db::{ConnectionTrait, DbError, repo};
use jupyterhub_api_compat::models::{
    Explanation, Kind, Reason, Reasons, ScopeDecision, Source, SourceKind, Token, TokenAsked,
};

use super::{Holder, Rbac};

/// What `self` stands for is not in the table of scopes, since it depends on the user: it leads to these.
const SELF: &str = "self";

impl Rbac {
    /// Explains what a token, or without one a browser session, of a holder allows.
    pub async fn explain(
        &self,
        db: &impl ConnectionTrait,
        holder: &Holder,
        token: Option<&api_tokens::Model>,
    ) -> Result<(Explanation, ScopeSet), DbError> {
        let mut sources = self.sources(db, holder, token.is_none()).await?;
        let mut withheld = Vec::new();
        let mut known = identify_scopes(holder.owner());
        let effective = match token {
            None => self.session_scopes(db, holder).await?.scopes,
            Some(token) => {
                let effective = self.token_scopes(db, token, holder).await?;
                let client = self.client_of(db, token.client_id.as_deref()).await?;
                if client.as_client() != Client::Hub {
                    known.extend(access_scope(&client.as_client()));
                }
                let context = ExpandContext::token(holder.owner(), client.as_client());
                let asked = self.table.expand_stored(&token.scopes.0, &context).scopes;
                let held: BTreeSet<String> = effective.to_vec().into_iter().collect();
                withheld.extend(asked.to_vec().into_iter().filter(|scope| !held.contains(scope)));
                effective
            }
        };
        sources.push(Source {
            kind: SourceKind::Credential,
            role: String::new(),
            group: None,
            scopes: known,
        });
        let scopes = self.reasons(holder, &sources, &effective);
        let (kind, name) = match holder {
            Holder::User { name, .. } => (Kind::User, name),
            Holder::Service { name, .. } => (Kind::Service, name),
        };
        let explanation = Explanation {
            kind,
            name: name.clone(),
            token: token.map(|token| TokenAsked {
                id: Token::id_of(token.id.into()),
                note: token.note.clone(),
                oauth_client: token.client_id.clone(),
                scopes: token.scopes.0.clone(),
            }),
            sources,
            scopes,
            withheld,
            decision: None,
        };
        Ok((explanation, effective))
    }

    /// Roles, roles of groups, and shares.
    async fn sources(
        &self,
        db: &impl ConnectionTrait,
        holder: &Holder,
        group_shares: bool,
    ) -> Result<Vec<Source>, DbError> {
        let of_holder = match holder {
            Holder::User { id, .. } => repo::roles::Holder::User(*id),
            Holder::Service { id, .. } => repo::roles::Holder::Service(*id),
        };
        let mut sources: Vec<Source> = Vec::new();
        for role in repo::roles::of(db, of_holder).await? {
            let (role, scopes) = (role.name, role.scopes.0);
            sources.push(Source { kind: SourceKind::Role, role, group: None, scopes });
        }
        if let Holder::User { id, .. } = holder {
            for group in repo::groups::of_user(db, *id).await? {
                for role in repo::roles::of(db, repo::roles::Holder::Group(group.id)).await? {
                    let (role, scopes, group) = (role.name, role.scopes.0, Some(group.name.clone()));
                    sources.push(Source { kind: SourceKind::GroupRole, role, group, scopes });
                }
            }
            let scopes = repo::shares::scopes_of_user(db, *id, group_shares, self.clock.now()).await?;
            if !scopes.is_empty() {
                let role = String::new();
                sources.push(Source { kind: SourceKind::Shares, role, group: None, scopes });
            }
        }
        Ok(sources)
    }

    /// The ways to every effective scope.
    fn reasons(&self, holder: &Holder, sources: &[Source], effective: &ScopeSet) -> Vec<Reasons> {
        let context = ExpandContext::owner(holder.owner());
        // What every written scope means, once.
        let written: Vec<(usize, &str, ScopeSet)> = sources
            .iter()
            .enumerate()
            .flat_map(|(place, source)| source.scopes.iter().map(move |text| (place, text.as_str())))
            .map(|(place, text)| (place, text, self.table.expand_stored([text], &context).scopes))
            .collect();
        let mut ways: BTreeMap<String, Vec<Reason>> = BTreeMap::new();
        for scope in effective.to_vec() {
            let name = bare(&scope);
            let because = written
                .iter()
                .filter(|(_, _, means)| means.has_any(name))
                .map(|(source, text, _)| Reason { source: *source, path: path(&self.table, text, name) })
                .collect();
            ways.insert(scope, because);
        }
        ways.into_iter().map(|(scope, because)| Reasons { scope, because }).collect()
    }
}

/// A scope without its filter.
fn bare(scope: &str) -> &str {
    scope.split('!').next().unwrap_or(scope)
}

/// The shortest way from a written scope through what it includes to `to`.
fn path(table: &ScopeTable, written: &str, to: &str) -> Vec<String> {
    let from = bare(written);
    if from == to {
        return vec![written.to_owned()];
    }
    if from == "inherit" {
        return vec![written.to_owned(), to.to_owned()];
    }
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut todo: VecDeque<&str> = VecDeque::new();
    let begin: Vec<&str> = if from == SELF {
        self_scopes().iter().map(|name| bare(name)).collect()
    } else {
        table.get(from).map(|info| info.subscopes.iter().map(|s| &**s).collect()).unwrap_or_default()
    };
    for name in begin {
        came_from.entry(name).or_insert(from);
        todo.push_back(name);
    }
    while let Some(name) = todo.pop_front() {
        if name == to {
            break;
        }
        for next in table.get(name).into_iter().flat_map(|info| info.subscopes) {
            let next: &str = next;
            if next != from && !came_from.contains_key(next) {
                came_from.insert(next, name);
                todo.push_back(next);
            }
        }
    }
    let mut steps = vec![to];
    let mut at = to;
    while let Some(before) = came_from.get(at) {
        at = before;
        if at != from {
            steps.push(at);
        }
        if at == from {
            break;
        }
    }
    let mut path = vec![written.to_owned()];
    path.extend(steps.into_iter().rev().map(str::to_owned));
    path
}

/// The decision about one scope on a resource.
pub fn decide(scopes: &ScopeSet, scope: &str, on: &Resource<'_>) -> ScopeDecision {
    let decision = scopes.decide(&[scope], on);
    let status = match decision {
        Decision::Granted => 200,
        Decision::Hidden => 404,
        Decision::Lacking => 403,
    };
    let on = match on {
        Resource::None => String::new(),
        Resource::User { name, .. } => format!("user={name}"),
        Resource::Server { user, server, .. } => format!("server={user}/{server}"),
        Resource::Group(name) => format!("group={name}"),
        Resource::Service(name) => format!("service={name}"),
    };
    ScopeDecision { scope: scope.to_owned(), on, allowed: decision == Decision::Granted, status }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_scope_is_the_shortest_one() {
        let table = ScopeTable::stock();
        assert_eq!(path(&table, "read:users", "read:users"), ["read:users"]);
        assert_eq!(
            path(&table, "admin:users!group=maths", "read:users:name"),
            ["admin:users!group=maths", "users", "read:users", "read:users:name"]
        );
        assert_eq!(path(&table, "self", "start:servers"), ["self", "servers", "start:servers"]);
    }

    #[test]
    fn every_scope_that_another_includes_has_a_way() {
        let table = ScopeTable::stock();
        for scope in table.iter() {
            for included in table.closure(scope.name) {
                let way = path(&table, scope.name, included);
                assert_eq!(way.first().map(String::as_str), Some(scope.name));
                assert_eq!(way.last().map(String::as_str), Some(&**included), "{way:?}");
                for step in way.windows(2) {
                    let direct = table.get(&step[0]).unwrap().subscopes;
                    assert!(direct.iter().any(|name| **name == *step[1]), "{way:?}");
                }
            }
        }
    }
}
