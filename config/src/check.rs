//! Holds what was read against the schema: unknown keys, wrong types, values that cannot be read. Whatever is wrong
//! is reported and taken out, so that the rest can be checked too.

use std::collections::BTreeMap;
use std::path::Path;

use hub_core::plugin::parse_duration;
use serde_json::Value;

use crate::addresses::{BindUrl, normalise_base_url};
use crate::durations::{parse_size, parse_wait};
use crate::layers::{Layer, Node, NodeValue};
use crate::problem::Problem;
use crate::schema::{self, SCHEMA, SYNONYMS, alternatives, choices, kind, types};
use crate::secret_files;
use crate::stock;

/// What came of a check.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// Checks one layer, reads its secret files and brings its keys to their one form.
pub(crate) fn check_layer(layer: &mut Layer, findings: &mut Findings) {
    name_plugins_alike(&mut layer.root);
    let mut walk = Walk { findings, directory: layer.directory.as_deref() };
    walk.node(&mut layer.root, &SCHEMA, "");
    translate_synonyms(&mut layer.root, findings);
}

/// `shared_password` is `shared-password`: variables cannot have hyphens in their names.
fn name_plugins_alike(root: &mut Node) {
    for section in ["authenticator", "spawner"] {
        let Some(properties) = SCHEMA.pointer(&format!("/properties/{section}/properties")) else { continue };
        let Some(node) = root.as_table_mut().and_then(|root| root.get_mut(section)) else { continue };
        let profiles = |node: &mut Node| -> Option<()> {
            let profiles = node.as_table_mut()?.get_mut("profiles")?.as_table_mut()?;
            for profile in profiles.values_mut() {
                hyphenate(profile, properties);
            }
            Some(())
        };
        profiles(node);
        hyphenate(node, properties);
    }
}

fn hyphenate(section: &mut Node, properties: &Value) {
    let Some(table) = section.as_table_mut() else { return };
    if let Some(Node { value: NodeValue::Leaf(Value::String(kind)), .. }) = table.get_mut("kind") {
        *kind = kind.replace('_', "-");
    }
    let names: Vec<String> = table
        .iter()
        .filter(|(name, node)| {
            name.contains('_') && properties.get(name).is_none() && matches!(node.value, NodeValue::Table(_))
        })
        .map(|(name, _)| name.clone())
        .collect();
    for name in names {
        if let Some(node) = table.remove(&name) {
            table.entry(name.replace('_', "-")).or_insert(node);
        }
    }
}

fn translate_synonyms(root: &mut Node, findings: &mut Findings) {
    for synonym in SYNONYMS {
        let Some(section) =
            root.as_table_mut().and_then(|root| root.get_mut(synonym.section)).and_then(Node::as_table_mut)
        else {
            continue;
        };
        let Some(mut node) = section.remove(synonym.name) else { continue };
        if section.contains_key(synonym.target) {
            let key = format!("{}.{}", synonym.section, synonym.name);
            let message = format!("says the same as {}; keep one of them", synonym.target);
            findings.problems.push(Problem::new(key, message).at(node.origin));
            continue;
        }
        if let NodeValue::Leaf(Value::Number(number)) = &node.value {
            node.value = NodeValue::Leaf((number.as_f64().unwrap_or(0.0) * synonym.seconds).into());
        }
        section.insert(synonym.target.to_owned(), node);
    }
}

struct Walk<'w> {
    findings: &'w mut Findings,
    directory: Option<&'w Path>,
}

