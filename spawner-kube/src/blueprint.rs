//! From a start that the hub asks for to a [`Server`]: the options of the configuration, the person, the environment.

use std::collections::BTreeMap;

use hub_core::spawner::Owner;
use hub_core::{
    FormContext, OptionsForm, PluginError, Problem, ServerKey, ServerRef, SpawnError, SpawnerContext,
    StartJob,
};
use serde_json::{Map, Value};

use crate::VERSIONS;
use crate::condition::Asker;
use crate::fields::Subject;
use crate::options::read;
use crate::profiles::{Forms, options_from_form};
use crate::server::{Facts, Server, ServerError};
use crate::slug;
use crate::state::{LAUNCH, SavedState};
use crate::traits::Traits;

/// Name of the table with the options, and the `kind` of the spawner.
pub const NAME: &str = "kube";

/// Label of a start that names the workspace of the server, and the field of templates that it fills.
const WORKSPACE: &str = "workspace";

/// What all servers of one spawner have in common.
#[derive(Debug)]
pub struct Blueprint {
    traits: Traits,
    /// The `environment` that the hub has put into every start already.
    shared_env: Map<String, Value>,
    hub_namespace: String,
    /// Whether servers speak TLS.
    tls: bool,
    forms: Forms,
}

/// A server about to start.
#[derive(Debug)]
pub struct Planned {
    /// The server, with the changes of groups and profile.
    pub server: Server,
    /// The person.
    pub asker: Asker,
    /// What the hub tells the server.
    pub hub_env: Map<String, Value>,
}

impl Planned {
    /// The pod.
    ///
    /// # Errors
    /// Options that make no pod.
    pub fn pod(&self) -> Result<Value, SpawnError> {
        self.server.pod_manifest(&self.hub_env, &self.asker).map_err(failure)
    }
}

impl Blueprint {
    /// Reads the options. What `[spawner]` says holds where `[spawner.kube]` says nothing. `hub_namespace` is that of
    /// the hub's own pod, `default` outside of a cluster.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key.
    pub fn new(options: Value, cx: &SpawnerContext, hub_namespace: String) -> Result<Self, PluginError> {
        let path = format!("{}.{NAME}", cx.section);
        let mut inherited = Vec::new();
        let merged = match options {
            Value::Null | Value::Object(_) => {
                let mut map = options.as_object().cloned().unwrap_or_default();
                for (key, value) in &cx.shared {
                    if !map.contains_key(key) {
                        map.insert(key.clone(), value.clone());
                        inherited.push(key.as_str());
                    }
                }
                Value::Object(map)
            }
            other => other,
        };
        let traits =
            read(merged, &path).map_err(|error| at_their_source(error, &path, &cx.section, &inherited))?;
        let forms = Forms::new(&traits)
            .map_err(|error| PluginError::one(format!("{path}.profile_form_template"), error.to_string()))?;
        let shared_env = match cx.shared.get("environment") {
            Some(Value::Object(env)) => env.clone(),
            _ => Map::new(),
        };
        Ok(Self { traits, shared_env, hub_namespace, tls: cx.certificates.is_some(), forms })
    }

    /// The options before any change.
    pub fn traits(&self) -> &Traits {
        &self.traits
    }

    /// Where servers are when they have no namespace of their own.
    pub(crate) fn usual_namespace(&self) -> &str {
        self.traits.namespace.as_deref().unwrap_or(&self.hub_namespace)
    }

    /// The server of a start: names, then the changes of groups, then those of the choice.
    ///
    /// # Errors
    /// A choice that is not possible (the person's fault), or options that do not fit together.
    pub fn plan(&self, job: &StartJob) -> Result<Planned, SpawnError> {
        let mut server =
            self.named(&job.key, &job.owner, &job.labels, job.prefix.clone()).map_err(failure)?;
        let asker = asker(&job.key, &job.owner, &job.options);
        let mut prepare = || {
            server.load(&SavedState::read(&job.state));
            server.begin()?;
            server.apply_groups(&job.owner.groups)?;
            server.apply_profile(&asker, &job.options)?;
            server.apply_overrides(&job.overrides)
        };
        prepare().map_err(failure)?;
        for (label, value) in &job.labels {
            // Labels are no templates.
            let literal = value.replace('{', "{{").replace('}', "}}");
            server.traits.extra_labels.insert(label.clone(), literal.into());
        }
        let hub_env = self.hub_env(&job.env, &server.traits);
        Ok(Planned { server, asker, hub_env })
    }

