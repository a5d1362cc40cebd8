use std::collections::BTreeSet;

use hub_core::scopes::ScopeTable;

use super::*;
use crate::recorded;

/// The expression that stock registers, or one of two where one of its parts is optional.
fn as_stock(endpoint: &Endpoint) -> Vec<String> {
    let pattern: String = endpoint
        .segments()
        .map(|segment| match segment {
            Segment::Literal(text) => format!("/{text}"),
            Segment::Param { may_be_empty: true, .. } => "/([^/]*)".to_owned(),
            Segment::Param { may_be_empty: false, .. } => "/([^/]+)".to_owned(),
        })
        .collect();
    match pattern.as_str() {
        "" | "/" => vec!["/?".to_owned()],
        "/authorizations/cookie/([^/]+)" | "/authorizations/cookie/([^/]+)/([^/]+)" => {
            vec!["/authorizations/cookie/([^/]+)(?:/([^/]+))?".to_owned()]
        }
        "/health" | "/metrics" => vec![format!("{pattern}$")],
        _ => vec![pattern],
    }
}

/// The scope filter that stock builds from the names of the handler's arguments.
fn target(arguments: &[&str], path: &str, lists: bool) -> Target {
    let has = |name: &str| arguments.contains(&name);
    if lists {
        Target::List
    } else if path == "/shares/([^/]+)" || path == "/share-codes/([^/]+)" {
        // See `EndpointId::ListOwnerShares`.
        Target::User
    } else if has("server_name") {
        Target::Server
    } else if has("user_name") {
        Target::User
    } else if has("group_name") {
        Target::Group
    } else if has("service_name") {
        Target::Service
    } else {
        Target::None
    }
}

#[test]
fn the_table_has_every_route_of_stock_with_its_scopes_and_nothing_else_but_extensions() {
    let mut ours: BTreeSet<(String, &str)> = BTreeSet::new();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| !endpoint.extension) {
        ours.extend(as_stock(endpoint).into_iter().map(|path| (path, endpoint.method.as_str())));
    }
    let routes = recorded::section("routes");
    for route in &routes {
        let (path, method) = (route["path"].as_str().unwrap(), route["method"].as_str().unwrap());
        // Registered for servers only; without one they answer 405 to everybody who may do it.
        let only_405 = matches!(path, "/shares/([^/]+)" | "/share-codes/([^/]+)") && method != "GET";
        if only_405 {
            continue;
        }
        assert!(ours.remove(&(path.to_owned(), method)), "{route} is missing");
        let strings =
            |key: &str| route[key].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
        let (scopes, arguments): (Vec<&str>, Vec<&str>) = (strings("scopes"), strings("arguments"));
        let matching = ENDPOINTS
            .iter()
            .filter(|endpoint| endpoint.method.as_str() == method && as_stock(endpoint)[0] == path);
        for endpoint in matching {
            if scopes.is_empty() {
                assert_ne!(endpoint.auth, Auth::Scopes, "{endpoint:?}");
            } else {
                assert_eq!(endpoint.auth, Auth::Scopes, "{endpoint:?}");
                assert_eq!(endpoint.scopes, scopes, "{endpoint:?}");
                let lists = route["post_filter"].as_bool().unwrap();
                assert_eq!(endpoint.on, target(&arguments, path, lists), "{endpoint:?}");
            }
        }
    }
    assert_eq!(ours, BTreeSet::new(), "not in stock and not marked as extensions");
}

#[test]
fn scopes_exist_and_are_asked_for_exactly_where_they_count() {
    let table = ScopeTable::stock();
    for endpoint in ENDPOINTS {
        assert!(endpoint.scopes.iter().all(|scope| table.contains(scope)), "{endpoint:?}");
        let counts = matches!(endpoint.auth, Auth::Scopes | Auth::ScopesOrBody | Auth::Metrics);
        assert_eq!(counts, !endpoint.scopes.is_empty(), "{endpoint:?}");
    }
}

#[test]
fn targets_are_named_in_the_path() {
    for endpoint in ENDPOINTS {
        let named = |name: &str| endpoint.path.contains(&format!("{{{name}}}"));
        let fine = match endpoint.on {
            Target::None | Target::List => !named("user") && !named("group") && !named("service"),
            Target::User => named("user"),
            Target::Server => named("user") && (named("server") || endpoint.path.contains("/server")),
            Target::Group => named("group"),
            Target::Service => named("service"),
        };
        assert!(fine, "{endpoint:?}");
    }
}

#[test]
fn no_two_rows_are_for_the_same_request() {
    let mut seen = BTreeSet::new();
    for endpoint in ENDPOINTS {
        let literal = |segment| match segment {
            Segment::Literal(text) => Some(text),
            Segment::Param { .. } => None,
        };
        let path: Vec<Option<&str>> = endpoint.segments().map(literal).collect();
        assert!(seen.insert((endpoint.method, path)), "{endpoint:?}");
    }
}

#[test]
fn callers_are_let_in_or_told_why_not() {
    let answer = |id: EndpointId, scopes: &[&str], on: &Resource<'_>| {
        let scopes = ScopeSet::from_expanded(scopes).unwrap();
        let endpoint = of(id).next().unwrap();
        endpoint.refusal(endpoint.decide(&scopes, on)).map(|error| (error.status, error.message.unwrap()))
    };
    let ada = Resource::User { name: "ada", groups: &[] };
    assert_eq!(answer(EndpointId::ListUsers, &["list:users!user=bob"], &Resource::None), None);
    assert_eq!(answer(EndpointId::GetUser, &["read:users:activity!user=ada"], &ada), None);
    assert_eq!(
        answer(EndpointId::GetUser, &["read:users:activity!user=bob"], &ada),
        Some((404, "No access to resources or resources not found".to_owned()))
    );
    let lacking = "Action is not authorized with current scopes; requires any of [read:groups, read:groups:name, \
                   read:roles:groups]";
    assert_eq!(
        answer(EndpointId::GetGroup, &["read:users"], &Resource::Group("maths")),
        Some((403, lacking.to_owned()))
    );
    let lacking = "Action is not authorized with current scopes; requires any of [list:users]";
    assert_eq!(answer(EndpointId::ListUsers, &["users"], &Resource::None), Some((403, lacking.to_owned())));
}

#[test]
fn only_what_proves_itself_otherwise_is_exempt_from_xsrf() {
    let exempt: BTreeSet<EndpointId> =
        ENDPOINTS.iter().filter(|e| e.xsrf == Xsrf::Exempt).map(|endpoint| endpoint.id).collect();
    let expected = [
        EndpointId::GetVersion,
        EndpointId::TokenOwner,
        EndpointId::TokenEndpointGone,
        EndpointId::ExchangeToken,
        EndpointId::OpenApi,
        EndpointId::Docs,
    ];
    assert_eq!(exempt, BTreeSet::from(expected));
}
