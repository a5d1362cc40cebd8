//! Values as text in HTML, to the character as Jinja2 with MarkupSafe writes them: what reads the pages of a hub by
//! pattern finds slashes as slashes, and `None` and `True` under the names that Python gives them.

use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Error, Output, State, escape_formatter};

pub(super) fn formatter(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_safe() || !matches!(state.auto_escape(), AutoEscape::Html) {
        return escape_formatter(out, state, value);
    }
    match value.kind() {
        ValueKind::None => out.write_str("None")?,
        ValueKind::Bool => out.write_str(if value.is_true() { "True" } else { "False" })?,
        _ => match value.as_str() {
            Some(text) => write_escaped(out, text)?,
            None => write_escaped(out, &value.to_string())?,
        },
    }
    Ok(())
}

fn write_escaped(out: &mut Output<'_>, text: &str) -> std::fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        let (plain, special) = rest.split_at(at);
        out.write_str(plain)?;
        out.write_str(match special.as_bytes().first() {
            Some(b'&') => "&amp;",
            Some(b'<') => "&lt;",
            Some(b'>') => "&gt;",
            Some(b'"') => "&#34;",
            _ => "&#39;",
        })?;
        // All five are one byte long.
        rest = special.split_at(1).1;
    }
    out.write_str(rest)
}

#[cfg(test)]
mod tests {
    use minijinja::{AutoEscape, Environment, context};

    #[test]
    fn text_is_escaped_as_markupsafe_does_it() {
        let mut env = Environment::new();
        env.set_auto_escape_callback(|_| AutoEscape::Html);
        env.set_formatter(super::formatter);
        let render =
            |template: &str| env.render_str(template, context! { t => "é/<a href=\"x\">'&'</a>" }).unwrap();
        assert_eq!(render("{{ t }}"), "é/&lt;a href=&#34;x&#34;&gt;&#39;&amp;&#39;&lt;/a&gt;");
        assert_eq!(render("{{ t | safe }}"), "é/<a href=\"x\">'&'</a>");
        assert_eq!(
            render("{{ none }} {{ true }} {{ 1.5 }} [{{ missing }}] {{ ['<'] }}"),
            "None True 1.5 [] [&#39;&lt;&#39;]"
        );
        assert_eq!(render("{% set m %}<b>{{ t[0] }}</b>{% endset %}{{ m }}"), "<b>é</b>");
    }
}
