use std::fs;
use std::path::Path;

#[test]
fn the_reference_in_the_documentation_is_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == hub_config::reference::markdown(),
        "docs/configuration.md is stale: run `himalia config reference > docs/configuration.md`"
    );
}

#[test]
fn every_key_has_a_description() {
    fn visit(path: &str, schema: &serde_json::Value, bare: &mut Vec<String>) {
        let properties = schema.get("properties").and_then(serde_json::Value::as_object);
        for (name, inner) in properties.into_iter().flatten() {
            let key = format!("{path}.{name}");
            if inner.get("description").and_then(serde_json::Value::as_str).is_none_or(str::is_empty) {
                bare.push(key.clone());
            }
            visit(&key, inner.get("items").unwrap_or(inner), bare);
        }
    }
    let mut bare = Vec::new();
    visit("", &hub_config::json_schema(Vec::new()), &mut bare);
    assert!(bare.is_empty(), "{bare:?}");
}

#[test]
fn the_schema_for_editors_refuses_unknown_keys_and_allows_plugins() {
    let schema = hub_config::json_schema(Vec::new());
    assert_eq!(schema.pointer("/properties/hub/additionalProperties"), Some(&false.into()));
    assert_eq!(schema.pointer("/properties/spawner/additionalProperties/type"), Some(&"object".into()));
    assert_eq!(schema.pointer("/properties/proxy/properties/auth_token_file/type"), Some(&"string".into()));
    assert_eq!(schema.pointer("/properties/hub/properties/public_url/type"), Some(&"string".into()));
}
