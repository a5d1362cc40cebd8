//! All that a hub tells an administrator, to be compared with what another tells. The typed client reads the same, and
//! must not lose or change anything of it.

use anyhow::{Context as _, Result, ensure};
use hub_tests::hub::Hub;
use jupyterhub_api_compat::client::UserQuery;
use jupyterhub_api_compat::models::User;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What changes by itself, or belongs to one hub's process.
const FLEETING: [&str; 2] = ["last_activity", "pid"];
/// What models of JupyterHub 6 have beyond those of 5.4.
const NEW_IN_6: [&str; 2] = ["display_name", "user_info"];

/// The answers, by what was asked.
#[derive(Debug)]
pub(super) struct Inventory(Map<String, Value>);

impl Inventory {
    /// Asks the hub.
    pub(super) async fn of(hub: &Hub) -> Result<Self> {
        let administrator = hub.administrator()?;
        let mut all = Map::new();
        let client = administrator.typed();
        let mut typed = Map::new();
        let wanted = UserQuery { stopped_servers: true, ..UserQuery::default() };
        let users: Vec<User> = client.users(&wanted).await?;
        let models = administrator.fetch("users?include_stopped_servers=1&limit=200").await?;
        all.insert("users".to_owned(), by_name(models));
        typed.insert("users".to_owned(), by_name(serde_json::to_value(&users)?));
        for path in ["groups", "services"] {
            all.insert(path.to_owned(), by_name(administrator.fetch(path).await?));
        }
        typed.insert("groups".to_owned(), by_name(serde_json::to_value(client.groups().await?)?));
        keep(&mut typed, "services", &client.services().await?)?;
        for name in users.iter().map(|user| user.name.as_str()) {
            for what in ["tokens", "shared"] {
                let path = format!("users/{name}/{what}");
                all.insert(path.clone(), administrator.fetch(&path).await?);
            }
            for what in ["shares", "share-codes"] {
                let path = format!("{what}/{name}");
                all.insert(path.clone(), administrator.fetch(&path).await?);
            }
            let tokens = json!({ "api_tokens": client.tokens(name).await? });
            keep(&mut typed, &format!("users/{name}/tokens"), &tokens)?;
            keep(&mut typed, &format!("users/{name}/shared"), &client.shared_with_user(name).await?)?;
            keep(&mut typed, &format!("shares/{name}"), &client.shares(name, None).await?)?;
            keep(&mut typed, &format!("share-codes/{name}"), &client.share_codes(name, None).await?)?;
        }
        agree(&all, typed).context("what the typed client reads")?;
        let routes = administrator.fetch("proxy").await?;
        let targets = routes.as_object().into_iter().flatten();
        let targets = targets.map(|(path, route)| (path.clone(), json!(route.get("target")))).collect();
        all.insert("proxy".to_owned(), Value::Object(targets));
        let mut all = Value::Object(all);
        tidy(&mut all, &FLEETING);
        let Value::Object(all) = all else { unreachable!("it was made as one") };
        Ok(Self(all))
    }

    /// Where another answer differs, one line for each place.
    pub(super) fn differences(&self, other: &Self, versions_differ: bool) -> Vec<String> {
        let whole = |inventory: &Self| {
            let mut value = Value::Object(inventory.0.clone());
            if versions_differ {
                tidy(&mut value, &NEW_IN_6);
                without_new_scopes(&mut value);
            }
            value
        };
        let mut found = Vec::new();
        compare("", &whole(self), &whole(other), &mut found);
        found
    }
}

fn keep(typed: &mut Map<String, Value>, path: &str, models: &impl Serialize) -> Result<()> {
    typed.insert(path.to_owned(), serde_json::to_value(models)?);
    Ok(())
}

/// Fails unless both are the same but for keys without a value, which older hubs leave out.
fn agree(raw: &Map<String, Value>, typed: Map<String, Value>) -> Result<()> {
    let plain = |map: Map<String, Value>| {
        let mut value = Value::Object(map);
        tidy(&mut value, &FLEETING);
        without_nulls(&mut value);
        value
    };
    let mut found = Vec::new();
    compare("", &plain(raw.clone()), &plain(typed), &mut found);
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

/// Pages are lists for the client, and a list of the items and where it ends for whoever asks for it as it is.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(items) = map.get_mut("items").filter(|items| items.is_array()).map(Value::take) {
                *value = items;
                return without_nulls(value);
            }
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Takes out `start:servers`, a part of `servers` that has a name of its own since version 6.
fn without_new_scopes(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(without_new_scopes),
        Value::Array(list) => {
            list.retain(|scope| !scope.as_str().is_some_and(|scope| scope.starts_with("start:servers")));
            list.iter_mut().for_each(without_new_scopes);
        }
        _ => {}
    }
}

/// A list of models as a map, for readable differences.
fn by_name(list: Value) -> Value {
    let Value::Array(models) = list else { return list };
    let named =
        |model: Value| (model.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(), model);
    Value::Object(models.into_iter().map(named).collect())
}

/// Takes out some keys and puts lists in an order.
fn tidy(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !keys.contains(&key.as_str()));
            // Of a server that does not run stock tells one or the other, by what its process happens to hold.
            for key in ["state", "user_options"] {
                map.entry(key).and_modify(|value| {
                    if *value == json!({}) {
                        *value = Value::Null;
                    }
                });
            }
            for value in map.values_mut() {
                tidy(value, keys);
            }
        }
        Value::Array(list) => {
            for value in list.iter_mut() {
                tidy(value, keys);
            }
            // Scopes come from sets and models from unordered queries.
            list.sort_by_cached_key(Value::to_string);
        }
        _ => {}
    }
}

fn compare(place: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    if let (Value::Object(one), Value::Object(other)) = (one, other) {
        let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let missing = json!("(missing)");
            let side = |map: &Map<String, Value>| map.get(key).unwrap_or(&missing).clone();
            compare(&format!("{place}/{key}"), &side(one), &side(other), found);
        }
    } else if let (Value::Array(one), Value::Array(other)) = (one, other)
        && one.len() == other.len()
    {
        for (number, (one, other)) in one.iter().zip(other).enumerate() {
            compare(&format!("{place}/{number}"), one, other, found);
        }
    } else if one != other {
        found.push(format!("{place}: {one} became {other}"));
    }
}
