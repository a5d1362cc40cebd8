//! What the application gives for a start, and what becomes of it.

use std::collections::BTreeMap;

use hub_core::StartJob;
use hub_core::spawner::Bind;
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::warn;

use crate::options::OpenHexaOptions;

/// Most variables of one answer, and the longest name.
const MOST_VARIABLES: usize = 1_000;
const LONGEST_NAME: usize = 256;
/// Longest name of an image.
const LONGEST_IMAGE: usize = 512;
/// Longest name of a pod: a DNS label.
const LONGEST_LABEL: usize = 63;
/// Names by which the hub itself speaks to servers.
const OWN_NAMES: [&str; 2] = ["JUPYTERHUB_", "JPY_"];
/// The label with the workspace's name.
pub(crate) const LABEL: &str = "hexa-workspace";

/// An answer of the application.
#[derive(Deserialize)]
pub(crate) struct Credentials {
    env: Map<String, Value>,
    #[serde(default)]
    pub(crate) username: Option<String>,
    #[serde(default)]
    notebooks_server_hash: Option<String>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    files: Map<String, Value>,
}

impl Credentials {
    /// Reads an answer; the error names what is wrong but no value.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        let found: Self = serde_json::from_slice(body).map_err(|error| {
            // The error's own text could quote a value.
            format!(
                "it is no JSON object with `env` as expected (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        if found.env.len() > MOST_VARIABLES {
            return Err(format!("it has more than {MOST_VARIABLES} variables"));
        }
        if !found.files.is_empty() {
            warn!("the application wants files in the home directory, which this hub does not write");
        }
        Ok(found)
    }

    /// The environment of a server without a name.
    pub(crate) fn for_default(&self, job: &mut StartJob, options: &OpenHexaOptions) -> Result<(), String> {
        self.environment(job, options)
    }

    /// Environment, names, image and storage of a workspace's server.
    pub(crate) fn for_workspace(&self, job: &mut StartJob, options: &OpenHexaOptions) -> Result<(), String> {
        self.environment(job, options)?;
        job.labels.insert(LABEL.to_owned(), job.key.server.as_str().to_owned());
        let overrides = &mut job.overrides;
        overrides.without_own_volume = true;
        if let Some(hash) = self.notebooks_server_hash.as_deref().filter(|hash| !hash.is_empty()) {
            let name = format!("jupyter-{hash}");
            if !is_label(&name) {
                return Err("`notebooks_server_hash` cannot be part of a pod's name".to_owned());
            }
            overrides.object_name = Some(name);
        }
        if let Some(image) = self.image.as_deref().filter(|image| !image.is_empty()) {
            if image.len() > LONGEST_IMAGE || !image.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err("`image` is no name of an image".to_owned());
            }
            overrides.image = Some(image.to_owned());
        }
        if self.text("WORKSPACE_STORAGE_ENGINE") == Some("local") {
            let source = self.text("WORKSPACE_STORAGE_MOUNT_PATH").filter(|path| is_plain_path(path));
            let source =
                source.ok_or("`WORKSPACE_STORAGE_MOUNT_PATH` must be an absolute path without `..`")?;
            let target = options.local_storage_target.clone();
            overrides.binds.push(Bind { source: source.to_owned(), target });
        }
        Ok(())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.env.get(name).and_then(Value::as_str)
    }

    fn environment(&self, job: &mut StartJob, options: &OpenHexaOptions) -> Result<(), String> {
        job.env.extend(self.variables(options)?);
        Ok(())
    }

    /// The variables. Values are literal: nothing in them is a template.
    pub(crate) fn variables(&self, options: &OpenHexaOptions) -> Result<BTreeMap<String, String>, String> {
        let mut variables = BTreeMap::new();
        if let Some(url) = &options.server_url {
            variables.insert("HEXA_SERVER_URL".to_owned(), url.clone());
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.len() > LONGEST_NAME || name.contains(['=', '\0']) {
                let short: String = name.chars().take(40).collect();
                return Err(format!("`env` has {short:?}, which is no name of a variable"));
            }
            if OWN_NAMES.iter().any(|own| name.starts_with(own)) {
                warn!(variable = %name, "the application may not set this variable of servers, it is left out");
                continue;
            }
            let text = match value {
                Value::String(text) if !text.contains('\0') => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Null => continue,
                _ => return Err(format!("the value of {name} in `env` is no text")),
            };
            variables.insert(name.clone(), text);
        }
        Ok(variables)
    }
}

fn is_label(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= LONGEST_LABEL
        && text.bytes().all(|byte| letter(byte) || byte == b'-')
        && text.bytes().next_back().is_some_and(letter)
}

fn is_plain_path(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0') && path.split('/').all(|part| part != "..")
}
