//! Host names of users and services below the hub's own. Answers to JupyterHub's `subdomain_hook`.

use sha2::{Digest, Sha256};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// How the name of a user or service becomes a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Every name gets a valid label of its own; services have one each.
    Idna,
    /// JupyterHub's way before 5.0: `_` escapes what is no letter, digit, `-` or `.`; one host for all services.
    Legacy,
}

impl Hook {
    /// The host of a user's servers below `domain`.
    pub fn user(self, name: &str, domain: &str) -> String {
        match self {
            Self::Idna => format!("{}.{domain}", label(name)),
            Self::Legacy => format!("{}.{domain}", quoted(name)),
        }
    }

    /// The host of a service below `domain`.
    pub fn service(self, name: &str, domain: &str) -> String {
        match self {
            Self::Idna => format!("{}--service.{domain}", label(name)),
            Self::Legacy => format!("services.{domain}"),
        }
    }
}

/// A label that is valid and nobody else's: the name itself, else its IDNA form, else what is safe of it and a hash.
fn label(name: &str) -> String {
    // Two dashes mark what was made here, so a name with them may not stand for itself.
    if name.contains("--") {
        return hashed(name);
    }
    if is_label(name) {
        return name.to_owned();
    }
    idna_label(name).unwrap_or_else(|| hashed(name))
}

/// A label with letters of other scripts, if IDNA takes the name just as it is.
fn idna_label(name: &str) -> Option<String> {
    let letters = |c: char| {
        matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Mark)
            || c.general_category() == GeneralCategory::DecimalNumber
            || c == '-'
    };
    if name.is_ascii() || !name.chars().all(letters) {
        return None;
    }
    let ascii = idna::domain_to_ascii_strict(name).ok()?;
    // Strict IDNA maps nothing: a name that is spelled otherwise afterwards is not valid.
    let (back, valid) = idna::domain_to_unicode(&ascii);
    (valid.is_ok() && back == name && is_label(&ascii)).then_some(ascii)
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.bytes().all(|b| b.is_ascii_digit())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// `u-`, up to eight safe characters, `--` and seven digits of the name's SHA-256.
fn hashed(name: &str) -> String {
    let digest = hex::encode(Sha256::digest(name.as_bytes()));
    let lower = name.to_lowercase();
    let mut stub: String =
        lower.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit()).take(8).collect();
    if stub.is_empty() {
        stub.push('x');
    }
    format!("u-{stub}--{}", &digest[..7])
}

/// Bytes that may not stand in a host name as `_` and two digits.
fn quoted(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => out.push(char::from(byte)),
            b'A'..=b'Z' => out.push(char::from(byte.to_ascii_lowercase())),
            _ => {
                out.push('_');
                out.push_str(&hex::encode([byte]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of `subdomain_hook_idna` and `subdomain_hook_legacy` of JupyterHub 6.1.
    #[test]
    fn hosts_are_those_of_stock() {
        for (name, idna, legacy) in HOSTS {
            assert_eq!(Hook::Idna.user(name, "h"), format!("{idna}.h"), "{name}");
            assert_eq!(Hook::Legacy.user(name, "h"), format!("{legacy}.h"), "{name}");
        }
        assert_eq!(Hook::Idna.service("cull", "h"), "cull--service.h");
        assert_eq!(Hook::Legacy.service("cull", "h"), "services.h");
    }

    const HOSTS: &[(&str, &str, &str)] = &[
        ("ada", "ada", "ada"),
        ("Ada", "Ada", "ada"),
        ("a.b", "u-ab--2e7336d", "a.b"),
        ("ada@example.org", "u-adaexamp--cfe00dd", "ada_40example.org"),
        ("ad.min+o'hexa@example.org", "u-adminohe--d42c111", "ad.min_2bo_27hexa_40example.org"),
        ("élise", "xn--lise-9oa", "_c3_a9lise"),
        ("Élise", "u-lise--62875e5", "_c3_89lise"),
        ("straße", "xn--strae-oqa", "stra_c3_9fe"),
        ("☃", "u-x--5164336", "_e2_98_83"),
        ("日本", "xn--wgv71a", "_e6_97_a5_e6_9c_ac"),
        ("123", "u-123--a665a45", "123"),
        ("-a", "u-a--c274891", "-a"),
        ("a-", "u-a--9baf440", "a-"),
        ("a--b", "u-ab--90827a2", "a--b"),
        ("a_b~", "u-ab--49946e6", "a_5fb_7e"),
        (
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
        (
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "u-xxxxxxxx--7ce1009",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
        ("ünter müller", "u-ntermlle--51872de", "_c3_bcnter_20m_c3_bcller"),
        ("٣", "u-x--1a4fd52", "_d9_a3"),
        ("ﬁ", "u-x--b6554cc", "_ef_ac_81"),
        ("a\u{301}", "u-a--837f6fc", "a_cc_81"),
        ("é.b", "u-b--921ebe7", "_c3_a9.b"),
        ("ab½", "u-ab--9a37378", "ab_c2_bd"),
        ("ς", "xn--3xa", "_cf_82"),
        ("xn--abc", "u-xnabc--39b9ee3", "xn--abc"),
        ("א", "xn--4db", "_d7_90"),
        ("אa1", "u-a1--0df5e76", "_d7_90a1"),
        ("१२", "xn--e4bc", "_e0_a5_a7_e0_a5_a8"),
        ("Σ", "u-x--8cd5c75", "_ce_a3"),
        ("ñandú-2", "xn--and-2-nta0e", "_c3_b1and_c3_ba-2"),
        ("_", "u-x--d2e2adf", "_5f"),
    ];
}
