//! A site at rest: nothing is under way, and the hub's servers are the cluster's pods.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hub_tests::wait::eventually;
use serde_json::{Value, json};

use super::Site;

const AT_REST_WITHIN: Duration = Duration::from_mins(2);

impl Site {
    /// Waits until the site is at rest.
    pub(super) async fn is_at_rest(&self) -> Result<()> {
        let administrator = &self.hub.administrator()?;
        let seen = &RefCell::new(Value::Null);
        let rest = eventually("the hub is at rest", AT_REST_WITHIN, || async move {
            let users = administrator.fetch("users?include_stopped_servers=1").await?;
            let (ready, pending) = servers(&users)?;
            let pods: BTreeSet<String> = self.namespace.all("pods").await?.into_keys().collect();
            let rest = !pending && pods == ready;
            seen.replace(json!({ "ready": ready, "pods": pods, "pending": pending }));
            Ok(rest.then_some(()))
        });
        rest.await.with_context(|| format!("{}; log:\n{}", seen.borrow(), self.hub.log()))
    }
}

/// Names of the pods of all servers that are ready, and whether anything is under way.
fn servers(users: &Value) -> Result<(BTreeSet<String>, bool)> {
    let (mut ready, mut pending) = (BTreeSet::new(), false);
    for user in users.as_array().context("a list of users")? {
        let servers = user.get("servers").and_then(Value::as_object).context("servers")?;
        for server in servers.values() {
            pending |= server.get("pending").is_some_and(|pending| !pending.is_null());
            if server.get("ready") == Some(&Value::Bool(true)) {
                let name = server.pointer("/state/pod_name").and_then(Value::as_str);
                ready.insert(name.context("a ready server without a pod")?.to_owned());
            }
        }
    }
    Ok((ready, pending))
}
