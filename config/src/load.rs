//! From sources to a [`Config`]: read, check, lay over each other, derive, validate.

use std::collections::BTreeMap;
use std::fmt;

use figment::Figment;
use figment::providers::Serialized;
use serde_json::{Map, Value, json};

use crate::Config;
use crate::addresses::{BindUrl, Listen};
use crate::check::{self, Findings, child};
use crate::layers::{self, FileSource, Layer, Node, NodeValue, Sources};
use crate::problem::{ConfigErrors, Origin, Problem};
use crate::schema::SCHEMA;
use crate::validate;

/// A configuration, and how it came about.
#[derive(Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Who set what.
    pub origins: Origins,
    /// What is doubtful but no mistake; to be logged once the log works.
    pub warnings: Vec<Problem>,
    /// What was set, before defaults; with secrets, so it stays in here.
    pub(crate) set: Value,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("config", &self.config)
            .field("origins", &self.origins)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// Who set what. Keys are paths, `spawner.start_timeout` or `services[0].name`.
#[derive(Debug, Clone, Default)]
pub struct Origins(BTreeMap<String, Mark>);

#[derive(Debug, Clone)]
struct Mark {
    layer: usize,
    origin: Origin,
}

impl Origins {
    /// Who set a key; [`Origin::Default`] where nobody did.
    pub fn of(&self, key: &str) -> &Origin {
        self.0.get(key).map_or(&Origin::Default, |mark| &mark.origin)
    }

    /// Whether anybody set a key.
    pub fn is_set(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Who set a key, or else the table or list that it is in.
    pub fn around(&self, key: &str) -> &Origin {
        let mut at = key;
        loop {
            if let Some(mark) = self.0.get(at) {
                return &mark.origin;
            }
            match at.rfind(['.', '[']) {
                Some(end) => at = at.get(..end).unwrap_or_default(),
                None => return &Origin::Default,
            }
        }
    }

    /// The number of the layer that set a key; later layers have higher numbers, defaults have none.
    fn layer(&self, key: &str) -> Option<usize> {
        self.0.get(key).map(|mark| mark.layer)
    }

    /// One key follows from another.
    fn derive(&mut self, key: &str, from: &str) {
        if let Some(mark) = self.0.get(from).cloned() {
            self.0.insert(key.to_owned(), mark);
        }
    }

    fn cover(&mut self, node: &Node, key: &str, layer: usize) {
        let mark = Mark { layer, origin: node.origin.clone() };
        match &node.value {
            NodeValue::Table(table) => {
                if !key.is_empty() {
                    self.0.entry(key.to_owned()).or_insert(mark);
                }
                for (name, inner) in table {
                    self.cover(inner, &child(key, name), layer);
                }
            }
            NodeValue::List(list) => {
                let prefix = format!("{key}[");
                self.0.retain(|known, _| !known.starts_with(&prefix));
                self.0.insert(key.to_owned(), mark);
                for (index, inner) in list.iter().enumerate() {
                    self.cover(inner, &format!("{key}[{index}]"), layer);
                }
            }
            NodeValue::Leaf(_) | NodeValue::Date(_) => {
                self.0.insert(key.to_owned(), mark);
            }
        }
    }
}

/// Reads all sources and lays them over each other: JupyterHub's own variables, files in their order, variables
/// `HUB__SECTION__KEY`, flags. Tables are merged key by key; lists are replaced.
///
/// # Errors
/// Every problem of every source, not only the first.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let mut findings = Findings::default();
    let mut all: Vec<Layer> = vec![layers::read_stock_env(&sources.env, &mut findings.problems)];
    all.extend(sources.files.iter().filter_map(|file| layers::read_file(file, &mut findings.problems)));
    all.push(layers::read_env(&sources.env, &mut findings.problems));
    all.push(layers::read_overrides(&sources.overrides, &mut findings.problems));

    let mut figment = Figment::new();
    let mut origins = Origins::default();
    for (number, layer) in all.iter_mut().enumerate() {
        check::check_layer(layer, &mut findings);
        origins.cover(&layer.root, "", number);
        figment = figment.merge(Serialized::defaults(layer.root.to_value()));
    }
    let set: Value = figment
        .extract()
        .map_err(|error| in_reading_order(unreadable(error, &origins, &mut findings), sources))?;
    let shaped = shape(set.clone());
    let extracted: Result<Config, _> = Figment::from(Serialized::defaults(shaped)).extract();
    let mut config =
        extracted.map_err(|error| in_reading_order(unreadable(error, &origins, &mut findings), sources))?;

