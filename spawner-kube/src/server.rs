//! One server as the options make it: names, saved state, choices, and the objects for the cluster.
//!
//! The order matters and is stock's. Names are resolved when the server is loaded; state that was saved overrides
//! them; a start resolves pod and DNS name anew; groups and then the profile change options; objects are built from
//! what is left. So a profile comes too late for the templates of names, and its `namespace` moves the pod but not
//! the DNS name.

use serde_json::{Map, Value};
use thiserror::Error;
use url::Url;

use crate::condition::Asker;
use crate::fields::{Expander, Resolved, Subject};
use crate::manifest::{
    self, Certificates, EnvFacts, ManifestError, Marks, PodParts, Versions, environment, notebook_port,
};
use crate::patch::{PatchError, patch_pod};
use crate::profiles::{ProfileError, allowed, apply_choice, check_choice, prepare};
use crate::python::FormatError;
use crate::python::format::{Missing, PyValue, format};
use crate::state::SavedState;
use crate::traits::{OverrideError, SlugScheme, Traits, apply};

/// The names of a server's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Namespace of all of them.
    pub namespace: String,
    /// Pod and service.
    pub pod: String,
    /// Host name when there is a service.
    pub dns: String,
    /// Secret with certificates.
    pub secret: String,
    /// Volume claim.
    pub pvc: String,
}

/// Why a server cannot be made of its options. Nothing was created.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ServerError {
    /// A template cannot be expanded.
    #[error(transparent)]
    Template(#[from] FormatError),
    /// An object cannot be built.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The person's choice, or the list of profiles, is wrong.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The changes of a group do not fit.
    #[error("group_overrides.{key}: {reason}")]
    Group {
        /// Key in `group_overrides`.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A patch does not fit the pod.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// The pod has no port named `notebook-port`.
    #[error("the pod has no port named notebook-port: `extra_container_config.ports` must keep one")]
    NoPort,
    /// The address is no URL.
    #[error("{0:?} is no URL: check `pod_connect_ip` and `dns_name_template`")]
    Address(String),
}

/// What a server depends on besides its options.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Whose server.
    pub subject: Subject,
    /// Path of the server, slashes at both ends.
    pub prefix: String,
    /// Whether servers speak TLS (`internal_ssl`).
    pub tls: bool,
    /// What objects are annotated with.
    pub versions: Versions,
}

/// One server.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its options, changed by groups and profile.
    pub traits: Traits,
    /// What it depends on.
    pub facts: Facts,
    /// Names of its objects.
    pub names: Names,
    /// Whether the claim is known to exist, so that its name is saved.
    pub pvc_known: bool,
    /// Version in the saved state; `unknown` when there was state without one.
    pub state_version: Option<String>,
}

