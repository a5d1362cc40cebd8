//! Arguments in the path, the query and the headers.

use serde_json::{Value, json};

use crate::endpoints::{Endpoint, EndpointId};

/// An argument of the path.
pub(super) fn in_path(name: &str) -> Value {
    let description = match name {
        "user" => "Name of a user.",
        "server" => "Name of a server. Nothing at all is the default server.",
        "group" => "Name of a group.",
        "service" => "Name of a service.",
        "token" => "Id of a token: `a` and a number.",
        "owner" => "Name of the user whose server is shared.",
        "shared_server" => "Name of the server that is shared. Nothing at all is the default server.",
        "secret" => "A token itself.",
        "cookie" => "Name of a cookie.",
        "value" => "Value of the cookie.",
        _ => "",
    };
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": description,
        "schema": {"type": "string", "minLength": 1},
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the schema becomes part of the parameter")]
fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

#[expect(clippy::needless_pass_by_value, reason = "the schema becomes part of the parameter")]
fn header(name: &str, description: &str, schema: Value) -> Value {
    json!({"name": name, "in": "header", "description": description, "schema": schema})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn pages() -> Vec<Value> {
    vec![
        query("offset", "How many items to skip.", json!({"type": "integer", "minimum": 0, "default": 0})),
        query("limit", "How many items at most.", json!({"type": "integer", "minimum": 1})),
    ]
}

fn stopped_servers() -> Value {
    query(
        "include_stopped_servers",
        "Whether models hold servers that are stopped: anything but `0` and `false`.",
        text(),
    )
}

fn wait() -> Vec<Value> {
    vec![
        query(
            "wait",
            "`ready`: answer only when the server is ready, its start has failed, or the time is up.",
            json!({"type": "string", "enum": ["ready"]}),
        ),
        query(
            "timeout",
            "Seconds to wait for at most, with `wait`.",
            json!({"type": "integer", "minimum": 0, "maximum": 300, "default": 60}),
        ),
    ]
}

fn of_user() -> Value {
    query("user", "Whose logins; without, the caller's own.", json!({"type": "string", "minLength": 1}))
}

fn last_event_id() -> Value {
    header("Last-Event-ID", "Id of the last event that was read: the stream goes on after it.", text())
}

/// The arguments of an endpoint but for those in its path.
pub(super) fn of(endpoint: &Endpoint) -> Vec<Value> {
    use EndpointId as Id;
    let mut parameters = match endpoint.id {
        Id::ListUsers => {
            let mut all = vec![
                query(
                    "state",
                    "Only users with a server that is ready or pending, with one that is ready, or with none of either.",
                    json!({"type": "string", "enum": ["active", "ready", "inactive"]}),
                ),
                query("name_filter", "Only users with this in their name.", text()),
                query(
                    "sort",
                    "By what to sort, `-` before it for the other direction.",
                    json!({
                        "type": "string",
                        "enum": ["id", "-id", "name", "-name", "last_activity", "-last_activity"],
                        "default": "id",
                    }),
                ),
                stopped_servers(),
            ];
            all.extend(pages());
            all
        }
        Id::GetUser | Id::WhoAmI => vec![stopped_servers()],
        Id::ListGroups
        | Id::GetProxy
        | Id::ListOwnerShares
        | Id::ListServerShares
        | Id::ListOwnerShareCodes
        | Id::ListServerShareCodes
        | Id::ListUserShared
        | Id::ListGroupShared => pages(),
        Id::GetServer | Id::StartServer | Id::RestartServer => wait(),
        Id::Progress => vec![
            query("details", "With any value: finer steps, and failures with cause and log.", text()),
            last_event_id(),
        ],
        Id::Events => vec![
            query(
                "user",
                "Only events of the servers of this user.",
                json!({"type": "string", "minLength": 1}),
            ),
            last_event_id(),
        ],
        Id::ListSessions => vec![of_user()],
        Id::EndSessions => vec![
            of_user(),
            query(
                "others",
                "`true`: the login of the browser that asks stays.",
                json!({"type": "string", "enum": ["true"]}),
            ),
        ],
        Id::DeleteShareCodes => {
            vec![query("id", "Only the code with this id.", text()), query("code", "Only this code.", text())]
        }
        Id::ExplainOwn | Id::ExplainToken => vec![
            query("scope", "A scope to decide about, without a filter.", text()),
            query("on_user", "Decide about this user, with `on_server` about a server of theirs.", text()),
            query("on_server", "Decide about this server of `on_user`.", text()),
            query("on_group", "Decide about this group.", text()),
            query("on_service", "Decide about this service.", text()),
        ],
        Id::Authorize | Id::ConfirmAuthorize => {
            let required = |name: &str, description: &str| {
                let mut query = query(name, description, text());
                if let Some(query) = query.as_object_mut() {
                    query.insert("required".to_owned(), true.into());
                }
                query
            };
            vec![
                required("client_id", "Identifier of the OAuth client."),
                query("redirect_uri", "Where to go on: the registered address.", text()),
                required("response_type", "`code`."),
                query("state", "Handed back unchanged.", text()),
                query("scope", "Scopes asked for, separated by spaces.", text()),
                query("code_challenge", "PKCE challenge.", text()),
                query("code_challenge_method", "`S256` or `plain`.", text()),
            ]
        }
        _ => Vec::new(),
    };
    if super::takes_idempotency_key(endpoint) {
        parameters.push(header(
            "Idempotency-Key",
            "The caller's name for this call: sent again within the hour, with the same body, it gets the answer of the \
             first time and nothing is done twice.",
            json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}),
        ));
    }
    parameters
}
