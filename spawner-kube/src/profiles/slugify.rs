//! The slug of a profile's display name, as the Python package `python-slugify` makes it.

use unicode_normalization::UnicodeNormalization;

/// Names of HTML's characters, as `&name;`.
const ENTITIES: &str = "AElig Aacute Acirc Agrave Alpha Aring Atilde Auml Beta Ccedil Chi Dagger Delta ETH Eacute Ecirc \
    Egrave Epsilon Eta Euml Gamma Iacute Icirc Igrave Iota Iuml Kappa Lambda Mu Ntilde Nu OElig Oacute \
    Ocirc Ograve Omega Omicron Oslash Otilde Ouml Phi Pi Prime Psi Rho Scaron Sigma THORN Tau Theta \
    Uacute Ucirc Ugrave Upsilon Uuml Xi Yacute Yuml Zeta aacute acirc acute aelig agrave alefsym alpha \
    amp and ang aring asymp atilde auml bdquo beta brvbar bull cap ccedil cedil cent chi circ clubs cong \
    copy crarr cup curren dArr dagger darr deg delta diams divide eacute ecirc egrave empty emsp ensp \
    epsilon equiv eta eth euml euro exist fnof forall frac12 frac14 frac34 frasl gamma ge gt hArr harr \
    hearts hellip iacute icirc iexcl igrave image infin int iota iquest isin iuml kappa lArr lambda lang \
    laquo larr lceil ldquo le lfloor lowast loz lrm lsaquo lsquo lt macr mdash micro middot minus mu \
    nabla nbsp ndash ne ni not notin nsub ntilde nu oacute ocirc oelig ograve oline omega omicron oplus \
    or ordf ordm oslash otilde otimes ouml para part permil perp phi pi piv plusmn pound prime prod prop \
    psi quot rArr radic rang raquo rarr rceil rdquo real reg rfloor rho rlm rsaquo rsquo sbquo scaron \
    sdot sect shy sigma sigmaf sim spades sub sube sum sup sup1 sup2 sup3 supe szlig tau there4 theta \
    thetasym thinsp thorn tilde times trade uArr uacute uarr ucirc ugrave uml upsih upsilon uuml weierp \
    xi yacute yen yuml zeta zwj zwnj";

/// Lower-case ASCII words joined by single hyphens; other scripts are transliterated.
pub fn slugify(name: &str) -> String {
    let text: String = name.replace('\'', "-").nfkd().map(transliterate).collect();
    let text: String = decode_entities(&text).nfkd().collect();
    let text = text.to_lowercase().replace('\'', "");
    let text = without_thousands_commas(&text);
    let mut slug = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_matches('-').to_owned()
}

/// Characters in ASCII. The control characters that old Windows code pages fill are no letters.
fn transliterate(c: char) -> &'static str {
    if ('\u{80}'..='\u{9f}').contains(&c) { "" } else { unidecode::unidecode_char(c) }
}

/// `&amp;`, `&#38;` and `&#x26;` as the characters that they stand for.
fn decode_entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        match after.split_once(';').and_then(|(name, tail)| Some((entity(name)?, tail))) {
            Some((text, tail)) => {
                out.push_str(&text);
                rest = tail;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<String> {
    const ACCENTS: [&str; 8] = ["grave", "acute", "circ", "tilde", "uml", "ring", "cedil", "caron"];
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix('x') {
            Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16),
            None if number.bytes().all(|b| b.is_ascii_digit()) => number.parse(),
            _ => return None,
        };
        return code.ok().and_then(char::from_u32).map(String::from);
    }
    if !ENTITIES.split_ascii_whitespace().any(|known| known == name) {
        return None;
    }
    // Only some entities stand for a letter or digit; for a slug all others are a break between words.
    let accented =
        ACCENTS.iter().find_map(|accent| name.strip_suffix(accent)).filter(|letter| letter.len() == 1);
    let text = match (name, accented) {
        (_, Some(letter)) => return Some(format!("{letter}\u{301}")),
        ("ordf", _) => "a",
        ("ordm", _) => "o",
        ("sup1", _) => "1",
        ("sup2", _) => "2",
        ("sup3", _) => "3",
        ("frac14", _) => "1/4",
        ("frac12", _) => "1/2",
        ("frac34", _) => "3/4",
        ("trade", _) => "tm",
        ("image", _) => "i",
        ("real", _) => "r",
        _ => " ",
    };
    Some(text.to_owned())
}

/// `1,000` is `1000`.
fn without_thousands_commas(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let digit = |c: Option<&char>| c.is_some_and(|c| c.is_numeric());
    let keep = |&(at, c): &(usize, char)| {
        c != ','
            || !digit(at.checked_sub(1).and_then(|before| chars.get(before)))
            || !digit(chars.get(at + 1))
    };
    chars.iter().copied().enumerate().filter(keep).map(|(_, c)| c).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Small Env!", "small-env")]
    #[case("日本", "ri-ben")]
    #[case("Été", "ete")]
    #[case("C++ / R", "c-r")]
    #[case("a_b.c", "a-b-c")]
    #[case("  x  ", "x")]
    #[case("Don't", "don-t")]
    #[case("ß ø Æ", "ss-o-ae")]
    #[case("1,000 GB", "1000-gb")]
    #[case("&amp; ok", "ok")]
    #[case("caf&eacute; x", "cafe-x")]
    #[case("a&#38;b&#x41;&nosuch;", "a-ba-nosuch")]
    #[case("A  b--C", "a-b-c")]
    #[case("\u{80}x😀", "x")]
    fn slugs_are_those_of_stock(#[case] name: &str, #[case] slug: &str) {
        assert_eq!(slugify(name), slug);
    }
}
