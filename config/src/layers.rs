//! The sources, each read into a tree whose every node knows where it was written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Origin, Problem};
use crate::schema;

/// Largest configuration file that is read, in bytes.
const LARGEST_FILE: u64 = 4 << 20;

/// Where to read a configuration from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Files and built-in texts, later ones win.
    pub files: Vec<FileSource>,
    /// The environment: `HUB__SECTION__KEY`, and JupyterHub's own variables.
    pub env: BTreeMap<String, String>,
    /// What command-line flags say; they win over all else, the last over those before.
    pub overrides: Vec<Override>,
    /// The plugins that exist. When empty, every name is taken for one.
    pub plugins: KnownPlugins,
}

/// A configuration text.
#[derive(Debug, Clone)]
pub enum FileSource {
    /// A file that must exist.
    Path(PathBuf),
    /// A text that is part of the program.
    BuiltIn {
        /// Name for messages.
        name: String,
        /// The TOML text.
        text: String,
    },
}

/// One setting from a command-line flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Path of the key, `spawner.start_timeout`; parts may be quoted as in TOML.
    pub key: String,
    /// The value as a person writes it in a shell: see [`Sources::env`].
    pub value: String,
    /// The flag, for messages: `--set`, `--ip`.
    pub flag: String,
}

/// Names of the plugins that can be chosen as `kind`.
#[derive(Debug, Clone, Default)]
pub struct KnownPlugins {
    /// Authenticators.
    pub authenticators: Vec<String>,
    /// Spawners.
    pub spawners: Vec<String>,
}

impl Sources {
    /// The environment of this process. Variables that are not UTF-8 are left out: no setting could hold them.
    pub fn process_env() -> BTreeMap<String, String> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: NodeValue,
    pub(crate) origin: Origin,
}

/// A TOML value whose inner values know where they were written.
#[derive(Debug, Clone)]
pub(crate) enum NodeValue {
    /// A table.
    Table(BTreeMap<String, Node>),
    /// A list.
    List(Vec<Node>),
    /// A text, number or truth value.
    Leaf(Value),
    /// A date or time, which no setting is.
    Date(String),
}

impl Node {
    pub(crate) fn leaf(value: impl Into<Value>, origin: Origin) -> Self {
        Self { value: NodeValue::Leaf(value.into()), origin }
    }

    pub(crate) fn table(origin: Origin) -> Self {
        Self { value: NodeValue::Table(BTreeMap::new()), origin }
    }

