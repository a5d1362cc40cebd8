//! Where the log goes: standard error, as lines for people or as JSON.

use std::fmt::{Debug, Write as _};
use std::io::IsTerminal as _;

use anyhow::Context as _;
use hub_config::{LogFormat, LogLevel, LoggingSection};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::Writer;

use super::failure::Failure;

/// The crates of this project: what `debug` and `trace` are about. Libraries stay at `info`, for their details would
/// bury ours.
const OURS: [&str; 8] = [
    "himalia",
    "hub_core",
    "hub_config",
    "hub_db",
    "hub_proxy",
    "hub_spawner_local",
    "hub_auth_basic",
    "jupyterhub_api_compat",
];

/// Begins to log. Once in the life of a process.
pub(super) fn start(section: &LoggingSection) -> Result<(), Failure> {
    let filter = match &section.filter {
        Some(text) => EnvFilter::try_new(text).map_err(|error| {
            Failure::usage(format!("logging.filter: {error}"), "write for example info,hub_db=debug")
        })?,
        None => EnvFilter::new(directives(section.level)),
    };
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match section.format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
        LogFormat::Text => lines
            .with_ansi(std::io::stderr().is_terminal())
            .fmt_fields(fmt::format::debug_fn(field).delimited(" "))
            .try_init(),
    };
    started.map_err(|error| anyhow::anyhow!(error)).context("the log cannot be started")?;
    Ok(())
}

/// One field of a line. What clients send stands in many of them and must not look like a line of the hub's own.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let name = field.name();
    if name.starts_with("log.") {
        // Where a record of the `log` crate comes from, which the line tells already.
        return Ok(());
    }
    if name != "message" {
        write!(writer, "{name}=")?;
    }
    write!(OneLine(writer), "{value:?}")
}

/// Writes control characters as escapes.
struct OneLine<'a, 'b>(&'a mut Writer<'b>);

impl std::fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for part in text.split_inclusive(|c: char| c.is_control() && c != '\t') {
            let plain = part.trim_end_matches(|c: char| c.is_control() && c != '\t');
            self.0.write_str(plain)?;
            let rest = part.get(plain.len()..).unwrap_or_default();
            write!(self.0, "{}", rest.escape_debug())?;
        }
        Ok(())
    }
}

fn directives(level: LogLevel) -> String {
    match level {
        LogLevel::Trace | LogLevel::Debug => {
            let ours: Vec<String> = OURS.iter().map(|name| format!("{name}={}", level.as_str())).collect();
            format!("info,{}", ours.join(","))
        }
        other => other.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_stays_within_its_line() {
        let mut line = String::new();
        let name = "x\n\u{1b}[31mINFO User logged in\r";
        write!(OneLine(&mut Writer::new(&mut line)), "Failed login for {name}").unwrap();
        assert_eq!(line, "Failed login for x\\n\\u{1b}[31mINFO User logged in\\r");
    }

    #[test]
    fn debug_shows_our_details_and_not_those_of_libraries() {
        let filter = directives(LogLevel::Debug);
        assert!(filter.starts_with("info,") && filter.contains("hub_proxy=debug"), "{filter}");
        assert_eq!(directives(LogLevel::Warn), "warn");
        assert!(EnvFilter::try_new(filter).is_ok());
    }
}
