//! The description as one page that needs nothing else: no script, no picture, no font.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The page's style sheet, for the policy that lets browsers use it and nothing else.
pub const STYLE: &str = "\
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}\
body{max-width:60rem;margin:0 auto;padding:1rem}\
code,pre{font-family:ui-monospace,monospace;font-size:.9em}\
pre{overflow:auto;padding:.75rem;border:1px solid #8886;border-radius:.4rem}\
details{border:1px solid #8886;border-radius:.4rem;margin:.4rem 0}\
details>*{margin:.5rem .75rem}\
summary{cursor:pointer;overflow-wrap:anywhere}\
summary b{display:inline-block;min-width:4.5rem}\
table{border-collapse:collapse;width:calc(100% - 1.5rem)}\
th,td{text-align:left;vertical-align:top;padding:.25rem .5rem;border-bottom:1px solid #8884}\
.note{opacity:.8}";

/// The page for a document of [`super::document`]. `source` is where the document itself is.
pub fn page(document: &Value, source: &str) -> String {
    let mut html = String::with_capacity(128 * 1024);
    let title = text(document, &["info", "title"]);
    let version = text(document, &["info", "version"]);
    let paths = map(document, "paths");
    put(
        &mut html,
        format_args!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{t} REST API</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{t} {v} REST API</h1>\n<p>{d}</p>\n\
         <p>For programs: <a href=\"{s}\">openapi.json</a></p>\n",
            t = escape(title),
            v = escape(version),
            d = prose(text(document, &["info", "description"])),
            s = escape(source),
        ),
    );
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(tag, &["name"]);
        put(
            &mut html,
            format_args!(
                "<h2 id=\"{n}\">{n}</h2>\n<p>{d}</p>\n",
                n = escape(name),
                d = prose(text(tag, &["description"])),
            ),
        );
        for (path, operations) in &paths {
            for (method, operation) in operations.as_object().into_iter().flatten() {
                let here = operation["tags"].as_array().is_some_and(|tags| tags.iter().any(|t| t == name));
                if here {
                    endpoint(&mut html, path, method, operation);
                }
            }
        }
    }
    html.push_str("<h2 id=\"models\">Models</h2>\n");
    for (name, schema) in map(&document["components"], "schemas") {
        put(&mut html, format_args!("<details id=\"model-{n}\"><summary>{n}</summary>", n = escape(&name)));
        put(&mut html, format_args!("<pre>{}</pre></details>\n", escape(&pretty(&schema))));
    }
    html.push_str("<h2 id=\"scopes\">Scopes</h2>\n<table>\n");
    for (name, about) in map(document, "x-scopes") {
        let about = prose(about.as_str().unwrap_or_default());
        put(&mut html, format_args!("<tr><th><code>{}</code></th><td>{about}</td></tr>\n", escape(&name)));
    }
    html.push_str("</table>\n</main>\n</body>\n</html>\n");
    html
}

fn endpoint(html: &mut String, path: &str, method: &str, operation: &Value) {
    put(
        html,
        format_args!(
            "<details id=\"{id}\"><summary><b>{m}</b> <code>{p}</code> {s}{x}</summary>\n<p>{d}</p>\n",
            id = escape(text(operation, &["operationId"])),
            m = method.to_ascii_uppercase(),
            p = escape(path),
            s = escape(text(operation, &["summary"])),
            x = match (&operation["x-extension"], &operation["deprecated"]) {
                (Value::Bool(true), _) => " <span class=\"note\">(not in JupyterHub)</span>",
                (_, Value::Bool(true)) => " <span class=\"note\">(deprecated)</span>",
                _ => "",
            },
            d = prose(text(operation, &["description"])),
        ),
    );
    let scopes = scopes_of(operation);
    if !scopes.is_empty() {
        put(html, format_args!("<p>Needs any of: {}</p>\n", scopes.join(", ")));
    }
    let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        html.push_str("<table>\n");
        for parameter in parameters {
            put(
                html,
                format_args!(
                    "<tr><th><code>{}</code></th><td>{}</td><td>{}</td></tr>\n",
                    escape(text(parameter, &["name"])),
                    escape(text(parameter, &["in"])),
                    prose(text(parameter, &["description"])),
                ),
            );
        }
        html.push_str("</table>\n");
    }
    for (media, content) in map(&operation["requestBody"], "content") {
        put(
            html,
            format_args!(
                "<p>Body, <code>{}</code>:</p>\n<pre>{}</pre>\n",
                escape(&media),
                escape(&pretty(&content["schema"])),
            ),
        );
    }
    html.push_str("<table>\n");
    for (status, answer) in map(operation, "responses") {
        let about = match answer["$ref"].as_str() {
            Some(_) => "error".to_owned(),
            None => {
                map(&answer, "content").values().map(|c| shape(&c["schema"])).collect::<Vec<_>>().join(", ")
            }
        };
        put(html, format_args!("<tr><th>{}</th><td>{about}</td></tr>\n", escape(&status)));
    }
    html.push_str("</table>\n</details>\n");
}

/// What an answer holds: links to models.
fn shape(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix(super::SCHEMAS)) {
        return format!("<a href=\"#model-{n}\">{n}</a>", n = escape(name));
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().map(shape).collect::<Vec<_>>().join(" or ");
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", shape(&schema["items"])),
        Some(kind) => escape(kind),
        None => String::new(),
    }
}

fn scopes_of(operation: &Value) -> Vec<String> {
    let alternatives = operation["security"].as_array().into_iter().flatten();
    let scopes = alternatives.filter_map(|one| one["token"].get(0)?.as_str());
    scopes.map(|scope| format!("<code>{}</code>", escape(scope))).collect()
}

fn put(html: &mut String, arguments: std::fmt::Arguments<'_>) {
    html.write_fmt(arguments).expect("a string takes whatever is written to it");
}

fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    path.iter().fold(value, |at, step| &at[*step]).as_str().unwrap_or_default()
}

fn map(value: &Value, key: &str) -> Map<String, Value> {
    value[key].as_object().cloned().unwrap_or_default()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Text with code between backticks.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (i, part) in text.split('`').enumerate() {
        let part = escape(part);
        if i % 2 == 1 {
            put(&mut html, format_args!("<code>{part}</code>"));
        } else {
            html.push_str(&part);
        }
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
