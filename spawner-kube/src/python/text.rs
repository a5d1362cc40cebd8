//! How Python writes texts: `repr`.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// `repr(text)`: in single quotes unless only those occur inside, unprintable characters escaped. With `ascii`
/// everything outside ASCII is escaped too.
pub fn repr(text: &str, ascii: bool) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c == ' ' || c.is_ascii_graphic() => out.push(c),
            c if !ascii && printable(c) => out.push(c),
            c => out.push_str(&escape(c)),
        }
    }
    out.push(quote);
    out
}

fn escape(c: char) -> String {
    match u32::from(c) {
        n if n < 0x100 => format!("\\x{n:02x}"),
        n if n < 0x1_0000 => format!("\\u{n:04x}"),
        n => format!("\\U{n:08x}"),
    }
}

fn printable(c: char) -> bool {
    use GeneralCategory as G;
    let hidden = matches!(
        c.general_category(),
        G::Control
            | G::Format
            | G::Surrogate
            | G::PrivateUse
            | G::Unassigned
            | G::LineSeparator
            | G::ParagraphSeparator
            | G::SpaceSeparator
    );
    !hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repr_chooses_its_quotes() {
        assert_eq!(repr("a'b", false), "\"a'b\"");
        assert_eq!(repr("a'\"b", false), "'a\\'\"b'");
        assert_eq!(repr("é\u{7f}\u{200b}", false), "'é\\x7f\\u200b'");
        assert_eq!(repr("é", true), "'\\xe9'");
    }
}
