//! Names that Kubernetes accepts, made of names that people have: KubeSpawner's two schemes.
//!
//! They address volumes that exist, so they are equal to stock's to the last character.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Hex digits of the hash at the end of a slug.
const HASH: usize = 8;
/// Longest slug of one name when nothing shorter is asked for.
const USUAL: usize = 32;
/// Longest name of an object and longest value of a label.
const OBJECT: usize = 63;
/// Longest slug of a user or server name inside a template.
pub const FIELD: usize = 48;

/// A name as a field of a template: itself where it is a safe object name of at most 48 characters, else cut and
/// hashed. The empty name of the default server stays empty; see [`user_server`].
pub fn object(name: &str) -> String {
    if !name.contains("--") && is_object_name(name) && name.chars().count() <= FIELD {
        name.to_owned()
    } else {
        hashed(name, FIELD)
    }
}

/// A name as the value of a label: itself where Kubernetes accepts it, else cut and hashed.
pub fn label(name: &str) -> String {
    if !name.contains("--") && is_label(name) { name.to_owned() } else { hashed(name, USUAL) }
}

/// The scheme of KubeSpawner before 7: every byte but `a-z0-9` as `-` and its hex digits. Not limited in
/// length.
pub fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "-{byte:x}");
        }
    }
    out
}

/// User and server as one name of at most 48 characters.
pub fn user_server(user: &str, server: &str) -> String {
    let safe_user = object(user);
    let safe_server = if server.is_empty() { String::new() } else { object(server) };
    if safe_user.len() + safe_server.len() + 2 > FIELD {
        return several(&[user, server], FIELD);
    }
    if server.is_empty() { safe_user } else { format!("{safe_user}--{safe_server}") }
}

fn is_object_name(name: &str) -> bool {
    (1..=OBJECT).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_label(name: &str) -> bool {
    name.is_empty()
        || (name.len() <= OBJECT
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')))
}

/// A readable part of a name: lower case, runs of other characters as one hyphen, a letter first.
fn readable(name: &str, longest: usize) -> String {
    let mut clean = String::with_capacity(name.len());
    for c in name.to_lowercase().chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            clean.push(c);
        } else if !clean.ends_with('-') {
            clean.push('-');
        }
    }
    let cut: String = clean.trim_start_matches('-').chars().take(longest).collect();
    let cut = cut.trim_end_matches('-');
    match cut.chars().next() {
        None => "x".to_owned(),
        Some(first) if first.is_ascii_lowercase() => cut.to_owned(),
        Some(_) => format!("x-{}", cut.chars().take(longest.saturating_sub(2)).collect::<String>()),
    }
}

fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update([0xff]);
        }
        hasher.update(part.as_bytes());
    }
    hex::encode(hasher.finalize()).chars().take(HASH).collect()
}

fn hashed(name: &str, longest: usize) -> String {
    format!("{}---{}", readable(name, longest - HASH - 3), hash(&[name]))
}

/// Several names with one hash at the end.
fn several(names: &[&str], longest: usize) -> String {
    let each = (longest - HASH - 1) / names.len().max(1) - 2;
    let slugs: Vec<String> = names.iter().map(|name| readable(name, each)).collect();
    format!("{}---{}", slugs.join("--"), hash(names))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("alice", "", "alice")]
    #[case("alice", "lab-1", "alice--lab-1")]
    #[case("alice", "Some Name", "alice--some-name---3a8b1764")]
    #[case("user@email.com", "Some Name", "user-email-com---0925f997--some-name---3a8b1764")]
    #[case("Alice@Example.org", "", "alice-example-org---cfd44c4f")]
    #[case("日本語", "", "x---77710aed")]
    #[case("9starts", "", "x-9starts---e87ef3a0")]
    #[case("double--hyphen", "", "double-hyphen---c3675b6a")]
    #[case("ünïcødé", "", "n-c-d---5713bed3")]
    fn names_are_those_of_stock(#[case] user: &str, #[case] server: &str, #[case] slug: &str) {
        assert_eq!(user_server(user, server), slug);
    }

    #[test]
    fn a_long_name_alone_is_joined_with_an_empty_one() {
        assert_eq!(user_server(&"c".repeat(46), ""), "c".repeat(46));
        assert_eq!(user_server(&"c".repeat(70), ""), "ccccccccccccccccc--x---1facc5ec");
    }

    #[test]
    fn labels_keep_what_kubernetes_accepts() {
        assert_eq!(label("Alice.B"), "Alice.B");
        assert_eq!(label(""), "");
        assert_eq!(label(&"c".repeat(70)), "ccccccccccccccccccccc---6fe5981a");
    }

    #[test]
    fn the_old_scheme_escapes_bytes() {
        assert_eq!(escaped("Alice@x"), "-41lice-40x");
        assert_eq!(escaped("ü\t"), "-c3-bc-9");
    }

    proptest! {
        #[test]
        fn every_slug_is_a_valid_name(user in ".{1,80}", server in ".{0,80}") {
            let slug = user_server(&user, &server);
            prop_assert!(is_object_name(&slug), "{slug}");
            prop_assert!(is_label(&label(&user)));
        }

        #[test]
        fn different_names_have_different_slugs(a in "[a-z.-]{1,30}", b in "[a-z.-]{1,30}") {
            prop_assume!(a != b);
            prop_assert_ne!(object(&a), object(&b));
        }
    }
}
