//! How a scenario is written: one request a line.
//!
//! ```text
//! # a comment
//! CALLERS METHOD PATH [Header: value] ~key:what,what BODY -> name=/json/pointer
//! do WHAT ARGUMENTS
//! ```
//!
//! - `CALLERS` are names of `callers.rs` joined by commas; `*` is everybody, `*-one-two` everybody but these.
//! - `PATH` is below `hub/api` when it begins with a slash, below the base URL when it begins with `^`, and below the
//!   root of the site when it begins with `^^`.
//! - Headers, the key of an intended difference with what differs (`status`, `body`, names of headers), a body and
//!   captured values may all be left out. A body that begins with `form ` is a form, one with `multipart ` the same in
//!   parts (`NAME@FILENAME=TEXT` is a file), with `raw ` is sent as it is; anything else is JSON.
//! - `~no-internal-errors:STATUS` is the answer of ours where stock has an internal error: each of them is meant. With
//!   `@sqlite` or `@postgresql` behind it, stock has it on that database only.
//! - `{name}` in path, headers or body is a value captured before, different for each hub.

use anyhow::{Context, Result, bail, ensure};

use super::callers::everybody;

/// The key of answers that stock cannot give.
pub(super) const INSTEAD_OF_500: &str = "no-internal-errors";

/// A line that does something.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The scenario's name.
    pub(super) scenario: &'static str,
    /// Its number, counted from one.
    pub(super) number: usize,
    /// What to do.
    pub(super) step: Step,
}

/// What a line asks for.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A request.
    Ask(Ask),
    /// Something done to both hubs without a comparison: words of the line.
    Do(Vec<String>),
}

/// A request, by one or more callers one after the other.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// Names of callers.
    pub(super) callers: Vec<String>,
    /// The method.
    pub(super) method: String,
    /// The path as written.
    pub(super) path: String,
    /// Headers.
    pub(super) headers: Vec<(String, String)>,
    /// The body as written, empty for none.
    pub(super) body: String,
    /// The difference that is meant.
    pub(super) intended: Option<Intended>,
    /// The answer of ours where stock has an internal error.
    pub(super) instead_of_500: Option<InsteadOf500>,
    /// Values of the answer to be kept: name and JSON pointer, or the name of a header.
    pub(super) captures: Vec<(String, String)>,
}

/// A difference that is meant.
#[derive(Debug, Clone)]
pub(super) struct Intended {
    /// Its key in the documentation.
    pub(super) key: String,
    /// What differs.
    pub(super) fields: Vec<String>,
}

/// What ours answers where stock has an internal error.
#[derive(Debug, Clone)]
pub(super) struct InsteadOf500 {
    /// The status.
    pub(super) status: u16,
    /// The database on which stock has it, if not on all.
    pub(super) database: Option<String>,
}

impl Ask {
    /// The status of ours where stock has an internal error on a database.
    pub(super) fn instead_of_500_on(&self, database: &str) -> Option<u16> {
        let instead = self.instead_of_500.as_ref()?;
        instead.database.as_ref().is_none_or(|only| only == database).then_some(instead.status)
    }

    /// The path below `hub/api`, for requests to the API.
    pub(super) fn api_path(&self) -> Option<&str> {
        if self.path == "^hub/api" {
            return Some("");
        }
        self.path
            .strip_prefix("^hub/api")
            .or_else(|| self.path.starts_with('/').then_some(self.path.as_str()))
    }
}

/// The lines of all scenarios.
pub(super) fn lines(scenarios: &'static [(&'static str, &'static str)]) -> Result<Vec<Line>> {
    let mut all = Vec::new();
    for (scenario, text) in scenarios.iter().copied() {
        for (index, line) in text.lines().enumerate() {
            let (line, number) = (line.trim(), index + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let step = step(line).with_context(|| format!("{scenario}.txt:{number}: {line}"))?;
            all.push(Line { scenario, number, step });
        }
    }
    Ok(all)
}

fn step(line: &str) -> Result<Step> {
    if let Some(what) = line.strip_prefix("do ") {
        return Ok(Step::Do(what.split_whitespace().map(str::to_owned).collect()));
    }
    let (line, captures) = match line.rsplit_once(" -> ") {
        Some((line, captures)) => (line, captures.split_whitespace().map(capture).collect::<Result<_>>()?),
        None => (line, Vec::new()),
    };
    let (callers, rest) = word(line);
    let (method, rest) = word(rest);
    let (path, mut rest) = word(rest);
    ensure!(path.starts_with(['/', '^']), "a path begins with / or ^");
    let (mut headers, mut intended, mut instead_of_500) = (Vec::new(), None, None);
    loop {
        if let Some(header) = rest.strip_prefix('[').filter(|rest| !rest.starts_with(['"', '{', ']', '1'])) {
            let (header, after) = header.split_once(']').context("a header ends with ]")?;
            let (name, value) = header.split_once(':').context("a header has a colon")?;
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
            rest = after.trim_start();
        } else if let Some(difference) = rest.strip_prefix('~') {
            let (difference, after) = word(difference);
            let (key, fields) = difference.split_once(':').context("~key:what,what")?;
            rest = after;
            if key == INSTEAD_OF_500 {
                instead_of_500 = Some(instead(fields)?);
                continue;
            }
            let fields = fields.split(',').map(str::to_owned).collect();
            intended = Some(Intended { key: key.to_owned(), fields });
        } else {
            break;
        }
    }
    Ok(Step::Ask(Ask {
        callers: names(callers)?,
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
        body: rest.to_owned(),
        intended,
        instead_of_500,
        captures,
    }))
}

fn instead(text: &str) -> Result<InsteadOf500> {
    let (status, database) = match text.split_once('@') {
        Some((status, database)) => (status, Some(database.to_owned())),
        None => (text, None),
    };
    if let Some(name) = &database {
        ensure!(["sqlite", "postgresql"].contains(&name.as_str()), "no such database: {name}");
    }
    Ok(InsteadOf500 { status: status.parse().context("the status of ours instead of 500")?, database })
}

fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn capture(text: &str) -> Result<(String, String)> {
    let (name, from) = text.split_once('=').context("name=/pointer or name=header")?;
    Ok((name.to_owned(), from.to_owned()))
}

fn names(text: &str) -> Result<Vec<String>> {
    let all = everybody();
    let known = |name: &&str| -> Result<()> {
        if all.contains(name) { Ok(()) } else { bail!("no caller is called {name}") }
    };
    if let Some(but) = text.strip_prefix('*') {
        let but: Vec<&str> = but.split('-').filter(|name| !name.is_empty()).collect();
        but.iter().try_for_each(known)?;
        return Ok(all.iter().filter(|name| !but.contains(name)).map(ToString::to_string).collect());
    }
    let names: Vec<&str> = text.split(',').collect();
    names.iter().try_for_each(known)?;
    Ok(names.into_iter().map(str::to_owned).collect())
}
