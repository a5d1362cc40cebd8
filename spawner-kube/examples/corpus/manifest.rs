//! Kind `manifest`: all objects and names that follow from a configuration.

use hub_spawner_kube::profiles::options_from_form;
use hub_spawner_kube::traits::{Traits, UnlistedMatch, from_stock};
use hub_spawner_kube::{SavedState, Server};
use serde_json::{Map, Value, json};

use super::case::{Case, Outcome};
use super::compare::differences;
use super::hub;

pub(crate) fn run(case: &Case) -> Outcome {
    let options = match (&case.formdata, &case.user_options) {
        (Some(form), _) => options_from_form(form),
        (None, Some(Value::Object(options))) => options.clone(),
        (None, _) => Map::new(),
    };
    let mut found = Vec::new();
    if let Some(expected) = case.expected.get("user_options") {
        found.extend(differences("user_options", expected, &Value::Object(options.clone())));
    }
    match (objects(case, &options), case.expected.get("error")) {
        (Ok(_), Some(error)) => found.push(format!("was to be refused: {error}")),
        (Err(error), None) => found.push(format!("was refused: {error}")),
        (Err(_), Some(_)) => {}
        (Ok(ours), None) => {
            for (key, expected) in &case.expected {
                if key != "user_options" {
                    found.extend(differences(key, expected, ours.get(key).unwrap_or(&Value::Null)));
                }
            }
            for object in ["pod", "pvc", "service", "secret", "namespace"] {
                if ours.get(object).is_some() && !case.expected.contains_key(object) {
                    found.push(format!("{object}: is too much"));
                }
            }
        }
    }
    Outcome { differences: found }
}

/// The options of a case. Free texts are matched as stock does.
pub(crate) fn traits(case: &Case) -> anyhow::Result<Traits> {
    let (traits, _) = from_stock(&case.spawner_config.clone().unwrap_or_default(), &case.config)?;
    Ok(Traits { unlisted_choice_match: UnlistedMatch::Start, ..traits })
}

fn objects(case: &Case, options: &Map<String, Value>) -> anyhow::Result<Value> {
    let asker = hub::asker(case);
    let mut server = Server::new(traits(case)?, hub::facts(case))?;
    server.load(&SavedState::read(&hub::state(case)));
    server.begin()?;
    server.apply_groups(&asker.groups)?;
    server.apply_profile(&asker, options)?;

    let mut ours = Map::new();
    let mut set = |key: &str, value: Value| ours.insert(key.to_owned(), value);
    if server.traits.enable_user_namespaces {
        set("namespace", server.namespace_manifest()?);
    }
    if case.want_pvc || server.traits.storage_pvc_ensure {
        set("pvc", server.pvc_manifest()?);
        server.pvc_known = true;
    }
    let mut pod = server.pod_manifest(&hub::environment(case), &asker)?;
    set("pod", pod.clone());
    let uid = hub::text(case, "pod_uid");
    if server.facts.tls {
        set("secret", server.secret_manifest(&hub::certificates(), &uid)?);
        set("ssl_alt_names", json!(server.alt_names()));
    }
    if server.facts.tls || server.traits.services_enabled {
        set("service", server.service_manifest(&pod, &uid)?);
    }
    if let Value::Object(pod) = &mut pod {
        pod.insert("status".to_owned(), json!({"podIP": hub::text(case, "pod_ip")}));
    }
    set("pod_url", server.pod_url(&pod)?.into());
    let names = &server.names;
    set(
        "names",
        json!({
            "namespace": names.namespace, "pod_name": names.pod, "dns_name": names.dns,
            "secret_name": names.secret, "pvc_name": names.pvc,
        }),
    );
    set("state", server.state().to_json());
    set("start_timeout", server.traits.start_timeout.into());
    set("delete_grace_period", server.traits.delete_grace_period.into());
    let mut fields = Map::new();
    for field in hub_spawner_kube::fields::FIELDS {
        fields.insert(field.to_owned(), server.expander().text(&format!("{{{field}}}"))?.into());
    }
    set("template_fields", Value::Object(fields));
    Ok(Value::Object(ours))
}
