//! Laws that hold for all scopes, against a model that enumerates who may do what to each of a few things.

use std::collections::{BTreeMap, BTreeSet};

use hub_core::scopes::{ExpandContext, Owner, Resource, ScopeSet, ScopeTable};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const USERS: [&str; 3] = ["ada", "bob", "cy"];
const SERVERS: [&str; 4] = ["ada/", "ada/lab", "bob/lab", "cy/"];
const GROUPS: [&str; 2] = ["maths", "art"];
const SERVICES: [&str; 2] = ["cull", "grade"];

fn membership() -> BTreeMap<String, BTreeSet<String>> {
    let of = |groups: &[&str]| groups.iter().map(ToString::to_string).collect();
    BTreeMap::from([("ada".to_owned(), of(&["maths"])), ("bob".to_owned(), of(&["maths", "art"]))])
}

fn filter(groups: bool) -> impl Strategy<Value = String> {
    let mut all = vec![String::new()];
    all.extend(USERS.iter().map(|name| format!("!user={name}")));
    all.extend(SERVERS.iter().map(|name| format!("!server={name}")));
    all.extend(SERVICES.iter().map(|name| format!("!service={name}")));
    if groups {
        all.extend(GROUPS.iter().map(|name| format!("!group={name}")));
    }
    select(all)
}

fn names() -> Vec<String> {
    ScopeTable::stock().iter().map(|scope| scope.name.to_owned()).collect()
}

/// Any scopes of the table.
fn any_scopes() -> impl Strategy<Value = Vec<String>> {
    vec((select(names()), filter(true)).prop_map(|(name, filter)| name + &filter), 0..6)
}

/// Scopes of two names only, so that two lists meet.
fn close_scopes(groups: bool) -> impl Strategy<Value = Vec<String>> {
    let names = select(vec!["servers", "read:users"]);
    vec((names, filter(groups)).prop_map(|(name, filter)| format!("{name}{filter}")), 0..6)
}

/// Every scope on every thing that the texts allow, by looking for the texts that would.
fn meaning(texts: &[String]) -> BTreeSet<(String, String)> {
    let held: BTreeSet<&str> = texts.iter().map(String::as_str).collect();
    let membership = membership();
    let mut allowed = BTreeSet::new();
    for name in texts.iter().map(|text| text.split('!').next().unwrap_or_default()) {
        let by_user = |user: &str| {
            let groups = membership.get(user).cloned().unwrap_or_default();
            let mut ways = vec![format!("{name}!user={user}")];
            ways.extend(groups.into_iter().map(|group| format!("{name}!group={group}")));
            ways
        };
        let mut things = vec![("anything".to_owned(), Vec::new())];
        things.extend(USERS.iter().map(|user| (format!("user {user}"), by_user(user))));
        things.extend(SERVERS.iter().map(|server| {
            let mut ways = by_user(server.split('/').next().unwrap_or_default());
            ways.push(format!("{name}!server={server}"));
            (format!("server {server}"), ways)
        }));
        things.extend(
            GROUPS.iter().map(|group| (format!("group {group}"), vec![format!("{name}!group={group}")])),
        );
        things.extend(
            SERVICES
                .iter()
                .map(|service| (format!("service {service}"), vec![format!("{name}!service={service}")])),
        );
        for (thing, ways) in things {
            if held.contains(name) || ways.iter().any(|way| held.contains(way.as_str())) {
                allowed.insert((name.to_owned(), thing));
            }
        }
    }
    allowed
}

/// The same by asking the set.
fn asked(set: &ScopeSet) -> BTreeSet<(String, String)> {
    let membership = membership();
    let groups_of =
        |user: &str| membership.get(user).cloned().unwrap_or_default().into_iter().collect::<Vec<_>>();
    let mut allowed = BTreeSet::new();
    for (name, _) in set.iter() {
        let mut ask = |thing: String, on: Resource<'_>| {
            if set.allows(name, &on) {
                allowed.insert((name.to_owned(), thing));
            }
        };
        ask("anything".to_owned(), Resource::None);
        for user in USERS {
            ask(format!("user {user}"), Resource::User { name: user, groups: &groups_of(user) });
        }
        for key in SERVERS {
            let (user, server) = key.split_once('/').unwrap();
            ask(format!("server {key}"), Resource::Server { user, server, user_groups: &groups_of(user) });
        }
        for group in GROUPS {
            ask(format!("group {group}"), Resource::Group(group));
        }
        for service in SERVICES {
            ask(format!("service {service}"), Resource::Service(service));
        }
    }
    allowed
}

