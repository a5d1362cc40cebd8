//! The command line. The name under which the program was started decides whose flags it takes: its own, those of
//! `jupyterhub` or those of `configurable-http-proxy`.
//!
//! Exit codes: 0 for success, 1 for a failure while running, 2 for a wrong command line or configuration. As
//! `configurable-http-proxy` it exits with 2 when it is interrupted, as that program does.

mod api;
mod args;
mod audit;
mod commands;
mod failure;
mod jupyterhub;
mod logging;
mod pid_file;
mod sources;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Runs the program with these arguments, the name of the program first.
pub(crate) fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let done = match program_name(&arguments).as_str() {
        "jupyterhub" => jupyterhub::main(arguments),
        "configurable-http-proxy" => commands::configurable_http_proxy(arguments),
        _ => args::main(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The last part of the path of the program.
fn program_name(arguments: &[OsString]) -> String {
    arguments
        .first()
        .map(Path::new)
        .and_then(Path::file_stem)
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