impl Server {
    /// A server with the names that its templates give.
    pub fn new(mut traits: Traits, facts: Facts) -> Result<Self, ServerError> {
        let own = traits.namespace.clone().unwrap_or_else(|| facts.subject.hub_namespace.clone());
        traits.port = traits.listen_port();
        let mut server = Self {
            names: Names { namespace: own, ..Names::default() },
            traits,
            facts,
            pvc_known: false,
            state_version: None,
        };
        // Each name may use those that are resolved before it.
        let mut known = Resolved::default();
        let early = |server: &Self, known: Resolved<'_>, template: &str| {
            let known = Resolved { namespace: Some(&server.names.namespace), ..known };
            Expander::new(&server.facts.subject, server.traits.slug_scheme, known).text(template)
        };
        if server.traits.enable_user_namespaces {
            server.names.namespace = early(&server, known, &server.traits.user_namespace_template)?;
        }
        server.traits.namespace = Some(server.names.namespace.clone());
        let pod = early(&server, known, &server.traits.pod_name_template)?;
        known.pod_name = Some(&pod);
        server.names.secret = early(&server, known, &server.traits.secret_name_template)?;
        server.names.pvc = early(&server, known, &server.traits.pvc_name_template)?;
        server.names.pod = pod;
        server.names.dns = server.dns_name()?;
        if let Some(directory) = server.traits.working_dir.take_if(|directory| !directory.is_empty()) {
            server.traits.working_dir = Some(server.expander().text(&directory)?);
        }
        Ok(server)
    }

    /// Takes over the names that a running or stopped server was saved with.
    pub fn load(&mut self, state: &SavedState) {
        let take = |name: &mut String, saved: &Option<String>| {
            if let Some(saved) = saved {
                name.clone_from(saved);
            }
        };
        take(&mut self.names.pod, &state.pod_name);
        take(&mut self.names.namespace, &state.namespace);
        self.traits.namespace = Some(self.names.namespace.clone());
        take(&mut self.names.dns, &state.dns_name);
        if self.traits.remember_pvc_name && state.pvc_name.is_some() {
            take(&mut self.names.pvc, &state.pvc_name);
            self.pvc_known = true;
        }
        self.state_version = state.version();
    }

    /// Resolves the names of a new run: pod and DNS name. Namespace and claim stay those of before.
    pub fn begin(&mut self) -> Result<(), ServerError> {
        self.names.pod = self.expander().text(&self.traits.pod_name_template)?;
        self.names.dns = self.dns_name()?;
        Ok(())
    }

    /// The name that the claim had under the old slug scheme, when a claim of that name may still exist: none is
    /// remembered, and the names differ. Stock asks only when the state was written by an older version; a claim
    /// can be older than the state.
    pub fn legacy_pvc(&self) -> Result<Option<String>, ServerError> {
        let traits = &self.traits;
        if !traits.storage_pvc_ensure || !traits.handle_legacy_names || self.pvc_known {
            return Ok(None);
        }
        let names = self.resolved();
        let old =
            Expander::new(&self.facts.subject, SlugScheme::Escape, names).text(&traits.pvc_name_template)?;
        Ok((old != self.names.pvc).then_some(old))
    }

    /// Applies `group_overrides` for the groups of a person.
    pub fn apply_groups(&mut self, groups: &[String]) -> Result<(), ServerError> {
        let mut entries: Vec<(String, Value)> = self.traits.group_overrides.clone().into_iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, entry) in entries {
            let wrong = |reason: &str| ServerError::Group { key: key.clone(), reason: reason.to_owned() };
            let Some(members) = entry.get("groups").and_then(Value::as_array) else {
                return Err(wrong("needs a list `groups`"));
            };
            let concerned = members.iter().filter_map(Value::as_str).any(|m| groups.iter().any(|g| g == m));
            if !concerned {
                continue;
            }
            let Some(changes) = entry.get("spawner_override").and_then(Value::as_object) else {
                return Err(wrong("needs a table `spawner_override`"));
            };
            let other = apply(&mut self.traits, changes).map_err(|error| wrong(&error.to_string()))?;
            self.take_names(&other);
        }
        Ok(())
    }

    /// The profiles that a person may choose from.
    pub fn profiles(&self, asker: &Asker) -> Result<Vec<Value>, ServerError> {
        Ok(prepare(allowed(self.traits.profile_list.sorted(), asker)?)?)
    }

    /// Checks and applies what a person chose.
    pub fn apply_profile(&mut self, asker: &Asker, options: &Map<String, Value>) -> Result<(), ServerError> {
        let profiles = self.profiles(asker)?;
        check_choice(&profiles, options, self.traits.unlisted_choice_match)?;
        let other = apply_choice(&mut self.traits, &profiles, options)?;
        self.take_names(&other);
        Ok(())
    }

    /// Follows a changed `namespace`. Other names are no options, but stock lets overrides set them.
    fn take_names(&mut self, other: &Map<String, Value>) {
        let text = |name: &str| other.get(name).and_then(Value::as_str).map(str::to_owned);
        let set = |name: &mut String, value: Option<String>| {
            if let Some(value) = value {
                *name = value;
            }
        };
        set(&mut self.names.namespace, self.traits.namespace.clone());
        set(&mut self.names.pod, text("pod_name"));
        set(&mut self.names.pvc, text("pvc_name"));
        set(&mut self.names.dns, text("dns_name"));
        set(&mut self.names.secret, text("secret_name"));
    }

    fn resolved(&self) -> Resolved<'_> {
        Resolved {
            pod_name: Some(&self.names.pod),
            pvc_name: Some(&self.names.pvc),
            namespace: Some(&self.names.namespace),
        }
    }

    /// Expands templates with everything that is resolved.
    pub fn expander(&self) -> Expander<'_> {
        Expander::new(&self.facts.subject, self.traits.slug_scheme, self.resolved())
    }

    pub(crate) fn dns_name(&self) -> Result<String, FormatError> {
        let field = |name: &str| match name {
            "name" => Some(PyValue::from(self.names.pod.as_str())),
            "namespace" => Some(PyValue::from(self.names.namespace.as_str())),
            _ => None,
        };
        format(&self.traits.dns_name_template, &field, Missing::Refuse)
    }

    fn marks(&self) -> Marks<'_> {
        Marks {
            user: &self.facts.subject.user,
            server: &self.facts.subject.server,
            common: &self.traits.common_labels,
            component: &self.traits.component_label,
            versions: self.facts.versions,
        }
    }

    /// The state to save.
    pub fn state(&self) -> SavedState {
        SavedState {
            kubespawner_version: Some(self.facts.versions.kubespawner.to_owned()),
            pod_name: Some(self.names.pod.clone()),
            namespace: Some(self.names.namespace.clone()),
            dns_name: Some(self.names.dns.clone()),
            pvc_name: self.pvc_known.then(|| self.names.pvc.clone()),
            other: Map::new(),
        }
    }

    /// The namespace, where each server has its own.
    pub fn namespace_manifest(&self) -> Result<Value, ServerError> {
        Ok(manifest::namespace(&self.names.namespace, &self.traits, &self.expander())?)
    }

    /// The volume claim.
    pub fn pvc_manifest(&self) -> Result<Value, ServerError> {
        Ok(manifest::pvc(&self.names.pvc, self.marks(), &self.traits, &self.expander())?)
    }

    /// The pod, patched. `hub_env` is what the hub tells every server.
    pub fn pod_manifest(&self, hub_env: &Map<String, Value>, asker: &Asker) -> Result<Value, ServerError> {
        let facts =
            EnvFacts { user: &self.facts.subject.user, prefix: &self.facts.prefix, tls: self.facts.tls };
        let expand = self.expander();
        let parts = PodParts {
            name: &self.names.pod,
            marks: self.marks(),
            env: environment(hub_env, &self.traits, facts, &expand)?,
            certificates: self.facts.tls.then_some(self.names.secret.as_str()),
        };
        let pod = manifest::pod(parts, &self.traits, &expand)?;
        Ok(patch_pod(pod, &self.traits.pod_patches, asker)?)
    }

    /// The service, for the pod as it is.
    pub fn service_manifest(&self, pod: &Value, uid: &str) -> Result<Value, ServerError> {
        let port = notebook_port(pod).ok_or(ServerError::NoPort)?;
        let owner = manifest::owner_reference(&self.names.pod, uid);
        Ok(manifest::service(&self.names.pod, port, &owner, self.marks(), &self.traits, &self.expander())?)
    }

    /// The secret with certificates.
    pub fn secret_manifest(&self, certificates: &Certificates, uid: &str) -> Result<Value, ServerError> {
        let owner = manifest::owner_reference(&self.names.pod, uid);
        let expand = self.expander();
        Ok(manifest::secret(&self.names.secret, certificates, &owner, self.marks(), &self.traits, &expand)?)
    }

    /// Where the hub reaches a running pod, as a URL.
    pub fn address(&self, pod: &Value) -> Result<Url, ServerError> {
        let text = self.pod_url(pod)?;
        Url::parse(&text).map_err(|_| ServerError::Address(text))
    }

    /// Where the hub reaches a running pod: scheme, host and port.
    pub fn pod_url(&self, pod: &Value) -> Result<String, ServerError> {
        let scheme = if self.facts.tls { "https" } else { "http" };
        let host = if !self.traits.pod_connect_ip.is_empty() {
            self.connect_host()?
        } else if self.facts.tls || self.traits.services_enabled {
            self.names.dns.clone()
        } else {
            let ip = pod.pointer("/status/podIP").and_then(Value::as_str).unwrap_or_default();
            if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() }
        };
        let port = notebook_port(pod).ok_or(ServerError::NoPort)?;
        Ok(format!("{scheme}://{host}:{port}"))
    }

    /// `pod_connect_ip` is no slug: each part between dots is a template of its own.
    fn connect_host(&self) -> Result<String, FormatError> {
        let expand = self.expander();
        let part = |part: &str| if part.contains('{') { expand.text(part) } else { Ok(part.to_owned()) };
        let parts: Result<Vec<String>, _> = self.traits.pod_connect_ip.split('.').map(part).collect();
        Ok(parts?.join("."))
    }

    /// The name by which the hub reaches it, where an option says so, for its certificate.
    pub(crate) fn connect_name(&self) -> Result<Option<String>, ServerError> {
        if self.traits.pod_connect_ip.is_empty() {
            return Ok(None);
        }
        let host = self.connect_host()?;
        let kind =
            if host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
        Ok(Some(format!("{kind}:{}", host.trim_matches(['[', ']']))))
    }

    /// Names in the server's certificate.
    pub fn alt_names(&self) -> Vec<String> {
        let Names { namespace, pod, dns, .. } = &self.names;
        self.traits.ssl_alt_names.clone().unwrap_or_else(|| {
            vec![
                format!("DNS:{dns}"),
                format!("DNS:{pod}"),
                format!("DNS:{pod}.{namespace}"),
                format!("DNS:{pod}.{namespace}.svc"),
            ]
        })
    }

    /// Whether deleting the server for ever deletes its claim: not when named servers share that of the default one.
    pub fn deletes_pvc(&self) -> bool {
        let own_claim =
            self.facts.subject.server.is_empty() || self.traits.pvc_name_template.contains("{user_server}");
        self.traits.delete_pvc && own_claim
    }
}

impl From<OverrideError> for ServerError {
    fn from(error: OverrideError) -> Self {
        Self::Profile(ProfileError::Override(error))
    }
}