/// Expansion one step at a time, on texts, until nothing new comes.
fn expand_naively(texts: &[String]) -> BTreeSet<String> {
    let table = ScopeTable::stock();
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut todo: Vec<String> = texts.to_vec();
    while let Some(text) = todo.pop() {
        let (name, filter) = text.split_once('!').unwrap_or((&text, ""));
        let bang = if filter.is_empty() { "" } else { "!" };
        for subscope in table.get(name).unwrap().subscopes {
            todo.push(format!("{subscope}{bang}{filter}"));
        }
        if !(name == "self" && filter.is_empty()
            || filter.starts_with("server") && name.starts_with("read:user"))
        {
            done.insert(text);
        }
    }
    let whole: BTreeSet<String> = done.iter().filter(|text| !text.contains('!')).cloned().collect();
    done.retain(|text| text.split_once('!').is_none_or(|(name, _)| !whole.contains(name)));
    done
}

fn expand(texts: &[String]) -> ScopeSet {
    ScopeTable::stock().expand_stored(texts, &ExpandContext::default()).scopes
}

proptest! {
    #[test]
    fn expansion_is_the_same_step_by_step(texts in any_scopes()) {
        let ours: BTreeSet<String> = expand(&texts).to_vec().into_iter().collect();
        prop_assert_eq!(ours, expand_naively(&texts));
    }

    #[test]
    fn expanding_twice_changes_nothing(texts in any_scopes()) {
        let once = expand(&texts);
        prop_assert_eq!(expand(&once.to_vec()), once);
    }

    #[test]
    fn more_scopes_never_allow_less(texts in any_scopes(), more in any_scopes()) {
        let all: Vec<String> = texts.iter().chain(&more).cloned().collect();
        prop_assert!(asked(&expand(&texts)).is_subset(&asked(&expand(&all))));
    }

    #[test]
    fn a_set_allows_what_its_texts_say(texts in any_scopes()) {
        let set = ScopeSet::from_expanded(&texts).unwrap();
        prop_assert_eq!(asked(&set), meaning(&texts));
        prop_assert_eq!(ScopeSet::from_expanded(set.to_vec()).unwrap(), set);
    }

    #[test]
    fn texts_come_out_sorted_and_once(texts in any_scopes()) {
        let written = expand(&texts).to_vec();
        let sorted: Vec<String> = written.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        prop_assert_eq!(written, sorted);
    }

    #[test]
    fn an_intersection_allows_only_what_both_sides_allow(a in close_scopes(true), b in close_scopes(true)) {
        let common = expand(&a).intersect(&expand(&b), &membership());
        let both: BTreeSet<_> = asked(&expand(&a)).intersection(&asked(&expand(&b))).cloned().collect();
        prop_assert!(asked(&common).is_subset(&both));
    }

    #[test]
    fn with_groups_on_one_side_an_intersection_allows_all_that_both_allow(
        a in close_scopes(true), b in close_scopes(false),
    ) {
        let common = expand(&a).intersect(&expand(&b), &membership());
        let both: BTreeSet<_> = asked(&expand(&a)).intersection(&asked(&expand(&b))).cloned().collect();
        prop_assert_eq!(asked(&common), both);
    }

    #[test]
    fn intersecting_is_symmetric_and_harmless_with_itself(a in close_scopes(true), b in close_scopes(true)) {
        let (a, b, groups) = (expand(&a), expand(&b), membership());
        prop_assert_eq!(a.intersect(&b, &groups), b.intersect(&a, &groups));
        prop_assert_eq!(asked(&a.intersect(&a, &groups)), asked(&a));
    }

    #[test]
    fn a_wider_side_never_narrows_an_intersection(
        a in close_scopes(true), more in close_scopes(true), b in close_scopes(true),
    ) {
        let wider: Vec<String> = a.iter().chain(&more).cloned().collect();
        let (b, groups) = (expand(&b), membership());
        let narrow = asked(&expand(&a).intersect(&b, &groups));
        prop_assert!(narrow.is_subset(&asked(&expand(&wider).intersect(&b, &groups))));
    }

    #[test]
    fn only_the_named_users_are_looked_up(a in close_scopes(true), b in close_scopes(true)) {
        let (a, b) = (expand(&a), expand(&b));
        let named = a.users_to_look_up(&b);
        let some: BTreeMap<_, _> = membership().into_iter().filter(|(user, _)| named.contains(user)).collect();
        prop_assert_eq!(a.intersect(&b, &some), a.intersect(&b, &membership()));
    }

    #[test]
    fn no_text_makes_the_grammar_panic(text in "\\PC{0,40}") {
        let table = ScopeTable::stock();
        if let Ok(scope) = table.parse(&text) {
            let again = table.parse(&scope.to_string()).unwrap();
            prop_assert_eq!(again, scope);
        }
        table.expand_stored([&text], &ExpandContext::owner(Owner::User("ada")));
    }
}