impl Walk<'_> {
    /// Returns whether the node can stay.
    fn node(&mut self, node: &mut Node, schema: &Value, key: &str) -> bool {
        if let Some(choices) = choices(schema) {
            return self.choice(node, &choices, key);
        }
        if let Some(alternatives) = alternatives(schema) {
            let fitting = alternatives.iter().find(|schema| fits(node, schema));
            return match fitting {
                Some(schema) => self.node(node, schema, key),
                None => self.wrong_type(node, schema, key),
            };
        }
        if !fits(node, schema) {
            return self.wrong_type(node, schema, key);
        }
        match &mut node.value {
            NodeValue::Table(table) => {
                self.table(table, schema, key);
                true
            }
            NodeValue::List(list) => {
                if let Some(items) = schema.get("items") {
                    for (index, item) in list.iter_mut().enumerate() {
                        self.node(item, items, &format!("{key}[{index}]"));
                    }
                    let fitting = |item: &Node| fits_somehow(item, items);
                    list.retain(fitting);
                }
                true
            }
            NodeValue::Leaf(value) => match readable(value, schema) {
                Ok(()) => true,
                Err(message) => {
                    self.findings.problems.push(Problem::new(key, message).at(node.origin.clone()));
                    false
                }
            },
            NodeValue::Date(_) => false,
        }
    }

    fn choice(&mut self, node: &Node, choices: &[&str], key: &str) -> bool {
        if let NodeValue::Leaf(Value::String(text)) = &node.value
            && choices.contains(&text.as_str())
        {
            return true;
        }
        let expected = choices.iter().map(|choice| format!("{choice:?}")).collect::<Vec<_>>().join(", ");
        let mut problem =
            Problem::new(key, format!("expected one of {expected}, found {}", found(node, false)));
        if let NodeValue::Leaf(Value::String(text)) = &node.value
            && let Some(nearest) = nearest(text, choices.iter().copied())
        {
            problem = problem.hint(format!("did you mean {nearest:?}?"));
        }
        self.findings.problems.push(problem.at(node.origin.clone()));
        false
    }

    fn table(&mut self, table: &mut BTreeMap<String, Node>, schema: &Value, key: &str) {
        secret_files::read(table, schema, key, self.directory, self.findings);
        let properties = schema.get("properties");
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let names: Vec<String> = table.keys().cloned().collect();
        for name in names {
            let inner = child(key, &name);
            let Some(node) = table.get_mut(&name) else { continue };
            let known = properties.and_then(|properties| properties.get(&name));
            let stays = match (known, others) {
                (Some(schema), _) => self.node(node, schema, &inner),
                // a plugin's table is the plugin's to check; a plain value can only be a mistyped key
                (None, Some(others)) if kind(others) == Some("plugin") => match &mut node.value {
                    NodeValue::Table(plugin) => {
                        secret_files::read_of_plugin(plugin, &inner, self.directory, self.findings);
                        self.dates(plugin, &inner);
                        true
                    }
                    _ => self.unknown(node, &name, key, properties),
                },
                (None, Some(others)) => self.node(node, others, &inner),
                (None, None) if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                    self.unknown(node, &name, key, properties)
                }
                (None, None) => true,
            };
            if !stays {
                table.remove(&name);
            }
        }
    }

    /// Plugins read JSON-like values, in which there are no dates.
    fn dates(&mut self, table: &BTreeMap<String, Node>, key: &str) {
        for (name, node) in table {
            match &node.value {
                NodeValue::Date(text) => {
                    let message = format!("expected text, found the date {text}; put it in quotes");
                    self.findings
                        .problems
                        .push(Problem::new(child(key, name), message).at(node.origin.clone()));
                }
                NodeValue::Table(inner) => self.dates(inner, &child(key, name)),
                _ => {}
            }
        }
    }

    fn unknown(&mut self, node: &Node, name: &str, key: &str, properties: Option<&Value>) -> bool {
        let what = if matches!(node.value, NodeValue::Table(_)) { "unknown table" } else { "unknown key" };
        let mut problem = Problem::new(child(key, name), what).at(node.origin.clone());
        let siblings = properties.and_then(Value::as_object);
        let near = siblings.and_then(|known| nearest(name, known.keys().map(String::as_str)));
        if let Some(near) = near {
            problem = problem.hint(format!("did you mean {near}?"));
        } else if let Some(ours) = stock::counterpart(name) {
            problem = problem.hint(format!("what JupyterHub calls {name} is {ours} here"));
        } else if let Some(elsewhere) = elsewhere(name) {
            problem = problem.hint(format!("there is {elsewhere}"));
        } else if let Some(known) = siblings.filter(|known| known.len() <= 16) {
            let known: Vec<&str> = known.keys().map(String::as_str).collect();
            problem = problem.hint(format!("known here: {}", known.join(", ")));
        }
        self.findings.problems.push(problem);
        false
    }

    fn wrong_type(&mut self, node: &Node, schema: &Value, key: &str) -> bool {
        let message =
            format!("expected {}, found {}", expected(schema), found(node, schema::is_secret(schema)));
        self.findings.problems.push(Problem::new(key, message).at(node.origin.clone()));
        false
    }
}

/// `a.b`, or `b` at the top.
pub(crate) fn child(key: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let name = if plain { name.to_owned() } else { format!("{name:?}") };
    if key.is_empty() { name } else { format!("{key}.{name}") }
}

/// The same name in another section.
fn elsewhere(name: &str) -> Option<String> {
    let sections = SCHEMA.get("properties")?.as_object()?;
    if sections.contains_key(name) {
        return Some(format!("[{name}] at the top"));
    }
    let (section, _) = sections.iter().find(|(_, section)| {
        section.get("properties").and_then(|properties| properties.get(name)).is_some()
    })?;
    Some(format!("{section}.{name}"))
}