    let mut problems = Vec::new();
    fold_addresses(&mut config, &mut origins, &mut problems);
    fold_database_password(&mut config, &sources.env);
    for admin in std::mem::take(&mut config.hub.admin_users) {
        if !config.authenticator.admin_users.contains(&admin) {
            config.authenticator.admin_users.push(admin);
        }
    }
    let mut validated = validate::validate(&config, &sources.plugins);
    problems.append(&mut validated.problems);
    findings.warnings.append(&mut validated.warnings);
    let located = |mut problem: Problem| {
        if problem.origin.is_none() {
            problem.origin = Some(origins.around(&problem.key).clone());
        }
        problem
    };
    findings.problems.extend(problems.into_iter().map(located));
    if !findings.problems.is_empty() {
        return Err(in_reading_order(findings.problems, sources));
    }
    let warnings = findings.warnings.into_iter().map(located).collect();
    Ok(Loaded { config, origins, warnings, set })
}

/// What the schema lets through and the structs refuse, after what was found before.
fn unreadable(error: figment::Error, origins: &Origins, findings: &mut Findings) -> Vec<Problem> {
    let mut problems = std::mem::take(&mut findings.problems);
    for error in error {
        let key = error.path.join(".");
        let origin = origins.around(&key).clone();
        problems.push(Problem::new(key, error.kind.to_string()).at(origin));
    }
    problems
}

/// File by file and line by line; then environment, then flags.
fn in_reading_order(mut problems: Vec<Problem>, sources: &Sources) -> ConfigErrors {
    let position = |wanted: &Origin| {
        sources.files.iter().position(|file| match (file, wanted) {
            (FileSource::Path(path), Origin::File { path: wanted, .. }) => path == wanted,
            (FileSource::BuiltIn { name, .. }, Origin::BuiltIn { name: wanted, .. }) => name == wanted,
            _ => false,
        })
    };
    problems.sort_by_key(|problem| match &problem.origin {
        Some(origin @ (Origin::File { line, .. } | Origin::BuiltIn { line, .. })) => {
            (position(origin).unwrap_or(usize::MAX - 2), *line)
        }
        None | Some(Origin::Default) => (usize::MAX - 2, usize::MAX),
        Some(Origin::Env(_)) => (usize::MAX - 1, 0),
        Some(Origin::Flag(_)) => (usize::MAX, 0),
    });
    ConfigErrors(problems)
}

/// From the shape that people write to the shape of the structs: plugin tables and profiles get places of their own.
fn shape(mut set: Value) -> Value {
    if let Some(section) = section_mut(&mut set, "authenticator") {
        gather_plugins(section, "authenticator");
    }
    if let Some(section) = section_mut(&mut set, "spawner") {
        let profiles = section.remove("profiles");
        let base = section.clone();
        gather_plugins(section, "spawner");
        if let Some(Value::Object(profiles)) = profiles {
            let profiles: Map<String, Value> =
                profiles.into_iter().map(|(name, profile)| (name, shape_profile(&base, profile))).collect();
            section.insert("profiles".to_owned(), Value::Object(profiles));
        }
    }
    set
}

fn section_mut<'v>(set: &'v mut Value, name: &str) -> Option<&'v mut Map<String, Value>> {
    set.get_mut(name)?.as_object_mut()
}

fn gather_plugins(section: &mut Map<String, Value>, name: &str) {
    let known = SCHEMA.pointer(&format!("/properties/{name}/properties"));
    let is_plugin = |key: &str| known.is_some_and(|known| known.get(key).is_none());
    let names: Vec<String> = section.keys().filter(|key| is_plugin(key)).cloned().collect();
    let plugins: Map<String, Value> =
        names.into_iter().filter_map(|name| section.remove(&name).map(|table| (name, table))).collect();
    section.insert("plugins".to_owned(), Value::Object(plugins));
}

