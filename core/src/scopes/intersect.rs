//! What two sets of scopes have in common.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;

use super::filter::{Access, Filters};
use super::set::ScopeSet;

/// Tells whether a user is in a group. The hub answers from what it has loaded; which users may be asked for is
/// known beforehand: [`ScopeSet::users_to_look_up`].
pub trait Membership {
    /// Whether the user is in at least one of the groups.
    fn in_any(&self, user: &str, groups: &BTreeSet<String>) -> bool;
}

/// Nobody is in any group. Right when [`ScopeSet::users_to_look_up`] names nobody, else it can only narrow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoGroups;

impl Membership for NoGroups {
    fn in_any(&self, _user: &str, _groups: &BTreeSet<String>) -> bool {
        false
    }
}

impl Membership for BTreeMap<String, BTreeSet<String>> {
    fn in_any(&self, user: &str, groups: &BTreeSet<String>) -> bool {
        self.get(user).is_some_and(|of_user| !of_user.is_disjoint(groups))
    }
}

impl<S: BuildHasher> Membership for HashMap<String, Vec<String>, S> {
    fn in_any(&self, user: &str, groups: &BTreeSet<String>) -> bool {
        self.get(user).is_some_and(|of_user| of_user.iter().any(|group| groups.contains(group)))
    }
}

impl ScopeSet {
    /// What both sets allow. Answers to `_intersect_expanded_scopes`.
    ///
    /// A user filter on one side meets a group filter on the other if the user is in the group, a server filter
    /// meets a filter of its user or of a group of its user. The narrower one is kept.
    pub fn intersect(&self, other: &Self, groups: &dyn Membership) -> Self {
        let mut common = Self::new();
        for (name, mine) in self.entries() {
            let access = match (mine, other.filter_for(name)) {
                (Access::None, _) | (_, Access::None) => continue,
                (Access::All, access) | (access, Access::All) => access.clone(),
                (Access::Filtered(a), Access::Filtered(b)) => {
                    let filters = intersect_filters(a, b, groups);
                    if filters.is_empty() {
                        continue;
                    }
                    Access::Filtered(filters)
                }
            };
            common.add(name.clone(), access);
        }
        common
    }

    /// The users whose groups decide what the two sets have in common: user and server filters on one side where
    /// the other side has group filters. Empty in most cases, and then no database is needed.
    pub fn users_to_look_up(&self, other: &Self) -> BTreeSet<String> {
        let mut users = BTreeSet::new();
        for (name, mine) in self.entries() {
            let (Some(a), Some(b)) = (mine.filters(), other.filter_for(name).filters()) else { continue };
            for (named, grouped) in [(a, b), (b, a)] {
                if !grouped.groups.is_empty() {
                    users.extend(named.users.iter().cloned());
                    users.extend(named.servers.iter().map(|server| owner_of(server).to_owned()));
                }
            }
        }
        users
    }

    /// What is in this set and not, literally, in the other: no hierarchy is looked at.
    pub fn without(&self, other: &Self) -> Self {
        let theirs: BTreeSet<String> = other.to_vec().into_iter().collect();
        let rest = self.to_vec().into_iter().filter(|text| !theirs.contains(text));
        Self::from_expanded(rest).unwrap_or_default()
    }
}

fn intersect_filters(a: &Filters, b: &Filters, groups: &dyn Membership) -> Filters {
    let mut common = Filters {
        groups: a.groups.intersection(&b.groups).cloned().collect(),
        servers: a.servers.intersection(&b.servers).cloned().collect(),
        services: a.services.intersection(&b.services).cloned().collect(),
        users: a.users.intersection(&b.users).cloned().collect(),
    };
    for (a, b) in [(a, b), (b, a)] {
        let reaches = |user: &str| !b.groups.is_empty() && groups.in_any(user, &b.groups);
        common.users.extend(a.users.iter().filter(|user| reaches(user)).cloned());
        let servers = a.servers.iter().filter(|server| {
            let user = owner_of(server);
            b.users.contains(user) || reaches(user)
        });
        common.servers.extend(servers.cloned());
    }
    common
}

/// The part before the first slash.
fn owner_of(server: &str) -> &str {
    server.split_once('/').map_or(server, |(user, _)| user)
}
