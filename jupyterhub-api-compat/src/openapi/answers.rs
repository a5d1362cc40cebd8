//! Answers: what success looks like, and which errors there may be.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::bodies;
use crate::endpoints::{Auth, Endpoint, EndpointId, Method, Target};
use crate::models::{
    BulkAnswer, Explanation, Group, Info, SelfModel, Server, Service, SessionList, Share, ShareCode,
    ShuttingDown, Token, TokenCreated, TokenList, User, Version, VolumeList,
};
use crate::pagination::Page;

/// The shared answers to calls that fail, by status.
const ERRORS: [(u16, &str); 10] = [
    (400, "The request makes no sense; the message tells why."),
    (403, "No credentials, or they do not allow it."),
    (404, "There is no such thing, or the credentials do not show it."),
    (405, "The thing is there but does not take this."),
    (409, "It is there already, or something else is under way."),
    (413, "The body is too large."),
    (422, "The idempotency key was used for another call."),
    (429, "Too many at once; `Retry-After` tells when to come again."),
    (500, "The hub failed, or a server did not start."),
    (503, "The hub cannot do it at the moment; `Retry-After` tells when to come again."),
];

fn error_name(status: u16) -> String {
    format!("Error{status}")
}

/// `components/responses`.
pub(super) fn components() -> Value {
    let one = |(status, description): &(u16, &str)| {
        let mut answer = json!({
            "description": description,
            "content": {"application/json": {"schema": {"$ref": format!("{}ErrorBody", super::SCHEMAS)}}},
        });
        if matches!(status, 429 | 503)
            && let Some(answer) = answer.as_object_mut()
        {
            let seconds = json!({"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}});
            answer.insert("headers".to_owned(), seconds);
        }
        (error_name(*status), answer)
    };
    Value::Object(ERRORS.iter().map(one).collect())
}

/// What a success holds.
enum Content {
    Nothing,
    Json(Schema),
    Other(&'static str),
    /// Server-sent events. What one holds, OpenAPI has no words for before 3.2.
    Events,
}

fn model<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Content {
    Content::Json(schemas.subschema_for::<T>())
}

/// A bare list, or a page for clients that understand pages.
fn list<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Content {
    let (bare, page) = (schemas.subschema_for::<T>(), schemas.subschema_for::<Page<T>>());
    Content::Json(schemars::json_schema!({"anyOf": [bare, page]}))
}

/// A model, or nothing of it where the credentials show nothing.
fn or_empty<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Content {
    let model = schemas.subschema_for::<T>();
    Content::Json(schemars::json_schema!({"anyOf": [model, {"type": "object", "maxProperties": 0}]}))
}

type Routes = BTreeMap<String, Value>;

/// The statuses of success, each with its content.
#[expect(clippy::match_same_arms, reason = "in the order of the table of endpoints")]
fn successes(id: EndpointId, schemas: &mut SchemaGenerator) -> Vec<(u16, Content)> {
    use EndpointId as Id;
    let nothing = |status: u16| (status, Content::Nothing);
    match id {
        Id::GetVersion => vec![(200, model::<Version>(schemas))],
        Id::Health => vec![(200, Content::Other("text/html"))],
        Id::Metrics => vec![(200, Content::Other("text/plain"))],
        Id::GetInfo => vec![(200, model::<Info>(schemas))],
        Id::Shutdown => vec![(202, model::<ShuttingDown>(schemas))],
        Id::GetProxy => vec![(200, list::<Routes>(schemas))],
        Id::CheckProxy | Id::MoveProxy | Id::PostActivity | Id::AdminAccess => vec![nothing(200)],
        Id::WhoAmI => vec![(200, model::<SelfModel>(schemas))],
        Id::ListUsers => vec![(200, list::<Vec<User>>(schemas))],
        Id::CreateUsers => vec![(201, model::<Vec<User>>(schemas))],
        Id::GetUser | Id::EditUser => vec![(200, or_empty::<User>(schemas))],
        Id::CreateUser => vec![(201, or_empty::<User>(schemas))],
        Id::DeleteUser | Id::DeleteToken | Id::LeaveUserShared | Id::LeaveGroupShared | Id::DeleteGroup => {
            vec![nothing(204)]
        }
        Id::DeleteService => vec![nothing(200)],
        Id::GetServer => vec![(200, model::<Server>(schemas)), (202, model::<Server>(schemas))],
        Id::EditServer => vec![(200, model::<Server>(schemas))],
        Id::CreateServer => vec![(201, model::<Server>(schemas))],
        Id::StartServer | Id::RestartServer => vec![nothing(201), nothing(202)],
        Id::StopServer => vec![nothing(202), nothing(204)],
        Id::Progress | Id::Events => vec![(200, Content::Events)],
        Id::ListTokens => vec![(200, model::<TokenList>(schemas))],
        Id::CreateToken => vec![(201, model::<TokenCreated>(schemas))],
        Id::GetToken => vec![(200, model::<Token>(schemas))],
        Id::ListUserShared | Id::ListGroupShared | Id::ListOwnerShares | Id::ListServerShares => {
            vec![(200, model::<Page<Vec<Share>>>(schemas))]
        }
        Id::GetUserShared | Id::GetGroupShared | Id::GrantShare => vec![(200, model::<Share>(schemas))],
        Id::RevokeShare => vec![(200, or_empty::<Share>(schemas))],
        Id::DeleteShares | Id::DeleteShareCodes => vec![nothing(204)],
        Id::ListOwnerShareCodes | Id::ListServerShareCodes => {
            vec![(200, model::<Page<Vec<ShareCode>>>(schemas))]
        }
        Id::CreateShareCode => vec![(200, model::<ShareCode>(schemas))],
        Id::ListGroups => vec![(200, list::<Vec<Group>>(schemas))],
        Id::CreateGroups => vec![(201, model::<Vec<Group>>(schemas))],
        Id::GetGroup | Id::AddGroupUsers | Id::RemoveGroupUsers | Id::SetGroupProperties => {
            vec![(200, or_empty::<Group>(schemas))]
        }
        Id::CreateGroup => vec![(201, or_empty::<Group>(schemas))],
        Id::ListServices => vec![(200, model::<BTreeMap<String, Service>>(schemas))],
        Id::GetService => vec![(200, or_empty::<Service>(schemas))],
        Id::CreateService => vec![(201, or_empty::<Service>(schemas))],
        Id::TokenOwner => vec![(200, or_empty::<crate::models::Identified>(schemas))],
        Id::CookieOwner => vec![(200, or_empty::<User>(schemas))],
        Id::TokenEndpointGone => Vec::new(),
        Id::Authorize | Id::ConfirmAuthorize => vec![(200, Content::Other("text/html")), nothing(302)],
        Id::ExchangeToken => vec![(200, Content::Json(oauth_token()))],
        Id::OpenApi => vec![(200, Content::Json(schemars::json_schema!({"type": "object"})))],
        Id::Docs => vec![(200, Content::Other("text/html"))],
        Id::StartServers | Id::StopServers => vec![(200, model::<BulkAnswer>(schemas))],
        Id::ListSessions => vec![(200, model::<SessionList>(schemas))],
        Id::EndSessions | Id::EndSession => vec![nothing(204)],
        Id::ListVolumes => vec![(200, model::<VolumeList>(schemas))],
        Id::ExplainOwn | Id::ExplainToken => vec![(200, model::<Explanation>(schemas))],
    }
}

fn oauth_token() -> Schema {
    schemars::json_schema!({
        "type": "object",
        "required": ["access_token", "expires_in", "token_type", "scope"],
        "properties": {
            "access_token": {"type": "string"},
            "expires_in": {"type": "integer"},
            "token_type": {"const": "Bearer"},
            "scope": {"type": "string"},
        },
    })
}

/// The errors beyond those that follow from the row of the table.
fn further_errors(id: EndpointId) -> &'static [u16] {
    use EndpointId as Id;
    match id {
        Id::CreateUsers
        | Id::CreateUser
        | Id::CreateServer
        | Id::EditServer
        | Id::CreateGroups
        | Id::CreateGroup
        | Id::CreateService => &[409],
        Id::GetServer => &[409, 500],
        Id::StartServer | Id::RestartServer => &[409, 429, 500],
        Id::StopServer | Id::MoveProxy => &[500],
        Id::DeleteService => &[405],
        Id::TokenEndpointGone
        | Id::TokenOwner
        | Id::CookieOwner
        | Id::ListSessions
        | Id::EndSessions
        | Id::EndSession => &[404],
        Id::Events => &[429],
        _ => &[],
    }
}

fn errors(endpoint: &Endpoint) -> BTreeSet<u16> {
    let mut errors: BTreeSet<u16> = further_errors(endpoint.id).iter().copied().collect();
    let has_arguments = endpoint.path.contains('{') || !super::parameters::of(endpoint).is_empty();
    let has_body = bodies::of(endpoint.id).is_some();
    if has_arguments || has_body {
        errors.insert(400);
    }
    // Whatever is sent with a call is read, whether the call takes a body or not.
    if !matches!(endpoint.method, Method::Head) && endpoint.auth != Auth::Nobody {
        errors.insert(413);
    }
    if !matches!(endpoint.auth, Auth::Nobody | Auth::OAuthClient) {
        errors.insert(403);
    }
    if !matches!(endpoint.on, Target::None | Target::List) {
        errors.insert(404);
    }
    if super::takes_idempotency_key(endpoint) {
        errors.extend([400, 409, 422]);
    }
    errors.insert(503);
    errors
}

/// All answers of an endpoint.
pub(super) fn of(endpoint: &Endpoint, schemas: &mut SchemaGenerator) -> Value {
    let mut answers = Map::new();
    for (status, content) in successes(endpoint.id, schemas) {
        let mut answer = Map::new();
        answer.insert("description".to_owned(), meaning(status).into());
        let content = if endpoint.method == Method::Head { Content::Nothing } else { content };
        match content {
            Content::Nothing => {}
            Content::Json(schema) => {
                let content = json!({"application/json": {"schema": schema}});
                answer.insert("content".to_owned(), content);
            }
            Content::Events => {
                answer.insert("content".to_owned(), json!({"text/event-stream": {}}));
            }
            Content::Other(media) => {
                answer.insert("content".to_owned(), json!({media: {"schema": {"type": "string"}}}));
            }
        }
        answers.insert(status.to_string(), Value::Object(answer));
    }
    for status in errors(endpoint) {
        // Whoever may not see the metrics gets the page that people get, as in stock.
        let answer = match ERRORS.iter().find(|(known, _)| *known == status) {
            Some((_, description)) if endpoint.id == EndpointId::Metrics => {
                json!({"description": description, "content": {"text/html": {"schema": {"type": "string"}}}})
            }
            _ => json!({"$ref": format!("#/components/responses/{}", error_name(status))}),
        };
        answers.insert(status.to_string(), answer);
    }
    if endpoint.auth == Auth::OAuthClient {
        oauth_errors(&mut answers);
    }
    Value::Object(answers)
}

/// The errors of OAuth have their own shape.
fn oauth_errors(answers: &mut Map<String, Value>) {
    for (status, description) in [
        (400, "The code or the request is not valid."),
        (401, "The client is not known, or its secret is wrong."),
    ] {
        let schema = json!({
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
        });
        let answer = json!({"description": description, "content": {"application/json": {"schema": schema}}});
        answers.insert(status.to_string(), answer);
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        201 => "Done, and something new is there.",
        202 => "Under way.",
        204 => "Done.",
        302 => "Goes on at `Location`.",
        _ => "The answer.",
    }
}
