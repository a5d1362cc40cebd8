//! Kinds `poll` and `progress`: what a pod and its events tell.

use hub_spawner_kube::Server;
use hub_spawner_kube::events::{Progress, of_pod};
use hub_spawner_kube::status::{is_running, look, moved};
use hub_spawner_kube::traits::ReadyWhen;
use serde_json::{Map, Value, json};
use url::Url;

use super::case::{Case, Outcome};
use super::compare::differences;
use super::{hub, manifest};

pub(crate) fn poll(case: &Case) -> Outcome {
    match polled(case) {
        Ok(ours) => Outcome { differences: differences("", &Value::Object(case.expected.clone()), &ours) },
        Err(error) => Outcome::differs(format!("was refused: {error}")),
    }
}

fn server(case: &Case) -> anyhow::Result<Server> {
    Ok(Server::new(manifest::traits(case)?, hub::facts(case))?)
}

fn polled(case: &Case) -> anyhow::Result<Value> {
    let server = server(case)?;
    let pod = Some(&case.pod).filter(|pod| !pod.is_null());
    let seen = look(pod, server.traits.delete_stopped_pods);
    let running = pod.is_some_and(|pod| is_running(pod, ReadyWhen::All));
    let mut ours = json!({"poll": seen.exit, "running": running, "pod_deleted_by_poll": seen.delete});
    if let (true, None, Some(pod), Some(stored)) = (running, seen.exit, pod, &case.server_url) {
        let now = server.address(pod)?;
        if let (Some(to), Value::Object(map)) = (moved(&Url::parse(stored)?, &now), &mut ours) {
            let port = to.port_or_known_default();
            map.insert("server_moved_to".to_owned(), json!({"ip": to.host_str(), "port": port}));
        }
    }
    Ok(ours)
}

pub(crate) fn progress(case: &Case) -> Outcome {
    let messages = match server(case) {
        Ok(server) => {
            let mut progress = Progress::default();
            let events = of_pod(&case.events, &server.names.pod, case.last_event.as_deref());
            events
                .into_iter()
                .map(|event| progress.step(event))
                .map(|step| json!({"progress": step.percent, "message": step.message}))
                .collect::<Vec<_>>()
        }
        Err(error) => return Outcome::differs(format!("was refused: {error}")),
    };
    let ours = Map::from_iter([("messages".to_owned(), Value::Array(messages))]);
    Outcome { differences: differences("", &Value::Object(case.expected.clone()), &Value::Object(ours)) }
}
