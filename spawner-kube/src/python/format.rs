//! Python's `str.format`, for templates that stock expands with it.
//!
//! Fields are texts and whole numbers. Conversions (`!r`), format specifications (`:>20`, nested `{width}` too)
//! and characters by index (`[0]`) work as in Python. Attributes do not: stock would print the inside of Python
//! objects there, we refuse.

use std::borrow::Cow;

use hub_core::python::float_text;
use thiserror::Error;

use super::spec;
use super::text::repr;

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum PyValue<'a> {
    /// A text.
    Str(Cow<'a, str>),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

impl<'a> From<&'a str> for PyValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }
}

impl From<String> for PyValue<'_> {
    fn from(text: String) -> Self {
        Self::Str(Cow::Owned(text))
    }
}

impl PyValue<'_> {
    /// `str(value)`.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Str(text) => Cow::Borrowed(text),
            Self::Int(number) => Cow::Owned(number.to_string()),
            Self::Float(number) => Cow::Owned(float_text(*number)),
            Self::Bool(true) => Cow::Borrowed("True"),
            Self::Bool(false) => Cow::Borrowed("False"),
        }
    }
}

/// What a field that nobody knows becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// An error, as in `str.format`.
    Refuse,
    /// Itself in single braces, as stock renders the choices of people.
    Keep,
}

/// Why a template cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason} in the template {template:?} (write a literal brace twice: {{{{ or }}}})")]
pub struct FormatError {
    /// The template.
    pub template: String,
    /// What is wrong.
    pub reason: String,
}

type Lookup<'a, 'v> = dyn Fn(&str) -> Option<PyValue<'v>> + 'a;

/// Expands a template.
///
/// # Errors
/// Unbalanced braces, unknown fields (with [`Missing::Refuse`]), and specifications that do not fit the value.
pub(crate) fn format(
    template: &str,
    lookup: &Lookup<'_, '_>,
    missing: Missing,
) -> Result<String, FormatError> {
    let wrong = |reason: String| FormatError { template: template.to_owned(), reason };
    render(template, lookup, missing, 2).map_err(wrong)
}

fn render(template: &str, lookup: &Lookup<'_, '_>, missing: Missing, depth: u8) -> Result<String, String> {
    let Some(depth) = depth.checked_sub(1) else { return Err("too many nested braces".to_owned()) };
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (literal, marked) = rest.split_at(at);
        out.push_str(literal);
        let mut chars = marked.chars();
        let brace = chars.next();
        let after = chars.as_str();
        if brace == chars.next() {
            out.extend(brace);
            rest = chars.as_str();
            continue;
        }
        if brace == Some('}') {
            return Err("single `}`".to_owned());
        }
        if after.is_empty() {
            return Err("single `{`".to_owned());
        }
        let (field, remainder) = parse_field(after)?;
        out.push_str(&render_field(&field, lookup, missing, depth)?);
        rest = remainder;
    }
    out.push_str(rest);
    Ok(out)
}

/// `name!conversion:spec`.
struct Field<'t> {
    name: &'t str,
    conversion: Option<char>,
    spec: &'t str,
}

/// Splits the text behind an opening brace into the field and what follows its closing brace.
fn parse_field(text: &str) -> Result<(Field<'_>, &str), String> {
    let mut inside_index = false;
    let mut end = None;
    for (at, c) in text.char_indices() {
        match c {
            ']' if inside_index => inside_index = false,
            _ if inside_index => {}
            '[' => inside_index = true,
            '{' => return Err("unexpected `{` in a field name".to_owned()),
            '}' | ':' | '!' => {
                end = Some((at, c));
                break;
            }
            _ => {}
        }
    }
    let Some((at, mark)) = end else { return Err("a `}` is missing".to_owned()) };
    let (name, rest) = text.split_at(at);
    let rest = rest.get(mark.len_utf8()..).unwrap_or_default();
    match mark {
        '}' => Ok((Field { name, conversion: None, spec: "" }, rest)),
        ':' => {
            let (spec, rest) = parse_spec(rest)?;
            Ok((Field { name, conversion: None, spec }, rest))
        }
        _ => {
            let mut chars = rest.chars();
            let conversion = chars.next();
            if conversion.is_none() {
                return Err("the conversion after `!` is missing".to_owned());
            }
            match chars.next() {
                Some('}') => Ok((Field { name, conversion, spec: "" }, chars.as_str())),
                Some(':') => {
                    let (spec, rest) = parse_spec(chars.as_str())?;
                    Ok((Field { name, conversion, spec }, rest))
                }
                Some(_) => Err("`:` is missing after the conversion".to_owned()),
                None => Err("a `}` is missing".to_owned()),
            }
        }
    }
}