    /// A server that was started before: its names come from the saved state, where there is one.
    ///
    /// # Errors
    /// Templates that cannot be expanded for this name.
    pub fn existing(&self, server: &ServerRef) -> Result<Server, SpawnError> {
        let owner = Owner { id: 0, admin: false, groups: Vec::new(), auth_state: None };
        let mut found = self.named(&server.key, &owner, &BTreeMap::new(), String::new()).map_err(failure)?;
        let saved = SavedState::read(&server.state);
        found.facts.tls = match &server.address {
            Some(address) => address.scheme() == "https",
            // Of stock's starts nothing is known before there is an address.
            None if saved.other.contains_key(LAUNCH) => saved.speaks_tls(),
            None => self.tls,
        };
        found.load(&saved);
        Ok(found)
    }

    fn named(
        &self,
        key: &ServerKey,
        owner: &Owner,
        labels: &BTreeMap<String, String>,
        prefix: String,
    ) -> Result<Server, ServerError> {
        let server = key.server.as_str();
        let workspace = labels
            .get(WORKSPACE)
            .cloned()
            .unwrap_or_else(|| if server.is_empty() { String::new() } else { slug::object(server) });
        let subject = Subject {
            user: key.user.as_str().to_owned(),
            server: server.to_owned(),
            user_id: owner.id,
            hub_namespace: self.hub_namespace.clone(),
            extra: BTreeMap::from([(WORKSPACE.to_owned(), workspace)]),
        };
        Server::new(self.traits.clone(), Facts { subject, prefix, tls: self.tls, versions: VERSIONS })
    }

    /// The hub's variables without those of `environment` that a group or profile has taken away.
    fn hub_env(&self, env: &BTreeMap<String, String>, traits: &Traits) -> Map<String, Value> {
        let gone = |name: &String, value: &String| {
            !traits.environment.contains_key(name)
                && self.shared_env.get(name).and_then(Value::as_str) == Some(value.as_str())
        };
        env.iter()
            .filter(|(name, value)| !gone(name, value))
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
            .collect()
    }

    /// The form of the profiles that a person may choose from; none when there are no profiles and no other form.
    ///
    /// # Errors
    /// A template that fails.
    pub fn form(&self, cx: &FormContext) -> Result<Option<OptionsForm>, SpawnError> {
        if !self.traits.options_form.is_empty() {
            return Ok(Some(OptionsForm(self.traits.options_form.clone())));
        }
        if self.traits.profile_list.is_empty() {
            return Ok(None);
        }
        let server = self.named(&cx.key, &cx.owner, &BTreeMap::new(), String::new()).map_err(failure)?;
        let profiles = server.profiles(&asker(&cx.key, &cx.owner, &cx.previous)).map_err(failure)?;
        let html = self.forms.render(&profiles, &cx.previous, &server.traits).map_err(|error| {
            let user = "The page with the choices for your server cannot be shown.";
            SpawnError::broken("bad-configuration", user, error.to_string())
        })?;
        Ok(Some(OptionsForm(html)))
    }

    /// Reads the form, or the query of a link.
    pub fn from_form(&self, cx: &FormContext, form: BTreeMap<String, Vec<String>>) -> Map<String, Value> {
        if self.traits.profile_list.is_empty() {
            return cx.passed_through(form);
        }
        options_from_form(&form)
    }
}

fn asker(key: &ServerKey, owner: &Owner, options: &Map<String, Value>) -> Asker {
    Asker {
        user: key.user.as_str().to_owned(),
        server: key.server.as_str().to_owned(),
        groups: owner.groups.clone(),
        admin: owner.admin,
        profile: options.get("profile").and_then(Value::as_str).map(str::to_owned),
    }
}

