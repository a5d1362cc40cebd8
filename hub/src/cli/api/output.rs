//! Answers as tables for people, or as JSON.

use anyhow::Context as _;
use jupyterhub_api_compat::Timestamp;
use serde::Serialize;

use crate::cli::commands::print;
use crate::cli::failure::Failure;

/// Prints models: as JSON, or as the rows of a table.
pub(super) fn show<T: Serialize>(
    json: bool,
    models: &T,
    head: &[&str],
    rows: impl FnOnce() -> Vec<Vec<String>>,
) -> Result<(), Failure> {
    if json {
        return show_json(models);
    }
    print(&table(head, &rows()))
}

/// Prints a model as JSON.
pub(super) fn show_json(model: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(model).context("the answer cannot be printed")?;
    print(&(text + "\n"))
}

/// Says in one line what was done; with JSON that is told by the exit code.
pub(super) fn done(json: bool, text: &str) -> Result<(), Failure> {
    if json { Ok(()) } else { print(&format!("{text}\n")) }
}

/// Columns as wide as they need be; control characters of foreign texts do not reach the terminal.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let clean = |cell: &str| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(|name| (*name).to_owned()).collect()];
    lines.extend(rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()));
    let width = |column: usize| {
        lines.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A moment, or a dash.
pub(super) fn moment(at: Option<&Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// Names, or a dash.
pub(super) fn names<T: AsRef<str>>(list: impl IntoIterator<Item = T>) -> String {
    let text = list.into_iter().map(|name| name.as_ref().to_owned()).collect::<Vec<_>>().join(",");
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_holds_no_control_characters() {
        let rows =
            [vec!["ada".to_owned(), "x\u{1b}[31m".to_owned()], vec!["élise".to_owned(), "-".to_owned()]];
        assert_eq!(table(&["NAME", "NOTE"], &rows), "NAME   NOTE\nada    x [31m\nélise  -\n");
    }
}
