//! The same starts under two hubs on the same cluster: the objects must be the same.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{NEEDS, Site};

/// Objects of one site by kind and name, without what differs between any two sites.
type Objects = BTreeMap<String, Value>;

/// People and servers: plain names and such as need slugs, with and without a profile.
const STARTS: [(&str, &str, &str); 5] = [
    ("alice", "", "plain"),
    ("alice", "lab-1", "plain"),
    ("bob@example.org", "", "rich"),
    ("quentin.the-one-with-a-name-of-great-length.of-the-lab", "malaria-study-in-the-north", "plain"),
    ("user.name+x", "", "rich"),
];

/// What the cluster, and our hub, note on objects beyond what KubeSpawner makes.
const ANNOTATED: [&str; 4] =
    ["pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/", "hub.jupyter.org/himalia-"];

#[tokio::test]
async fn himalia_makes_the_pods_and_claims_that_kubespawner_makes() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Stock, Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    same(&objects(Kind::Stock).await?, &objects(Kind::Himalia).await?)
}

#[tokio::test]
async fn reference_two_hubs_with_kubespawner_make_the_same_pods_and_claims() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Stock], &NEEDS) {
        return Ok(());
    }
    let (one, other) = (objects(Kind::Stock).await?, objects(Kind::Stock).await?);
    same(&one, &other)
}

fn same(one: &Objects, other: &Objects) -> Result<()> {
    ensure!(one.len() == 2 * STARTS.len(), "a pod and a claim of each server: {:#?}", one.keys());
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    ensure!(names(one) == names(other), "one: {:#?}\nother: {:#?}", names(one), names(other));
    let mut differences = Vec::new();
    for (name, object) in one {
        compare(name, object, other.get(name).context("the names are the same")?, &mut differences);
    }
    ensure!(differences.is_empty(), "{differences:#?}");
    Ok(())
}

/// Adds the places where two values differ.
fn compare(place: &str, one: &Value, other: &Value, differences: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                compare(&format!("{place}/{key}"), &of(one), &of(other), differences);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{place}/{index}"), one, other, differences);
            }
        }
        _ if one == other => {}
        _ => differences.push(format!("{place}: {one} here, {other} there")),
    }
}

/// Starts all servers and reads what there is then.
async fn objects(kind: Kind) -> Result<Objects> {
    let rich = json!({
        "cpu_limit": 1.5, "cpu_guarantee": 0.25, "mem_limit": "1G", "mem_guarantee": "256M",
        "extra_labels": { "team": "{username}" },
        "extra_annotations": { "example.org/owner": "{unescaped_username}" },
        "environment": { "GREETING": "Hello, {username}", "LATER": "$(GREETING)!", "EMPTY": "" },
        "node_selector": { "kubernetes.io/os": "linux" },
        "tolerations": [{ "key": "dedicated", "operator": "Equal", "value": "users", "effect": "NoSchedule" }],
        "node_affinity_preferred": [{ "weight": 10, "preference": {
            "matchExpressions": [{ "key": "disk", "operator": "In", "values": ["fast"] }],
        } }],
        "init_containers": [{ "name": "first", "image": "registry.test/tools:1", "command": ["true"] }],
        "extra_containers": [{ "name": "beside", "image": "registry.test/pause:1" }],
        "lifecycle_hooks": { "preStop": { "sleep": { "seconds": 1 } } },
        "supplemental_gids": [200, 201],
        "image_pull_policy": "IfNotPresent",
        "automount_service_account_token": false,
    });
    let options = json!({
        "profile_list": [
            { "display_name": "Plain", "slug": "plain", "default": true },
            { "display_name": "Rich", "slug": "rich", "kubespawner_override": rich },
        ],
        "delete_grace_period": 0,
    });
    let site = Site::start(kind, options, Settings::with_light_singleuser).await?;
    let administrator = site.hub.administrator()?;
    for (user, server, profile) in STARTS {
        let name = urlencoded(user);
        let (status, answer) =
            administrator.send(Method::POST, &format!("users/{name}"), Value::Null).await?;
        ensure!(status == 201 || status == 409, "{status}: {answer}");
        let path = if server.is_empty() {
            format!("users/{name}/server")
        } else {
            format!("users/{name}/servers/{}", urlencoded(server))
        };
        let (status, answer) = administrator.send(Method::POST, &path, json!({ "profile": profile })).await?;
        ensure!(status == 201 || status == 202, "starting {user}/{server} answers {status}: {answer}");
    }
    for (user, server, _) in STARTS {
        administrator.server_is_ready(user, server).await.with_context(|| user.to_owned())?;
    }
    let mut objects = Objects::new();
    for resource in ["pods", "persistentvolumeclaims"] {
        for (name, object) in site.namespace.all(resource).await? {
            objects.insert(format!("{resource}/{name}"), plain(&site, object)?);
        }
    }
    site.kept_to_the_charts_role()?;
    Ok(objects)
}

/// The object without what the API server and the nodes add, and without ports, tokens and names of this site.
fn plain(site: &Site, mut object: Value) -> Result<Value> {
    let whole = object.as_object_mut().context("an object")?;
    whole.remove("status");
    let metadata = whole.get_mut("metadata").and_then(Value::as_object_mut).context("metadata")?;
    for added in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
        metadata.remove(added);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| !ANNOTATED.iter().any(|prefix| name.starts_with(prefix)));
    }
    let spec = whole.get_mut("spec").and_then(Value::as_object_mut).context("a spec")?;
    for added in ["nodeName", "volumeName"] {
        spec.remove(added);
    }
    let tokens = ["JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"];
    for variable in spec.pointer_mut_list("containers", "env") {
        if variable.get("name").and_then(Value::as_str).is_some_and(|name| tokens.contains(&name)) {
            variable["value"] = "TOKEN".into();
        }
    }
    let hub = format!("127.0.0.1:{}", site.hub.ports.hub);
    let mut text = object.to_string();
    for (found, word) in
        [(site.namespace.name.as_str(), "NAMESPACE"), (&hub, "HUB"), (site.hub.mark.value(), "MARK")]
    {
        text = text.replace(found, word);
    }
    Ok(sorted(serde_json::from_str(&text)?))
}

/// The same with keys in order and with one name for the volume of the service account's token.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(Map::from_iter(ordered))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::String(text) if text.starts_with("kube-api-access-") => "kube-api-access".into(),
        other => other,
    }
}

trait PointerMutList {
    /// All elements of the lists `inner` in the elements of the list `outer`.
    fn pointer_mut_list(&mut self, outer: &str, inner: &str) -> Vec<&mut Value>;
}

impl PointerMutList for Map<String, Value> {
    fn pointer_mut_list(&mut self, outer: &str, inner: &str) -> Vec<&mut Value> {
        let list = self.get_mut(outer).and_then(Value::as_array_mut).into_iter().flatten();
        list.filter_map(|item| item.get_mut(inner)?.as_array_mut()).flatten().collect()
    }
}

fn urlencoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