/// Problems of options that were said in `[spawner]` are told with that key.
fn at_their_source(error: PluginError, path: &str, section: &str, inherited: &[&str]) -> PluginError {
    let moved = |problem: Problem| {
        let source = inherited.iter().find_map(|key| {
            let rest = problem.key.strip_prefix(&format!("{path}.{key}"))?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then(|| format!("{section}.{key}{rest}"))
        });
        Problem { key: source.unwrap_or(problem.key), text: problem.text }
    };
    PluginError { problems: error.problems.into_iter().map(moved).collect() }
}

/// A choice that is not possible is the person's fault; everything else is the configuration's.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(crate) fn failure(error: ServerError) -> SpawnError {
    match &error {
        ServerError::Profile(choice) if choice.is_choice() => {
            SpawnError::refused("bad-choice", error.to_string())
        }
        _ => SpawnError::broken(
            "bad-configuration",
            "Your server is not set up correctly. Please tell the administrator of this hub.",
            error.to_string(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use hub_core::secret::SecretString;
    use hub_core::spawner::{Overrides, Resources, SpawnFault};
    use hub_core::{ServerName, UserName};
    use serde_json::json;

    use super::*;

    fn context(shared: &Value) -> SpawnerContext {
        SpawnerContext {
            section: "spawner".to_owned(),
            ip: String::new(),
            port: 0,
            shared: shared.as_object().unwrap().clone(),
            env_keep: None,
            state_dir: PathBuf::new(),
            environment: BTreeMap::new(),
            certificates: None,
            root: false,
            reenter: Vec::new(),
        }
    }

    fn blueprint(options: Value, shared: &Value) -> Blueprint {
        Blueprint::new(options, &context(shared), "hub".to_owned()).unwrap()
    }

    fn job(options: &Value, env: &[(&str, &str)]) -> StartJob {
        StartJob {
            key: ServerKey::new(UserName::stored("alice"), ServerName::stored("lab")),
            launch: "l".to_owned(),
            owner: Owner { id: 7, admin: false, groups: vec!["g".to_owned()], auth_state: None },
            display_name: None,
            options: options.as_object().unwrap().clone(),
            state: Value::Null,
            env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            api_token: SecretString::from("t"),
            prefix: "/user/alice/lab/".to_owned(),
            command: Vec::new(),
            resources: Resources::default(),
            labels: BTreeMap::from([("team".to_owned(), "{x}".to_owned())]),
            overrides: Overrides::default(),
            timeout: Duration::from_secs(1),
        }
    }

    fn env_of(pod: &Value) -> BTreeMap<String, String> {
        let list = pod.pointer("/spec/containers/0/env").unwrap().as_array().unwrap();
        let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        list.iter().map(|v| (text(v, "name"), text(v, "value"))).collect()
    }

    #[test]
    fn what_the_section_says_holds_until_a_profile_says_otherwise() {
        let shared = json!({"environment": {"A": "1", "B": "2"}, "debug": true, "mem_limit": 1024});
        let blueprint = blueprint(
            json!({"mem_limit": "1M", "user_namespace_template": "ws-{workspace}", "enable_user_namespaces": true,
                "profile_list": [{"display_name": "P", "kubespawner_override":
                    {"environment": {"A": null, "C": "{workspace}"}, "debug": false}}]}),
            &shared,
        );
        let planned = blueprint
            .plan(&job(&json!({}), &[("A", "1"), ("B", "2"), ("JUPYTERHUB_DEBUG", "1"), ("X", "{")]))
            .unwrap();
        assert_eq!(planned.server.names.namespace, "ws-lab");
        let pod = planned.pod().unwrap();
        let env = env_of(&pod);
        assert!(!env.contains_key("A") && !env.contains_key("JUPYTERHUB_DEBUG"), "{env:?}");
        for (name, value) in [("B", "2"), ("C", "lab"), ("X", "{"), ("MEM_LIMIT", "1048576")] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(pod.pointer("/metadata/labels/team"), Some(&json!("{x}")));
    }

    #[test]
    fn what_a_hook_wants_comes_last_and_is_literal() {
        let blueprint = blueprint(
            json!({"image": "usual", "storage_pvc_ensure": true, "storage_capacity": "1Gi", "services_enabled": true,
                "volumes": [{"name": "volume-{user_server}", "emptyDir": {}}, {"name": "shared", "emptyDir": {}}],
                "volume_mounts": [{"name": "volume-{user_server}", "mountPath": "/a"},
                    {"name": "shared", "mountPath": "/b"}]}),
            &json!({}),
        );
        let mut start = job(&json!({}), &[("PASSWORD", "p{0}{{x}}")]);
        let pod = blueprint.plan(&start).unwrap().pod().unwrap();
        assert_eq!(pod.pointer("/spec/volumes").and_then(Value::as_array).map(Vec::len), Some(2));
        start.overrides = Overrides {
            object_name: Some("jupyter-a1b2".to_owned()),
            image: Some("registry.example/{lab}:1".to_owned()),
            without_own_volume: true,
            binds: Vec::new(),
        };
        let planned = blueprint.plan(&start).unwrap();
        assert_eq!(planned.server.names.pod, "jupyter-a1b2");
        assert!(planned.server.names.dns.starts_with("jupyter-a1b2."), "{}", planned.server.names.dns);
        assert!(!planned.server.traits.storage_pvc_ensure);
        let pod = planned.pod().unwrap();
        assert_eq!(pod.pointer("/metadata/name"), Some(&json!("jupyter-a1b2")));
        assert_eq!(pod.pointer("/spec/containers/0/image"), Some(&json!("registry.example/{lab}:1")));
        assert_eq!(pod.pointer("/spec/volumes"), Some(&json!([{"name": "shared", "emptyDir": {}}])));
        assert_eq!(
            pod.pointer("/spec/containers/0/volumeMounts"),
            Some(&json!([{"name": "shared", "mountPath": "/b"}]))
        );
        assert_eq!(env_of(&pod).get("PASSWORD").map(String::as_str), Some("p{0}{{x}}"));
    }

    #[test]
    fn an_impossible_choice_is_refused_and_a_broken_option_is_not_the_persons_fault() {
        let blueprint = blueprint(json!({"profile_list": [{"display_name": "P"}]}), &json!({}));
        let error = blueprint.plan(&job(&json!({"profile": "gone"}), &[])).unwrap_err();
        assert_eq!(error.fault, SpawnFault::Refused);
        let blueprint = blueprint_with_late_mistake();
        let error = blueprint.plan(&job(&json!({}), &[])).unwrap().pod().unwrap_err();
        assert_eq!((error.fault, error.cause.as_ref()), (SpawnFault::Broken, "bad-configuration"));
        assert!(!error.user.contains("nosuch"), "{}", error.user);
    }

    /// A patch is tried only when there is a pod.
    fn blueprint_with_late_mistake() -> Blueprint {
        blueprint(json!({"pod_patches": [{"json": [{"op": "remove", "path": "/nosuch"}]}]}), &json!({}))
    }

    #[test]
    fn mistakes_in_what_is_inherited_are_told_with_their_own_key() {
        let shared = json!({"environment": {"A": "${HOME}"}});
        let error = Blueprint::new(json!({"port": -1}), &context(&shared), String::new()).unwrap_err();
        let keys: Vec<&str> = error.problems.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["spawner.kube.port", "spawner.environment"]);
    }

    #[test]
    fn the_form_shows_only_what_the_person_may_choose() {
        let blueprint = blueprint(
            json!({"profile_list": [{"display_name": "All"}, {"display_name": "Few", "allowed_groups": ["few"]}]}),
            &json!({}),
        );
        let mut cx = FormContext {
            key: ServerKey::new(UserName::stored("alice"), ServerName::default()),
            owner: Owner { id: 1, admin: false, groups: Vec::new(), auth_state: None },
            previous: Map::new(),
            languages: Vec::new(),
            files: Map::new(),
        };
        let html = blueprint.form(&cx).unwrap().unwrap().0;
        assert!(html.contains("All") && !html.contains("Few"), "{html}");
        cx.owner.groups.push("few".to_owned());
        assert!(blueprint.form(&cx).unwrap().unwrap().0.contains("Few"));
        let bare = super::tests::blueprint(json!({}), &json!({}));
        assert_eq!(bare.form(&cx).unwrap(), None);
    }
}
