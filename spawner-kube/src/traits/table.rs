//! The table of all options.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::kinds::{ByteCount, Command, Items, ProfileList, PullSecrets, SlugScheme};
use crate::condition::Condition;

/// How a free text must fit the `validation_regex` of an option.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnlistedMatch {
    /// The whole text must fit.
    #[default]
    Whole,
    /// Only its start must fit, as in stock: `v[0-9]+` then accepts `v1; anything`.
    Start,
}

/// Which containers must be ready before a server counts as started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadyWhen {
    /// The one that the server runs in.
    #[default]
    Notebook,
    /// All of the pod, as in stock.
    All,
}

/// One change of the finished pod; stands in for stock's `modify_pod_hook`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PatchRule {
    /// For which servers it holds; all when left out.
    pub when: Condition,
    /// Operations of a JSON patch (RFC 6902): `[{op = "add", path = "/spec/hostname", value = "x"}]`.
    pub json: Vec<Map<String, Value>>,
    /// A strategic merge patch: lists such as containers, volumes and environment are merged by name.
    pub merge: Map<String, Value>,
}

macro_rules! traits {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $default:expr;)+) => {
        /// The options of a server, each with KubeSpawner's default.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct Traits {
            $($(#[doc = $doc])+ pub $name: $kind,)+
        }

        impl Default for Traits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Traits {
            /// All names.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// The value of an option as JSON; none when there is no such option.
            pub fn get(&self, name: &str) -> Option<Value> {
                match name {
                    $(stringify!($name) => serde_json::to_value(&self.$name).ok(),)+
                    _ => None,
                }
            }

            /// Sets an option by name. False when there is no such option.
            ///
            /// # Errors
            /// What the option takes, when the value does not fit.
            pub fn set(&mut self, name: &str, value: Value) -> Result<bool, String> {
                match name {
                    $(stringify!($name) => {
                        self.$name = serde_json::from_value(value).map_err(|error| error.to_string())?;
                    })+
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    };
}

fn common_labels() -> Map<String, Value> {
    let pairs = [
        ("app.kubernetes.io/name", "jupyterhub"),
        ("app.kubernetes.io/managed-by", "kubespawner"),
        ("app", "jupyterhub"),
        ("heritage", "jupyterhub"),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect()
}

traits! {
    // Where objects go and what they are called.

    /// Namespace of the servers; that of the hub's service account when left out.
    namespace: Option<String> = None;
    /// A namespace for each server, by `user_namespace_template`.
    enable_user_namespaces: bool = false;
    /// Name of that namespace. Template.
    user_namespace_template: String = "{hubnamespace}-{username}".to_owned();
    /// Labels of namespaces that are made. Templates.
    user_namespace_labels: Map<String, Value> = Map::new();
    /// Annotations of namespaces that are made. Templates.
    user_namespace_annotations: Map<String, Value> = Map::new();
    /// How user and server names become names of objects.
    slug_scheme: SlugScheme = SlugScheme::Safe;
    /// Name of the pod, and of the service. Template.
    pod_name_template: String = "jupyter-{user_server}".to_owned();
    /// Name of the volume claim. Template.
    pvc_name_template: String = "claim-{user_server}".to_owned();
    /// Name of the secret with certificates. Template.
    secret_name_template: String = "{pod_name}".to_owned();
    /// Name by which a server is reached when there are services; knows `{name}` and `{namespace}` only.
    dns_name_template: String = "{name}.{namespace}.svc.cluster.local".to_owned();
    /// Host of a server's address, in place of the pod's own. The parts between dots are templates.
    pod_connect_ip: String = String::new();
    /// Keep using the claim that a server had before, whatever the template says now.
    remember_pvc_name: bool = true;
    /// Look for claims of the old slug scheme when none is remembered.
    handle_legacy_names: bool = true;

    // The pod.

    /// Image of the notebook container.
    image: String = "quay.io/jupyterhub/singleuser:latest".to_owned();
    /// `Always`, `IfNotPresent` or `Never`; the cluster's rule when left out.
    image_pull_policy: Option<String> = None;
    /// Secrets for private registries.
    image_pull_secrets: PullSecrets = PullSecrets::default();
    /// Arguments of the container, before `args`; those of the image when left out or empty.
    cmd: Command = Command::default();
    /// More arguments; need a `cmd`.
    args: Vec<String> = Vec::new();
    /// Working directory. Template, expanded once.
    working_dir: Option<String> = None;
    /// Address that a server binds inside its pod.
    ip: String = "0.0.0.0".to_owned();
    /// Port of a server; 0 is 8888.
    port: i64 = 0;
    /// Service account of the pod. Template.
    service_account: Option<String> = None;
    /// Whether the pod gets the account's token: no when there is no `service_account`, else the cluster's rule.
    automount_service_account_token: Option<bool> = None;
    /// Numeric user of the container; that of the image when left out.
    uid: Option<i64> = None;
    /// Numeric group of the container.
    gid: Option<i64> = None;
    /// Group that owns the volumes.
    fs_gid: Option<i64> = None;
    /// Further groups.
    supplemental_gids: Vec<Value> = Vec::new();
    /// All rights on the node. Dangerous.
    privileged: bool = false;
    /// Whether a process may gain rights (`sudo`).
    allow_privilege_escalation: Option<bool> = Some(false);
    /// More fields of the container's security context, as the API spells them.
    container_security_context: Map<String, Value> = Map::new();
    /// More fields of the pod's security context, as the API spells them.
    pod_security_context: Map<String, Value> = Map::new();
    /// Labels of pod, claim, service and secret. Win over `extra_labels`.
    common_labels: Map<String, Value> = common_labels();
    /// Value of the labels `component`, by which the hub finds its pods.
    component_label: String = "singleuser-server".to_owned();
    /// More labels of pod, service and secret. Templates.
    extra_labels: Map<String, Value> = Map::new();
    /// More annotations of pod, service and secret. Templates.
    extra_annotations: Map<String, Value> = Map::new();
    /// Volumes of the pod. Templates.
    volumes: Items = Items::default();
    /// Where the container sees them. Templates.
    volume_mounts: Items = Items::default();
    /// Containers that run before. Templates.
    init_containers: Items = Items::default();
    /// Containers that run beside. Templates.
    extra_containers: Items = Items::default();
    /// Fields of the notebook container; each replaces what is there.
    extra_container_config: Map<String, Value> = Map::new();
    /// Fields of the pod's `spec`; each replaces what is there. Templates.
    extra_pod_config: Map<String, Value> = Map::new();
    /// What runs after the start and before the stop of the container.
    lifecycle_hooks: Map<String, Value> = Map::new();
    /// More limits, by resource.
    extra_resource_limits: Map<String, Value> = Map::new();
    /// More guarantees, by resource.
    extra_resource_guarantees: Map<String, Value> = Map::new();

    // Where it runs.

    /// Labels that the node must have.
    node_selector: Map<String, Value> = Map::new();
    /// Taints that are no obstacle.
    tolerations: Items = Items::default();
    /// Terms for nodes, preferred.
    node_affinity_preferred: Items = Items::default();
    /// Terms for nodes, required; one of them must hold.
    node_affinity_required: Items = Items::default();
    /// Terms for pods to be near, preferred.
    pod_affinity_preferred: Items = Items::default();
    /// Terms for pods to be near, required.
    pod_affinity_required: Items = Items::default();
    /// Terms for pods to be away from, preferred.
    pod_anti_affinity_preferred: Items = Items::default();
    /// Terms for pods to be away from, required.
    pod_anti_affinity_required: Items = Items::default();
    /// Priority class.
    priority_class_name: String = String::new();
    /// Scheduler; the cluster's own when left out.
    scheduler_name: Option<String> = None;

    // Storage.

    /// Make sure that the claim exists before the pod does.
    storage_pvc_ensure: bool = false;
    /// Size of the claim, for example `10Gi`.
    storage_capacity: Option<String> = None;
    /// Storage class; the cluster's own when left out, none when empty.
    storage_class: Option<String> = None;
    /// Access modes.
    storage_access_modes: Vec<Value> = vec![Value::from("ReadWriteOnce")];
    /// Selector of the volume. Templates.
    storage_selector: Map<String, Value> = Map::new();
    /// Labels of the claim. Templates.
    storage_extra_labels: Map<String, Value> = Map::new();
    /// Annotations of the claim. Templates.
    storage_extra_annotations: Map<String, Value> = Map::new();
    /// Delete the claim when the server is deleted for ever.
    delete_pvc: bool = true;

    // Reaching a server.

    /// A service for each server, by whose name the hub reaches it.
    services_enabled: bool = false;
    /// Directory of the certificates inside the container, with a slash at the end.
    secret_mount_path: String = "/etc/jupyterhub/ssl/".to_owned();
    /// Names in a server's certificate; its names in the cluster when left out.
    ssl_alt_names: Option<Vec<String>> = None;
    /// Whether `localhost` is added to them.
    ssl_alt_names_include_local: bool = false;

    // Life cycle.

    /// Seconds that a pod has to end.
    delete_grace_period: i64 = 1;
    /// Delete a pod whose notebook container has ended.
    delete_stopped_pods: bool = true;
    /// Follow events and show them as progress.
    events_enabled: bool = true;
    /// After so many seconds people are asked for patience; 0 never.
    slow_spawn_message_threshold: i64 = 60;
    /// Seconds from one such message to the next.
    slow_spawn_message_frequency: i64 = 5;
    /// The message; knows `{seconds}`.
    slow_spawn_message: String = "Your server is taking a while to start. You have been waiting for {seconds} seconds.".to_owned();
    /// Seconds that a start may take.
    start_timeout: i64 = 60;
    /// Seconds that a server may take to its first answer.
    http_timeout: i64 = 30;
    /// Seconds between two looks at a server.
    poll_interval: i64 = 30;
    /// By which part of it that time varies.
    poll_jitter: f64 = 0.1;
    /// After so many failed starts in a row the hub exits; 0 never.
    consecutive_failure_limit: i64 = 0;

    // The API server.

    /// URL of the API server; that of the cluster which the hub runs in when empty.
    k8s_api_host: String = String::new();
    /// File with the authority of its certificate.
    k8s_api_ssl_ca_cert: String = String::new();
    /// Whether its certificate is checked; yes when left out.
    k8s_api_verify_ssl: Option<bool> = None;
    /// Seconds for one request that creates or deletes.
    k8s_api_request_timeout: i64 = 3;
    /// Seconds for it with all its repetitions.
    k8s_api_request_retry_timeout: i64 = 30;
    /// Without effect, as in stock.
    k8s_api_threadpool_workers: i64 = 0;

    // What a server is told.

    /// Variables. Values are templates; a table is an `EnvVar` of the API.
    environment: Map<String, Value> = Map::new();
    /// Variables taken over from the hub.
    env_keep: Vec<String> = Vec::new();
    /// Most memory.
    mem_limit: ByteCount = ByteCount::default();
    /// Memory set aside.
    mem_guarantee: ByteCount = ByteCount::default();
    /// Most processor cores.
    cpu_limit: Option<f64> = None;
    /// Processor cores set aside.
    cpu_guarantee: Option<f64> = None;
    /// Directory shown first; knows `{username}` and `{base_url}`.
    notebook_dir: String = String::new();
    /// Page shown first; knows the same.
    default_url: String = String::new();
    /// Log in detail.
    debug: bool = false;
    /// No configuration of the person's own.
    disable_user_config: bool = false;
    /// Address of the hub for servers, where it differs.
    hub_connect_url: Option<String> = None;
    /// Deprecated by stock, and without effect: use `hub_connect_url`.
    hub_connect_ip: Option<String> = Some(String::new());
    /// Deprecated by stock, and without effect: use `hub_connect_url`.
    hub_connect_port: i64 = 0;
    /// Scopes that a server may ask for on behalf of visitors.
    oauth_client_allowed_scopes: Vec<Value> = Vec::new();
    /// Roles for the same purpose; deprecated by stock.
    oauth_roles: Vec<Value> = Vec::new();
    /// Scopes of a server's own token.
    server_token_scopes: Vec<Value> = Vec::new();

    // Choices.

    /// Changes for members of groups, by a key that is for sorting only: `{groups, spawner_override}`.
    group_overrides: Map<String, Value> = Map::new();
    /// Profiles that people choose from.
    profile_list: ProfileList = ProfileList::default();
    /// Template of the form, in place of the built-in one.
    profile_form_template: String = String::new();
    /// Directories with a `form.html` in place of the built-in one.
    additional_profile_form_template_paths: Vec<String> = Vec::new();
    /// HTML of the form when there are no profiles.
    options_form: String = String::new();

    // Beyond stock.

    /// How a free text must fit the `validation_regex` of an option.
    unlisted_choice_match: UnlistedMatch = UnlistedMatch::Whole;
    /// Changes of the finished pod, in order.
    pod_patches: Vec<PatchRule> = Vec::new();
    /// Make the namespaces of `enable_user_namespaces` when they are missing.
    create_namespaces: bool = true;
    /// Check the values of manifests against the types of the API when the hub starts.
    check_manifests: bool = true;
    /// Which containers must be ready before a server counts as started.
    ready_when: ReadyWhen = ReadyWhen::Notebook;
    /// Ask the registry for the image before a server is started, so that one that is not there is told at once.
    check_images: bool = false;
    /// Seconds after which a start is given up whose trouble does not pass by waiting, such as an image that does not
    /// exist; 0 waits for `start_timeout` as stock does.
    give_up_after: i64 = 5;
    /// After so many restarts of its container in a row a server that crashes again and again counts as ended; 0 never.
    crash_limit: i64 = 5;
    /// Seconds that a pod may take to go beyond its time to end, before it is deleted by force; 0 never.
    force_delete_after: i64 = 30;
    /// Give a server its API token by a secret, so that whoever may read pods does not read tokens.
    token_secret: bool = false;
    /// Name by which this hub's pods are told from those of other hubs; that of its namespace when left out. Outside of
    /// a cluster there is none.
    hub_id: String = String::new();
    /// Keep the content of a claim as a `VolumeSnapshot` before the claim is deleted for ever. Tried until it is done.
    archive_pvc: bool = false;
    /// Class of such snapshots; the cluster's own when left out.
    archive_snapshot_class: Option<String> = None;
    /// Seconds after which a pod of this hub that no server of it knows is deleted; 0 never.
    orphan_grace: i64 = 3600;
}

impl Traits {
    /// The port that a server listens on.
    pub fn listen_port(&self) -> i64 {
        if self.port == 0 { 8888 } else { self.port }
    }

    /// All options as one JSON object.
    pub fn to_json(&self) -> Value {
        Value::Object(
            Self::NAMES
                .iter()
                .map(|name| ((*name).to_owned(), self.get(name).unwrap_or(json!(null))))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_can_be_read_and_set_by_its_name() {
        let defaults = Traits::default();
        let mut copy = Traits::default();
        for name in Traits::NAMES {
            let value = defaults.get(name).unwrap();
            assert_eq!(copy.set(name, value), Ok(true), "{name}");
        }
        assert_eq!(copy, defaults);
        assert_eq!(copy.set("no_such_option", json!(1)), Ok(false));
        assert_eq!(copy.get("no_such_option"), None);
    }

    #[test]
    fn values_of_the_wrong_kind_are_refused() {
        let mut traits = Traits::default();
        for (name, value) in [
            ("uid", json!("5")),
            ("debug", json!("yes")),
            ("cpu_limit", json!("1")),
            ("volumes", json!("x")),
            ("node_selector", json!([])),
            ("slug_scheme", json!("other")),
            ("profile_list", json!(["x"])),
            ("image", json!(null)),
        ] {
            assert!(traits.set(name, value.clone()).is_err(), "{name} = {value}");
        }
        assert_eq!(traits, Traits::default());
    }
}