/// The known word that is most like a mistyped one, if any is much like it.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    known
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&word, candidate);
            // whole words left out or added ("timeout" for "start_timeout") count as likely too
            let contained = candidate.len().min(word.len()) >= 5
                && (candidate.contains(word.as_str()) || word.contains(candidate));
            (candidate, if contained { distance.min(2) } else { distance })
        })
        .filter(|(candidate, distance)| *distance <= 1.max(candidate.chars().count().max(word.len()) / 4))
        .min_by_key(|(_, distance)| *distance)
        .map(|(candidate, _)| candidate)
}

/// Whether the JSON type is right.
fn fits(node: &Node, schema: &Value) -> bool {
    let wanted = types(schema);
    if wanted.is_empty() {
        return !matches!(node.value, NodeValue::Date(_));
    }
    wanted.iter().any(|wanted| match (&node.value, *wanted) {
        (NodeValue::Table(_), "object")
        | (NodeValue::List(_), "array")
        | (NodeValue::Leaf(Value::String(_)), "string")
        | (NodeValue::Leaf(Value::Bool(_)), "boolean")
        | (NodeValue::Leaf(Value::Number(_)), "number") => true,
        (NodeValue::Leaf(Value::Number(number)), "integer") => !number.is_f64(),
        _ => false,
    })
}

fn fits_somehow(node: &Node, schema: &Value) -> bool {
    match alternatives(schema) {
        Some(alternatives) => alternatives.iter().any(|schema| fits(node, schema)),
        None => fits(node, schema),
    }
}

/// Whether a value of the right type has a meaning.
fn readable(value: &Value, schema: &Value) -> Result<(), String> {
    if let Some(number) = value.as_f64() {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        if bound("minimum").is_some_and(|least| number < least) {
            return Err(format!("expected {} or more, found {value}", bound("minimum").unwrap_or(0.0)));
        }
        let most = bound("maximum").or_else(|| match schema.get("format").and_then(Value::as_str) {
            Some("uint32") => Some(f64::from(u32::MAX)),
            _ => None,
        });
        if let Some(most) = most.filter(|most| number > *most) {
            return Err(format!("expected at most {most}, found {value}"));
        }
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match kind(schema) {
        Some("duration") => parse_duration(&text).map(drop).map_err(|error| error.to_string()),
        Some("wait") => parse_wait(&text).map(drop).map_err(|error| error.to_string()),
        Some("size") => parse_size(&text).map(drop).map_err(|error| error.to_string()),
        Some("bind-url") => text.parse::<BindUrl>().map(drop).map_err(|error| error.to_string()),
        Some("base-url") => normalise_base_url(&text).map(drop).map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}

fn expected(schema: &Value) -> String {
    match kind(schema) {
        Some("duration") => return "a duration such as \"30s\" or a number of seconds".to_owned(),
        Some("wait") => return "a duration such as \"30s\", a number of seconds or \"forever\"".to_owned(),
        Some("size") => return "a size such as \"512M\" or a number of bytes".to_owned(),
        Some("bind-url") => return "an address such as \"http://127.0.0.1:8000\"".to_owned(),
        Some("secret-file") => return "the name of a file".to_owned(),
        Some("plugin") => return "the table of a plugin".to_owned(),
        _ => {}
    }
    if let Some(alternatives) = alternatives(schema) {
        return alternatives.iter().map(expected).collect::<Vec<_>>().join(" or ");
    }
    let names: Vec<String> = types(schema)
        .into_iter()
        .map(|name| match name {
            "string" => "text".to_owned(),
            "integer" => "a whole number".to_owned(),
            "number" => "a number".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => match schema.get("items").map(types).as_deref() {
                Some(["string"]) => "a list of texts".to_owned(),
                Some(["object"]) => "a list of tables".to_owned(),
                _ => "a list".to_owned(),
            },
            _ => "a table".to_owned(),
        })
        .collect();
    names.join(" or ")
}

/// What stands there instead, without the text of a secret.
fn found(node: &Node, secret: bool) -> String {
    match &node.value {
        NodeValue::Table(_) => "a table".to_owned(),
        NodeValue::List(_) => "a list".to_owned(),
        NodeValue::Date(text) => format!("the date {text}"),
        NodeValue::Leaf(Value::Number(_)) if secret => "a number".to_owned(),
        NodeValue::Leaf(_) if secret => "something else".to_owned(),
        NodeValue::Leaf(Value::String(text)) if text.chars().count() > 60 => "a long text".to_owned(),
        NodeValue::Leaf(Value::String(text)) => format!("the text {text:?}"),
        NodeValue::Leaf(Value::Number(number)) => format!("the number {number}"),
        NodeValue::Leaf(value) => value.to_string(),
    }
}
