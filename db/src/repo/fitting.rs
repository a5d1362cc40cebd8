//! Texts that are longer than their column, as those made of the longest names are. SQLite takes them whole, and there
//! they stay as stock writes them; the other databases count characters and refuse.

use sea_orm::{ConnectionTrait, DbBackend};
use sha2::{Digest as _, Sha256};

/// A text of at most `most` characters: the text itself, or its beginning and a hash by which it is told from others
/// with the same beginning.
pub fn fitting(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let hash = hex::encode(Sha256::digest(text));
    let room = most.saturating_sub(hash.len() + 1);
    let start: String = text.chars().take(room).collect();
    format!("{start}#{hash}")
}

/// The form in which this database keeps a text in a column of `most` characters.
pub fn kept(db: &impl ConnectionTrait, text: String, most: usize) -> String {
    if db.get_database_backend() == DbBackend::Sqlite { text } else { fitting(&text, most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_beginning_and_differs_from_others() {
        assert_eq!(fitting("short", 255), "short");
        let (one, other) = (format!("{}a", "é".repeat(300)), format!("{}b", "é".repeat(300)));
        assert_eq!(fitting(&one, 255).chars().count(), 255);
        assert!(fitting(&one, 255).starts_with("éé"));
        assert_ne!(fitting(&one, 255), fitting(&other, 255));
        assert_eq!(fitting(&one, 255), fitting(&one, 255));
    }
}
