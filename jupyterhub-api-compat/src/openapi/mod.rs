//! The OpenAPI 3.1 description of the REST API, made from [`ENDPOINTS`], the models and the table of scopes.
//!
//! What an endpoint is called, takes and answers is told by `describe`, one exhaustive match over [`EndpointId`]: a new
//! endpoint does not compile without its description.

mod answers;
mod bodies;
mod describe;
mod html;
mod parameters;
#[cfg(test)]
mod tests;

use hub_core::scopes::ScopeTable;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::ErrorBody;
use crate::endpoints::{Auth, ENDPOINTS, Endpoint, EndpointId, Segment};

pub use html::{STYLE, page};

use self::describe::{Description, describe};

/// Where component schemas are.
const SCHEMAS: &str = "#/components/schemas/";

/// What the description tells of the hub that serves it.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Version of the program.
    pub version: &'a str,
    /// Where the API is: a path such as `/hub/api`, or a URL.
    pub server: &'a str,
    /// The scopes that exist.
    pub scopes: &'a ScopeTable,
}

/// The whole document.
pub fn document(site: Site<'_>) -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    let mut schemas = settings.into_generator();
    let error = schemas.subschema_for::<ErrorBody>();
    debug_assert_eq!(error.get("$ref"), Some(&json!(format!("{SCHEMAS}ErrorBody"))));
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| !endpoint.path.is_empty()) {
        let operations = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Some(operations) = operations.as_object_mut() {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            operations.insert(method, operation(endpoint, &mut schemas));
        }
    }
    let schemas: Map<String, Value> = schemas.take_definitions(true).into_iter().collect();
    let scopes: Map<String, Value> =
        site.scopes.iter().map(|scope| (scope.name.to_owned(), json!(scope.doc))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Himalia",
            "version": site.version,
            "summary": "The REST API of JupyterHub 6.1, with the extensions of Himalia.",
            "description": "Endpoints that JupyterHub does not have are marked with `x-extension`. The scopes of which \
                an endpoint needs one are listed with its `security`, any of them will do; on what they must allow it is \
                told by `x-scope-target`.",
            "license": {"name": "BSD 3-Clause", "identifier": "BSD-3-Clause"},
        },
        "servers": [{"url": site.server}],
        "tags": describe::tags(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": answers::components(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token, as `Authorization: Bearer TOKEN` or `Authorization: token TOKEN`.",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "jupyterhub-hub-login",
                    "description": "The login cookie of a browser, together with the XSRF token of its session.",
                },
            },
        },
        "x-scopes": scopes,
    })
}

fn operation(endpoint: &Endpoint, schemas: &mut SchemaGenerator) -> Value {
    let Description { tag, summary, details, deprecated } = describe(endpoint.id);
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "tags": [tag],
        "summary": summary,
        "parameters": parameters(endpoint),
        "responses": answers::of(endpoint, schemas),
        "security": security(endpoint),
    });
    let mut put = |key: &str, value: Value| {
        if let Some(operation) = operation.as_object_mut() {
            operation.insert(key.to_owned(), value);
        }
    };
    if !details.is_empty() {
        put("description", details.into());
    }
    if let Some(body) = bodies::of(endpoint.id) {
        put("requestBody", body);
    }
    if deprecated {
        put("deprecated", true.into());
    }
    if endpoint.extension {
        put("x-extension", true.into());
    }
    if matches!(endpoint.auth, Auth::Scopes | Auth::ScopesOrBody | Auth::Metrics) {
        put("x-scope-target", format!("{:?}", endpoint.on).to_ascii_lowercase().into());
    }
    operation
}

/// The name of the handler, and for its further rows what tells them apart.
fn operation_id(endpoint: &Endpoint) -> String {
    let name = format!("{:?}", endpoint.id);
    let rows: Vec<&Endpoint> = ENDPOINTS
        .iter()
        .filter(|other| other.id == endpoint.id && !other.path.is_empty() && *other != endpoint)
        .collect();
    if rows.is_empty() {
        return name;
    }
    let last: String = endpoint
        .segments()
        .map(|segment| match segment {
            Segment::Literal(text) => text.to_owned(),
            Segment::Param { name, .. } => format!("by_{name}"),
        })
        .collect::<Vec<_>>()
        .join("_");
    format!("{name}_{}_{last}", endpoint.method.as_str().to_ascii_lowercase())
}

/// One alternative for every credential and scope that will do.
fn security(endpoint: &Endpoint) -> Value {
    let both = |scopes: &[&str]| {
        let one =
            |scheme: &str, scope: Option<&&str>| json!({scheme: scope.map_or_else(Vec::new, |s| vec![*s])});
        if scopes.is_empty() {
            return json!([one("token", None), one("cookie", None)]);
        }
        ["token", "cookie"].iter().flat_map(|scheme| scopes.iter().map(|s| one(scheme, Some(s)))).collect()
    };
    match endpoint.auth {
        Auth::Nobody | Auth::OAuthClient => json!([]),
        Auth::Anybody => both(&[]),
        Auth::Token => json!([{"token": []}]),
        Auth::Login => json!([{"cookie": []}]),
        Auth::Scopes => both(endpoint.scopes),
        Auth::Metrics | Auth::ScopesOrBody => {
            let mut security = both(endpoint.scopes);
            if let Some(alternatives) = security.as_array_mut() {
                alternatives.push(json!({}));
            }
            security
        }
    }
}

fn parameters(endpoint: &Endpoint) -> Value {
    let path = endpoint.segments().filter_map(|segment| match segment {
        Segment::Param { name, .. } => Some(parameters::in_path(name)),
        Segment::Literal(_) => None,
    });
    path.chain(parameters::of(endpoint)).collect()
}

/// Whether an answer may be repeated for the same `Idempotency-Key`: `POST`s of the API proper.
pub fn takes_idempotency_key(endpoint: &Endpoint) -> bool {
    use crate::endpoints::Method;
    endpoint.method == Method::Post
        && matches!(endpoint.auth, Auth::Scopes | Auth::ScopesOrBody)
        && endpoint.id != EndpointId::TokenEndpointGone
}
