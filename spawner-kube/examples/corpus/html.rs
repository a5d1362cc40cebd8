//! Reads the fields of a form: enough of HTML for forms of profiles.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

type Attributes = BTreeMap<String, String>;

/// A profile that was found, with its fields.
struct Found {
    profile: Map<String, Value>,
    selects: Vec<Value>,
    texts: Vec<Value>,
}

enum Token {
    Open(String, Attributes),
    Close(String),
    Text(String),
}

/// Profiles with their options: selects first, then free texts, as the recording lists them.
pub(crate) fn fields(html: &str) -> Value {
    let tokens = tokens(html);
    let labels = labels(&tokens);
    let label = |id: Option<&String>| id.and_then(|id| labels.get(id)).cloned();
    let mut profiles: Vec<Found> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Token::Open(tag, attributes) = token else { continue };
        let text = || inner_text(&tokens, at, tag);
        let attribute = |name: &str| attributes.get(name);
        if tag == "input" && attribute("type").is_some_and(|kind| kind == "radio") {
            let profile = json!({
                "name": attribute("name"), "value": attribute("value"),
                "checked": attributes.contains_key("checked"), "display_name": null, "description": null,
            });
            let Value::Object(profile) = profile else { continue };
            profiles.push(Found { profile, selects: Vec::new(), texts: Vec::new() });
            continue;
        }
        let Some(Found { profile, selects, texts }) = profiles.last_mut() else { continue };
        match tag.as_str() {
            "h3" => {
                profile.insert("display_name".to_owned(), text().into());
            }
            "p" => {
                profile.insert("description".to_owned(), text().into());
            }
            "select" => selects.push(json!({
                "name": attribute("name"), "label": label(attribute("id")), "choices": choices(&tokens, at),
            })),
            "input" => texts.push(json!({
                "free_text_name": attribute("data-name").or(attribute("name")), "label": label(attribute("id")),
                "pattern": attribute("pattern"), "title": attribute("title"),
            })),
            _ => {}
        }
    }
    profiles
        .into_iter()
        .map(|Found { mut profile, mut selects, texts }| {
            selects.extend(texts);
            profile.insert("options".to_owned(), selects.into());
            Value::Object(profile)
        })
        .collect()
}

fn labels(tokens: &[Token]) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (at, token) in tokens.iter().enumerate() {
        if let Token::Open(tag, attributes) = token
            && let ("label", Some(id)) = (tag.as_str(), attributes.get("for"))
        {
            labels.insert(id.clone(), inner_text(tokens, at, tag));
        }
    }
    labels
}

fn choices(tokens: &[Token], select: usize) -> Vec<Value> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate().skip(select) {
        match token {
            Token::Open(tag, attributes) if tag == "option" => found.push(json!({
                "value": attributes.get("value"), "selected": attributes.contains_key("selected"),
                "text": inner_text(tokens, at, tag),
            })),
            Token::Close(tag) if tag == "select" => break,
            _ => {}
        }
    }
    found
}

/// The texts inside an element, each without white space at its ends.
fn inner_text(tokens: &[Token], open: usize, tag: &str) -> String {
    let mut depth = 0_usize;
    let mut out = String::new();
    for token in tokens.iter().skip(open) {
        match token {
            Token::Open(name, _) if name == tag => depth += 1,
            Token::Close(name) if name == tag => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            Token::Text(text) => out.push_str(text.trim()),
            _ => {}
        }
    }
    out
}

fn tokens(html: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = html;
    while let Some((text, after)) = rest.split_once('<') {
        if !text.is_empty() {
            found.push(Token::Text(unescape(text)));
        }
        let (token, remainder) = tag(after);
        rest = remainder;
        let raw = match &token {
            Token::Open(name, _) if matches!(name.as_str(), "script" | "style") => Some(format!("</{name}>")),
            _ => None,
        };
        found.push(token);
        if let Some((_, after)) = raw.and_then(|end| rest.split_once(end.as_str())) {
            rest = after;
        }
    }
    found
}

/// A tag, from behind its `<`.
fn tag(text: &str) -> (Token, &str) {
    if let Some(closing) = text.strip_prefix('/') {
        let (name, rest) = closing.split_once('>').unwrap_or((closing, ""));
        return (Token::Close(name.trim().to_owned()), rest);
    }
    let end = text.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut attributes = Attributes::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if rest.is_empty() {
            break;
        }
        if let Some(after) = rest.strip_prefix('>') {
            rest = after;
            break;
        }
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>')).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        rest = after;
        let mut value = String::new();
        if let Some(after) = rest.strip_prefix("=\"") {
            let (quoted, after) = after.split_once('"').unwrap_or((after, ""));
            value = unescape(quoted);
            rest = after;
        }
        attributes.insert(key.to_owned(), value);
    }
    (Token::Open(name.to_owned(), attributes), rest)
}

/// Characters written as `&amp;`, `&#65;` or `&#x41;`.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let entity = after.split_once(';').and_then(|(name, tail)| Some((character(name)?, tail)));
        let (c, tail) = entity.unwrap_or(('&', after));
        out.push(c);
        rest = tail;
    }
    out + rest
}

fn character(name: &str) -> Option<char> {
    let code = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    match (name, name.strip_prefix("#x"), name.strip_prefix('#')) {
        (_, Some(hex), _) => code(hex, 16),
        (_, None, Some(decimal)) => code(decimal, 10),
        ("lt", ..) => Some('<'),
        ("gt", ..) => Some('>'),
        ("quot", ..) => Some('"'),
        ("amp", ..) => Some('&'),
        _ => None,
    }
}
