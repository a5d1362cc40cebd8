//! What goes wrong on the way from the command line to a running hub, and how it is told.

use std::io::Write as _;
use std::process::ExitCode;

use hub_config::{ConfigErrors, Origins, Problem};
use hub_core::PluginError;

/// Why the program ends.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A wrong command line: what, and what to do instead.
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// clap's own answer: an error, or help or version asked for.
    Clap(clap::Error),
    /// A wrong configuration.
    Config(ConfigErrors),
    /// All else.
    Runtime(anyhow::Error),
}

impl Failure {
    /// A wrong command line.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    /// What went wrong while running, or that a plugin cannot read its part of the configuration: it does so only
    /// when it is built, so that where the mistakes are is looked up then.
    pub(crate) fn located(error: anyhow::Error, origins: &Origins) -> Self {
        match error.downcast::<PluginError>() {
            Ok(wrong) => Self::Config(ConfigErrors(
                wrong
                    .problems
                    .into_iter()
                    .map(|it| Problem::new(&it.key, it.text).at(origins.around(&it.key).clone()))
                    .collect(),
            )),
            Err(other) => Self::Runtime(other),
        }
    }

    /// Tells it on standard error and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Usage { message, hint } => {
                tell(&message, hint.as_deref());
                ExitCode::from(2)
            }
            Self::Clap(error) => {
                // help and version go to standard output and are no failure
                let code = u8::try_from(error.exit_code()).unwrap_or(2);
                if error.print().is_err() {
                    return ExitCode::FAILURE;
                }
                ExitCode::from(code)
            }
            Self::Config(errors) => {
                report_problems(&errors);
                ExitCode::from(2)
            }
            Self::Runtime(error) => {
                tell(&format!("{error:#}"), None);
                ExitCode::FAILURE
            }
        }
    }
}

fn report_problems(errors: &ConfigErrors) {
    for problem in &errors.0 {
        tell(&problem.headline(), problem.hint.as_deref());
    }
}

/// One line about what is doubtful, for commands that do not log.
pub(crate) fn warn(problem: &Problem) {
    write_line(&format!("warning: {problem}"));
}

fn tell(message: &str, hint: Option<&str>) {
    write_line(&format!("error: {message}"));
    if let Some(hint) = hint {
        write_line(&format!("  hint: {hint}"));
    }
}

fn write_line(line: &str) {
    // nobody is left to tell when standard error is closed
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::Clap(error)
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}