    pub(crate) fn as_table_mut(&mut self) -> Option<&mut BTreeMap<String, Node>> {
        match &mut self.value {
            NodeValue::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The value alone.
    pub(crate) fn to_value(&self) -> Value {
        match &self.value {
            NodeValue::Table(table) => {
                Value::Object(table.iter().map(|(key, node)| (key.clone(), node.to_value())).collect())
            }
            NodeValue::List(list) => list.iter().map(Node::to_value).collect(),
            NodeValue::Leaf(value) => value.clone(),
            NodeValue::Date(text) => Value::String(text.clone()),
        }
    }

    /// A node for every part of a plain value, all from one place.
    fn from_value(value: Value, origin: &Origin) -> Self {
        let value = match value {
            Value::Object(map) => NodeValue::Table(
                map.into_iter().map(|(key, value)| (key, Self::from_value(value, origin))).collect(),
            ),
            Value::Array(list) => {
                NodeValue::List(list.into_iter().map(|value| Self::from_value(value, origin)).collect())
            }
            leaf => NodeValue::Leaf(leaf),
        };
        Self { value, origin: origin.clone() }
    }

    /// Puts a value at the end of a path, making tables on the way.
    fn insert(&mut self, path: &[String], node: Node) -> Result<(), String> {
        let Some((first, rest)) = path.split_first() else {
            *self = node;
            return Ok(());
        };
        let origin = node.origin.clone();
        let Some(table) = self.as_table_mut() else { return Err(first.clone()) };
        table.entry(first.clone()).or_insert_with(|| Self::table(origin)).insert(rest, node)
    }
}

/// One source, read.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) root: Node,
    /// What relative paths of secret files are relative to.
    pub(crate) directory: Option<PathBuf>,
}

/// Reads a file or built-in text. Every syntax error becomes a problem; what could be read goes on.
pub(crate) fn read_file(source: &FileSource, problems: &mut Vec<Problem>) -> Option<Layer> {
    let (text, place, directory): (_, Box<dyn Fn(usize) -> Origin>, _) = match source {
        FileSource::BuiltIn { name, text } => {
            let name = name.clone();
            (text.clone(), Box::new(move |line| Origin::BuiltIn { name: name.clone(), line }), None)
        }
        FileSource::Path(path) => {
            let text = match read_text(path) {
                Ok(text) => text,
                Err(problem) => {
                    problems.push(*problem);
                    return None;
                }
            };
            let directory = path.parent().map(Path::to_path_buf);
            let path = path.clone();
            (text, Box::new(move |line| Origin::File { path: path.clone(), line }), directory)
        }
    };
    let (table, errors) = DeTable::parse_recoverable(&text);
    let lines = Lines::new(&text);
    for error in &errors {
        let line = lines.at(error.span().map_or(0, |span| span.start));
        problems
            .push(Problem::new("", error.message().trim()).at(place(line)).hint("this is not valid TOML"));
    }
    if !errors.is_empty() {
        return None;
    }
    let root =
        Node { value: NodeValue::Table(from_table(table.get_ref(), &lines, &*place)), origin: place(1) };
    Some(Layer { root, directory })
}

fn read_text(path: &Path) -> Result<String, Box<Problem>> {
    let place = Origin::File { path: path.to_path_buf(), line: 1 };
    let fail = |message: String| Box::new(Problem::new("", message).at(place.clone()));
    let about = std::fs::metadata(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    if about.is_dir() {
        return Err(fail("this is a directory, not a configuration file".to_owned()));
    }
    if about.len() > LARGEST_FILE {
        return Err(fail(format!("is larger than {} MiB", LARGEST_FILE >> 20)));
    }
    let bytes = std::fs::read(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|_| fail("is not UTF-8 text".to_owned()))
}

/// From byte offsets to line numbers.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}

fn from_table(table: &DeTable<'_>, lines: &Lines, place: &dyn Fn(usize) -> Origin) -> BTreeMap<String, Node> {
    table
        .iter()
        .map(|(key, value)| {
            let mut node = from_toml(value, lines, place);
            // the line of the key is where people look, also for values over several lines
            node.origin = place(lines.at(key.span().start));
            (key.get_ref().to_string(), node)
        })
        .collect()
}

fn from_toml(value: &Spanned<DeValue<'_>>, lines: &Lines, place: &dyn Fn(usize) -> Origin) -> Node {
    let value_of = match value.get_ref() {
        DeValue::String(text) => NodeValue::Leaf(Value::String(text.to_string())),
        DeValue::Boolean(truth) => NodeValue::Leaf(Value::Bool(*truth)),
        DeValue::Integer(number) => NodeValue::Leaf(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Value::String(number.to_string()), Value::from),
        ),
        DeValue::Float(number) => NodeValue::Leaf(
            number
                .as_str()
                .parse::<f64>()
                .ok()
                .and_then(Number::from_f64)
                .map_or_else(|| Value::String(number.to_string()), Value::Number),
        ),
        DeValue::Datetime(date) => NodeValue::Date(date.to_string()),
        DeValue::Array(list) => {
            NodeValue::List(list.iter().map(|value| from_toml(value, lines, place)).collect())
        }
        DeValue::Table(table) => NodeValue::Table(from_table(table, lines, place)),
    };
    Node { value: value_of, origin: place(lines.at(value.span().start)) }
}

/// What a variable of JupyterHub holds.
#[derive(Clone, Copy)]
enum Form {
    Text,
    /// Texts with `;` between them.
    Texts,
    /// Numbers with commas between them. An infinite bound at the end is always there and left out.
    Bounds,
}

/// JupyterHub's own variables: name, key, what it holds.
const STOCK_VARIABLES: [(&str, [&str; 2], Form); 8] = [
    ("JPY_COOKIE_SECRET", ["hub", "cookie_secret"], Form::Text),
    ("JUPYTERHUB_CRYPT_KEY", ["hub", "crypt_keys"], Form::Texts),
    ("JUPYTERHUB_XSRF_ANONYMOUS_ID_HEADERS", ["hub", "xsrf_anonymous_id_headers"], Form::Texts),
    ("JUPYTERHUB_XSRF_ANONYMOUS_IP_CIDRS", ["hub", "xsrf_anonymous_ip_cidrs"], Form::Texts),
    ("CONFIGPROXY_AUTH_TOKEN", ["proxy", "auth_token"], Form::Text),
    ("JUPYTERHUB_METRICS_PREFIX", ["metrics", "prefix"], Form::Text),
    (
        "JUPYTERHUB_SERVER_SPAWN_DURATION_SECONDS_BUCKETS",
        ["metrics", "server_spawn_duration_seconds_buckets"],
        Form::Bounds,
    ),
    (
        "JUPYTERHUB_SERVER_STOP_DURATION_SECONDS_BUCKETS",
        ["metrics", "server_stop_duration_seconds_buckets"],
        Form::Bounds,
    ),
];

impl Form {
    fn read(self, text: &str) -> Value {
        match self {
            Self::Text => text.into(),
            Self::Texts => {
                text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect()
            }
            Self::Bounds => {
                let bound = |part: &str| match part.trim().parse::<f64>() {
                    Ok(f64::INFINITY) => None,
                    // What is no number is refused where the key is read.
                    number => Some(number.ok().and_then(Number::from_f64).map_or(part.into(), Value::Number)),
                };
                text.split(',').filter_map(bound).collect()
            }
        }
    }
}

/// JupyterHub's own variables. As in stock they are the weakest source: a configuration file wins over them. An
/// empty variable says nothing.
pub(crate) fn read_stock_env(env: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Layer {
    let mut root = Node::table(Origin::Default);
    for (name, path, form) in STOCK_VARIABLES {
        let Some(text) = env.get(name).map(|text| text.trim()).filter(|text| !text.is_empty()) else {
            continue;
        };
        let path = path.map(str::to_owned);
        insert(&mut root, &path, form.read(text), Origin::Env(name.to_owned()), problems);
    }
    Layer { root, directory: None }
}

/// Variables `HUB__SECTION__KEY`.
pub(crate) fn read_env(env: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Layer {
    let mut root = Node::table(Origin::Default);
    for (name, text) in env {
        let Some(path) = name.strip_prefix("HUB__") else { continue };
        let path: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        put(&mut root, &path, text, Origin::Env(name.clone()), problems);
    }
    Layer { root, directory: None }
}

/// Flags.
pub(crate) fn read_overrides(overrides: &[Override], problems: &mut Vec<Problem>) -> Layer {
    let mut root = Node::table(Origin::Default);
    for Override { key, value, flag } in overrides {
        let origin = Origin::Flag(flag.clone());
        match split_key(key) {
            Some(path) => put(&mut root, &path, value, origin, problems),
            None => problems.push(
                Problem::new(key, "is no key").at(origin).hint("write section.key, for example hub.base_url"),
            ),
        }
    }
    Layer { root, directory: None }
}

fn put(root: &mut Node, path: &[String], text: &str, origin: Origin, problems: &mut Vec<Problem>) {
    insert(root, path, guess(text, path), origin, problems);
}

fn insert(root: &mut Node, path: &[String], value: Value, origin: Origin, problems: &mut Vec<Problem>) {
    if let Err(at) = root.insert(path, Node::from_value(value, &origin)) {
        let message = format!("cannot be set below a plain value ({at} has no table above it)");
        problems.push(Problem::new(path.join("."), message).at(origin));
    }
}

/// `a.b."c d"` as its parts.
fn split_key(key: &str) -> Option<Vec<String>> {
    let text = format!("{key} = 0");
    let table = DeTable::parse(&text).ok()?;
    let mut path = Vec::new();
    let mut at = table.into_inner();
    loop {
        let mut entries = at.into_iter();
        let (key, value) = entries.next()?;
        path.push(key.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => at = inner,
            DeValue::Integer(_) if entries.next().is_none() => return Some(path),
            _ => return None,
        }
    }
}

/// Reads the text of a variable or flag as what the key wants: a text stays as it is, a list may be separated by
/// commas, all else is written as in TOML.
fn guess(text: &str, path: &[String]) -> Value {
    let wanted = lookup(path);
    let types = wanted.map(schema::types).unwrap_or_default();
    if wanted.is_some_and(|schema| schema::choices(schema).is_some()) || types == ["string"] {
        return text.into();
    }
    if let Some(value) = parse_value(text) {
        return value;
    }
    if types.contains(&"array") {
        return text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect();
    }
    text.into()
}

fn parse_value(text: &str) -> Option<Value> {
    let parsed = DeValue::parse(text.trim()).ok()?;
    let lines = Lines::new(text);
    let node = from_toml(&parsed, &lines, &|_| Origin::Default);
    match node.value {
        NodeValue::Date(_) => None,
        _ => Some(node.to_value()),
    }
}

/// The schema of a key.
pub(crate) fn lookup(path: &[String]) -> Option<&'static Value> {
    let mut at: &'static Value = &schema::SCHEMA;
    for step in path {
        at = at
            .get("properties")
            .and_then(|properties| properties.get(step))
            .or_else(|| at.get("additionalProperties").filter(|inner| inner.is_object()))?;
    }
    Some(at)
}