fn parse_spec(text: &str) -> Result<(&str, &str), String> {
    let mut open = 1_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            let (spec, rest) = text.split_at(at);
            return Ok((spec, rest.get(1..).unwrap_or_default()));
        }
    }
    Err("a `}` is missing".to_owned())
}

fn render_field(
    field: &Field<'_>,
    lookup: &Lookup<'_, '_>,
    missing: Missing,
    depth: u8,
) -> Result<String, String> {
    let value = resolve(field.name, lookup, missing)?;
    let value = match field.conversion {
        None => value,
        Some('s') => PyValue::from(value.text().into_owned()),
        Some(c @ ('r' | 'a')) => match value {
            PyValue::Str(text) => PyValue::from(repr(&text, c == 'a')),
            other => PyValue::from(other.text().into_owned()),
        },
        Some(other) => return Err(format!("unknown conversion `!{other}`")),
    };
    let spec = if field.spec.contains(['{', '}']) {
        Cow::Owned(render(field.spec, lookup, missing, depth)?)
    } else {
        Cow::Borrowed(field.spec)
    };
    spec::apply(&value, &spec)
}

fn resolve<'v>(name: &str, lookup: &Lookup<'_, 'v>, missing: Missing) -> Result<PyValue<'v>, String> {
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let (first, mut accessors) = name.split_at(end);
    if first.is_empty() || first.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a field without a name".to_owned());
    }
    let mut value = match (lookup(first), missing) {
        (Some(value), _) => value,
        (None, Missing::Keep) => PyValue::from(format!("{{{first}}}")),
        (None, Missing::Refuse) => return Err(format!("unknown field `{first}`")),
    };
    while !accessors.is_empty() {
        let Some(index) = accessors.strip_prefix('[') else {
            return Err(format!("`{name}` asks for an attribute, fields have none"));
        };
        let Some((index, rest)) = index.split_once(']') else { return Err("a `]` is missing".to_owned()) };
        value = character(&value, index, name)?;
        accessors = rest;
    }
    Ok(value)
}

fn character<'v>(value: &PyValue<'_>, index: &str, name: &str) -> Result<PyValue<'v>, String> {
    let PyValue::Str(text) = value else { return Err(format!("`{name}`: a number has no characters")) };
    let is_number = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
    let Some(position) = index.parse::<usize>().ok().filter(|_| is_number) else {
        return Err(format!("`{name}`: `{index}` is no position of a character"));
    };
    let found = text.chars().nth(position).map(|c| PyValue::from(c.to_string()));
    found.ok_or_else(|| format!("`{name}`: the text has no character {position}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn fields(name: &str) -> Option<PyValue<'static>> {
        match name {
            "username" => Some(PyValue::from("a'é")),
            "userid" => Some(PyValue::Int(-7)),
            "width" => Some(PyValue::Int(6)),
            _ => None,
        }
    }

    #[rstest]
    #[case("x-{username}", "x-a'é")]
    #[case("{{{username}}}", "{a'é}")]
    #[case("{username!r}", "\"a'é\"")]
    #[case("{username!a}", "\"a'\\xe9\"")]
    #[case("{username:>6}|{username:*^6}|{username:.2}", "   a'é|*a'é**|a'")]
    #[case("{username:{width}}|", "a'é   |")]
    #[case("{username:06}", "a'é000")]
    #[case("{userid:04d}|{userid:+x}|{userid:#b}|{userid:<4}|", "-007|-7|-0b111|-7  |")]
    #[case("{username[0]}", "a")]
    #[case("{userid!s:>4}", "  -7")]
    fn templates_expand_as_in_python(#[case] template: &str, #[case] text: &str) {
        assert_eq!(format(template, &fields, Missing::Refuse).as_deref(), Ok(text));
    }

    #[rstest]
    #[case("{", "single `{`")]
    #[case("}", "single `}`")]
    #[case("{username", "a `}` is missing")]
    #[case("${HOME}", "unknown field `HOME`")]
    #[case("{}", "without a name")]
    #[case("{0}", "without a name")]
    #[case("{username.upper}", "attribute")]
    #[case("{username[x]}", "no position")]
    #[case("{username[9]}", "no character 9")]
    #[case("{username!x}", "unknown conversion")]
    #[case("{username:d}", "does not fit a text")]
    #[case("{username:{width:{width}}}", "nested")]
    fn what_python_refuses_is_refused_with_a_reason(#[case] template: &str, #[case] reason: &str) {
        let error = format(template, &fields, Missing::Refuse).unwrap_err();
        assert!(error.reason.contains(reason), "{error}");
        assert!(error.to_string().contains("write a literal brace twice: {{ or }}"), "{error}");
    }

    #[test]
    fn unknown_fields_may_stay_as_they_are() {
        assert_eq!(format("{x} {{y}} {username}", &fields, Missing::Keep).as_deref(), Ok("{x} {y} a'é"));
    }
}
