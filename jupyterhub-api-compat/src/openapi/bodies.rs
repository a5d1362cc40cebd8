//! Bodies of requests. What is accepted is decided by the readers in [`crate::requests`]; a test holds the two
//! together.

use serde_json::{Map, Value, json};

use crate::endpoints::EndpointId;

fn object(properties: Value, required: &[&str]) -> Value {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties);
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    Value::Object(schema)
}

/// The same with no other keys.
fn closed(properties: Value, required: &[&str]) -> Value {
    let mut schema = object(properties, required);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
    schema
}

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

fn nullable(kind: &str) -> Value {
    json!({"type": [kind, "null"]})
}

#[expect(clippy::needless_pass_by_value, reason = "the schema becomes part of the body")]
fn json_body(required: bool, schema: Value) -> Value {
    json!({"required": required, "content": {"application/json": {"schema": schema}}})
}

/// `{display_name?, user_options?}`.
fn server_options() -> Value {
    object(
        json!({
            "display_name": {"type": "string", "description": "What people see."},
            "user_options": {
                "type": ["object", "null"],
                "description": "Options for the spawner; those of the last start where there are none.",
            },
        }),
        &[],
    )
}

fn share() -> Value {
    closed(
        json!({
            "user": {"type": "string", "description": "With whom; either this or `group`."},
            "group": {"type": "string"},
            "scopes": {"type": ["array", "null"], "items": {"type": "string"}},
        }),
        &[],
    )
}

fn bulk(server: Value) -> Value {
    closed(
        json!({"servers": {
            "type": "array",
            "minItems": 1,
            "maxItems": crate::requests::BulkServers::MOST,
            "items": closed(server, &["user"]),
        }}),
        &["servers"],
    )
}

/// The body of an endpoint, none if it takes none.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn of(id: EndpointId) -> Option<Value> {
    use EndpointId as Id;
    let name = json!({"type": "string", "minLength": 1});
    Some(match id {
        Id::Shutdown => json_body(
            false,
            object(
                json!({
                    "proxy": {"type": "boolean", "description": "End the proxy, too."},
                    "servers": {"type": "boolean", "description": "Stop all servers, too."},
                }),
                &[],
            ),
        ),
        Id::MoveProxy => json_body(
            true,
            object(json!({"api_url": nullable("string"), "auth_token": nullable("string")}), &[]),
        ),
        Id::CreateUsers => json_body(
            true,
            closed(
                json!({
                    "usernames": {"type": "array", "minItems": 1, "items": name},
                    "admin": {"type": "boolean"},
                }),
                &["usernames"],
            ),
        ),
        Id::CreateUser => json_body(false, closed(json!({"admin": {"type": "boolean"}}), &[])),
        Id::EditUser => json_body(
            true,
            closed(
                json!({
                    "name": {"type": "string"},
                    "admin": {"type": "boolean"},
                    "auth_state": {"type": "object"},
                }),
                &[],
            ),
        ),
        Id::PostActivity => json_body(
            true,
            object(
                json!({
                    "last_activity": {"type": "string", "format": "date-time"},
                    "servers": {
                        "type": "object",
                        "additionalProperties": object(
                            json!({"last_activity": {"type": "string", "format": "date-time"}}),
                            &["last_activity"],
                        ),
                    },
                }),
                &[],
            ),
        ),
        Id::CreateServer | Id::StartServer | Id::RestartServer => json_body(false, server_options()),
        Id::EditServer => json_body(
            true,
            closed(
                json!({
                    "name": nullable("string"),
                    "display_name": {"type": "string"},
                    "user_options": {"type": "object"},
                }),
                &[],
            ),
        ),
        Id::StopServer => json_body(
            false,
            object(
                json!({"remove": {"type": "boolean", "description": "Delete the named server once it has stopped."}}),
                &[],
            ),
        ),
        Id::CreateToken => json_body(
            false,
            object(
                json!({
                    "note": nullable("string"),
                    "expires_in": {"type": ["integer", "null"], "minimum": 1, "description": "Seconds."},
                    "scopes": {"type": ["array", "null"], "items": {"type": "string"}},
                    "roles": {"type": ["array", "null"], "items": {"type": "string"}, "deprecated": true},
                    "auth": {"description": "Proof of identity of a caller without credentials."},
                }),
                &[],
            ),
        ),
        Id::CreateGroups => json_body(
            true,
            closed(
                json!({
                    "groups": {"type": "array", "minItems": 1, "items": name},
                    "users": texts(),
                }),
                &["groups"],
            ),
        ),
        Id::CreateGroup => json_body(false, closed(json!({"users": texts()}), &[])),
        Id::AddGroupUsers | Id::RemoveGroupUsers => {
            json_body(true, closed(json!({"users": texts()}), &["users"]))
        }
        Id::SetGroupProperties => json_body(true, json!({"type": "object"})),
        Id::CreateService => json_body(
            true,
            closed(
                json!({
                    "admin": {"type": "boolean"},
                    "url": {"type": "string"},
                    "api_token": {"type": "string"},
                    "info": {"type": "object"},
                    "display": {"type": "boolean"},
                    "oauth_no_confirm": {"type": "boolean"},
                    "oauth_client_id": {"type": "string"},
                    "oauth_redirect_uri": {"type": "string"},
                    "oauth_client_allowed_scopes": texts(),
                    "cwd": {"type": "string"},
                    "environment": {"type": "object", "additionalProperties": {"type": "string"}},
                    "user": {"type": "string"},
                }),
                &[],
            ),
        ),
        Id::GrantShare | Id::RevokeShare => json_body(true, share()),
        Id::CreateShareCode => json_body(
            false,
            closed(
                json!({
                    "scopes": {"type": ["array", "null"], "items": {"type": "string"}},
                    "expires_in": {"type": "integer", "minimum": 60, "maximum": 31_536_000, "default": 86_400},
                }),
                &[],
            ),
        ),
        Id::StartServers => json_body(
            true,
            bulk(json!({"user": name, "server": {"type": "string"}, "user_options": nullable("object")})),
        ),
        Id::StopServers => json_body(true, bulk(json!({"user": name, "server": {"type": "string"}}))),
        Id::ConfirmAuthorize => json!({
            "required": true,
            "content": {"application/x-www-form-urlencoded": {"schema": object(
                json!({"scopes": texts(), "_xsrf": {"type": "string"}}),
                &[],
            )}},
        }),
        Id::ExchangeToken => json!({
            "required": true,
            "content": {"application/x-www-form-urlencoded": {"schema": object(
                json!({
                    "grant_type": {"type": "string", "enum": ["authorization_code"]},
                    "client_id": {"type": "string"},
                    "client_secret": {"type": "string"},
                    "code": {"type": "string"},
                    "redirect_uri": {"type": "string"},
                    "code_verifier": {"type": "string"},
                }),
                &["grant_type", "client_id", "client_secret", "code"],
            )}},
        }),
        _ => return None,
    })
}
