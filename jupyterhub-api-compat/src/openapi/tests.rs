use std::collections::BTreeSet;

use super::*;
use crate::endpoints::Method;
use crate::requests;

fn whole() -> Value {
    document(Site { version: "1.2.3", server: "/hub/api", scopes: &ScopeTable::stock() })
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, operations)| {
            let operations = operations.as_object().unwrap().iter();
            operations.map(move |(method, operation)| (path.clone(), method.clone(), operation.clone()))
        })
        .collect()
}

#[test]
fn every_endpoint_of_the_table_is_described_once_with_its_scopes() {
    let document = whole();
    let mut ids = BTreeSet::new();
    let mut described = 0;
    for (path, method, operation) in operations(&document) {
        let row = ENDPOINTS
            .iter()
            .find(|row| row.path == path && row.method.as_str().eq_ignore_ascii_case(&method))
            .unwrap_or_else(|| panic!("{method} {path} is nowhere in the table"));
        described += 1;
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
        let scopes: BTreeSet<&str> = operation["security"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|one| one["token"].get(0)?.as_str())
            .collect();
        assert_eq!(scopes, row.scopes.iter().copied().collect(), "{path}");
        assert_eq!(operation["x-extension"] == true, row.extension, "{path}");
        let named = operation["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "path");
        assert_eq!(named.count(), path.matches('{').count(), "{path}");
        assert!(operation["responses"].as_object().is_some_and(|answers| !answers.is_empty()), "{path}");
    }
    assert_eq!(described, ENDPOINTS.iter().filter(|row| !row.path.is_empty()).count());
}

#[test]
fn every_reference_leads_somewhere_and_every_scope_is_explained() {
    let document = whole();
    let mut seen = 0;
    let mut todo = vec![&document];
    while let Some(value) = todo.pop() {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    let pointer = to.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{to}");
                    seen += 1;
                }
                todo.extend(map.values());
            }
            Value::Array(list) => todo.extend(list),
            _ => {}
        }
    }
    assert!(seen > 100, "{seen}");
    for row in ENDPOINTS {
        assert!(row.scopes.iter().all(|scope| document["x-scopes"][scope].is_string()), "{row:?}");
    }
}

/// Something that fits a schema: with `full` every property, else only the required ones.
fn sample(schema: &Value, full: bool) -> Value {
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[0].as_str(),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => {
            let required: Vec<&str> =
                schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            let wanted = |name: &str| full || required.contains(&name);
            Value::Object(
                properties
                    .into_iter()
                    .filter(|(name, _)| wanted(name))
                    .map(|(name, schema)| (name, sample(&schema, full)))
                    .collect(),
            )
        }
        Some("array") => json!([sample(&schema["items"], full)]),
        Some("string") if schema["format"] == "date-time" => json!("2026-01-01T00:00:00Z"),
        Some("string") => json!("ada"),
        Some("boolean") => json!(true),
        Some("integer") => schema["minimum"].clone(),
        _ => json!({}),
    }
}

/// Whether the reader of an endpoint takes a body; none for endpoints that read forms.
fn reads(id: EndpointId, body: &[u8]) -> Option<bool> {
    use EndpointId as Id;
    Some(match id {
        Id::Shutdown => requests::Shutdown::read(body).is_ok(),
        Id::MoveProxy => requests::ProxyLocation::read(body).is_ok(),
        Id::CreateUsers => requests::CreateUsers::read(body).is_ok(),
        Id::CreateUser => requests::CreateUser::read(body).is_ok(),
        Id::EditUser => requests::EditUser::read(body).is_ok(),
        Id::PostActivity => {
            requests::Activity::read(body, chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::days(30_000))
                .is_ok()
        }
        Id::CreateServer | Id::StartServer | Id::RestartServer => requests::ServerOptions::read(body).is_ok(),
        Id::EditServer => requests::EditServer::read(body).is_ok(),
        Id::StopServer => requests::StopServer::read(body).is_ok(),
        Id::CreateToken => requests::CreateToken::read(body).is_ok(),
        Id::CreateGroups => requests::CreateGroups::read(body).is_ok(),
        Id::CreateGroup => requests::CreateGroup::read(body).is_ok(),
        Id::AddGroupUsers => requests::GroupMembers::read_to_add(body).is_ok(),
        Id::RemoveGroupUsers => requests::GroupMembers::read_to_delete(body).is_ok(),
        Id::SetGroupProperties => requests::GroupProperties::read(body).is_ok(),
        Id::CreateService => requests::CreateService::read(body, "watch").is_ok(),
        Id::GrantShare | Id::RevokeShare => requests::ShareRequest::read(body).is_ok(),
        Id::CreateShareCode => requests::ShareCodeRequest::read(body).is_ok(),
        Id::StartServers => requests::BulkServers::read_to_start(body).is_ok(),
        Id::StopServers => requests::BulkServers::read_to_stop(body).is_ok(),
        Id::ConfirmAuthorize | Id::ExchangeToken => return None,
        _ => panic!("{id:?} has a body and no reader is known for it"),
    })
}

#[test]
fn bodies_are_read_as_they_are_described() {
    for (path, method, operation) in operations(&whole()) {
        let Some(body) = operation.get("requestBody") else { continue };
        let row = ENDPOINTS
            .iter()
            .find(|row| row.path == path && row.method.as_str().eq_ignore_ascii_case(&method));
        let id = row.unwrap().id;
        let schema = &body["content"]["application/json"]["schema"];
        let Some(empty) = reads(id, b"") else { continue };
        assert_eq!(empty, body["required"] == false, "{method} {path} without a body");
        let mut full = sample(schema, true);
        if let Some(full) = full.as_object_mut() {
            // Either the one or the other.
            match id {
                EndpointId::CreateToken => drop(full.remove("roles")),
                EndpointId::GrantShare | EndpointId::RevokeShare => drop(full.remove("group")),
                _ => {}
            }
        }
        assert_eq!(reads(id, full.to_string().as_bytes()), Some(true), "{method} {path}: {full}");
        if schema["additionalProperties"] == false {
            full["no-such-key"] = json!(1);
            assert_eq!(reads(id, full.to_string().as_bytes()), Some(false), "{method} {path}: {full}");
        }
        assert_eq!(reads(id, b"[1]"), Some(false), "{method} {path} with a list");
    }
}

#[test]
fn only_calls_that_make_something_take_an_idempotency_key() {
    for row in ENDPOINTS.iter().filter(|row| takes_idempotency_key(row)) {
        assert_eq!(row.method, Method::Post, "{row:?}");
        assert!(!row.path.starts_with("/oauth2"), "{row:?}");
    }
}

#[test]
fn the_page_names_every_endpoint_and_loads_nothing() {
    let document = whole();
    let page = page(&document, "openapi.json");
    for row in ENDPOINTS.iter().filter(|row| !row.path.is_empty()) {
        assert!(
            page.contains(&format!("<b>{}</b> <code>{}</code>", row.method.as_str(), row.path)),
            "{row:?}"
        );
    }
    for loader in ["<script", "src=", "@import", "url(", "<link", "http://", "https://"] {
        assert!(!page.contains(loader), "{loader}");
    }
}