fn shape_profile(base: &Map<String, Value>, profile: Value) -> Value {
    let Value::Object(mut profile) = profile else { return profile };
    let mut shaped = Map::new();
    for own in ["display_name", "description", "default", "allowed_workspaces"] {
        if let Some(value) = profile.remove(own) {
            shaped.insert(own.to_owned(), value);
        }
    }
    let mut spawner = Value::Object(base.clone());
    overlay(&mut spawner, Value::Object(profile));
    if let Some(spawner) = spawner.as_object_mut() {
        gather_plugins(spawner, "spawner");
    }
    shaped.insert("spawner".to_owned(), spawner);
    json!(shaped)
}

/// Lays one value over another: tables key by key, all else as a whole.
fn overlay(base: &mut Value, top: Value) {
    match (base, top) {
        (Value::Object(base), Value::Object(top)) => {
            for (key, value) in top {
                match base.get_mut(&key) {
                    Some(below) => overlay(below, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, top) => *base = top,
    }
}

/// A setting with its key.
type Keyed<'k, 'v, T> = (&'k str, &'v mut T);

/// Host and port of an address can have keys of their own, which hold unless a later source gives the whole address.
fn fold_parts(
    (whole_key, whole): Keyed<'_, '_, BindUrl>,
    (ip_key, ip): Keyed<'_, '_, Option<String>>,
    (port_key, port): Keyed<'_, '_, Option<u16>>,
    origins: &mut Origins,
    problems: &mut Vec<Problem>,
) {
    let layer = origins.layer(whole_key);
    if ip.is_some() && origins.layer(ip_key) < layer {
        *ip = None;
    }
    if port.is_some() && origins.layer(port_key) < layer {
        *port = None;
    }
    match &mut whole.listen {
        Listen::Tcp { host, port: number } => {
            if let Some(ip) = ip {
                origins.derive(whole_key, ip_key);
                ip.trim_matches(['[', ']']).clone_into(host);
            }
            if let Some(port) = port {
                origins.derive(whole_key, port_key);
                *number = *port;
            }
        }
        Listen::Unix(_) if ip.is_some() || port.is_some() => {
            problems
                .push(Problem::new(whole_key, format!("is a socket; {ip_key} and {port_key} say otherwise")));
        }
        Listen::Unix(_) => {}
    }
}

/// `proxy.ip` and `proxy.port` replace parts of `proxy.bind_url`, and its path sets `hub.base_url`, unless a later
/// source says otherwise: a flag `--url` wins over `port` in a file. Likewise the parts of `hub.hub_bind_url`.
fn fold_addresses(config: &mut Config, origins: &mut Origins, problems: &mut Vec<Problem>) {
    let bind_layer = origins.layer("proxy.bind_url");
    let base_layer = origins.layer("hub.base_url");
    let (hub, proxy) = (&mut config.hub, &mut config.proxy);
    let (ip, port) = (("hub.hub_ip", &mut hub.hub_ip), ("hub.hub_port", &mut hub.hub_port));
    fold_parts(("hub.hub_bind_url", &mut hub.hub_bind_url), ip, port, origins, problems);
    let (ip, port) = (("proxy.ip", &mut proxy.ip), ("proxy.port", &mut proxy.port));
    fold_parts(("proxy.bind_url", &mut proxy.bind_url), ip, port, origins, problems);
    if bind_layer.is_none() || proxy.bind_url.path == "/" || proxy.bind_url.path == config.hub.base_url {
        return;
    }
    if base_layer < bind_layer {
        config.hub.base_url.clone_from(&proxy.bind_url.path);
        origins.derive("hub.base_url", "proxy.bind_url");
    } else if base_layer == bind_layer {
        let message =
            format!("has the path {}, but hub.base_url is {}", proxy.bind_url.path, config.hub.base_url);
        problems.push(Problem::new("proxy.bind_url", message).hint("leave the path out here"));
    }
}

/// The variables that PostgreSQL's and MySQL's own programs read; Z2JH's chart gives the password in them.
fn fold_database_password(config: &mut Config, env: &BTreeMap<String, String>) {
    let variable = match config.db.dialect().as_str() {
        "postgresql" | "postgres" => "PGPASSWORD",
        "mysql" | "mariadb" => "MYSQL_PWD",
        _ => return,
    };
    if let Some(password) = env.get(variable).filter(|password| !password.is_empty())
        && config.db.password.is_none()
    {
        config.db.password = Some(password.as_str().into());
    }
}
