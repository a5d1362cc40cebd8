//! `himalia audit`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use himalia::audit::verify::verify;

use super::commands::print;
use super::failure::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Check that no record was changed, moved or taken out
    Verify {
        /// Files of one log, the oldest first
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The hash that the last record must have, as an earlier check printed it
        #[arg(long, value_name = "HASH")]
        expect: Option<String>,
    },
}

pub(super) fn run(command: AuditCommand) -> Result<(), Failure> {
    let AuditCommand::Verify { files, expect } = command;
    let found = verify(&files).map_err(anyhow::Error::new)?;
    let mut text = match found.lines {
        0 => "no records\n".to_owned(),
        lines => format!("{lines} records, {} to {}, unchanged\n", found.first, found.head.seq),
    };
    if found.torn > 0 {
        writeln!(text, "{} records were cut off by a crash", found.torn).map_err(anyhow::Error::new)?;
    }
    writeln!(text, "hash of the last: {}", found.head.hash).map_err(anyhow::Error::new)?;
    print(&text)?;
    match expect {
        Some(hash) if !hash.eq_ignore_ascii_case(&found.head.hash) => Err(Failure::Runtime(anyhow::anyhow!(
            "the last record has another hash than {hash}: records were added since, or taken away"
        ))),
        _ => Ok(()),
    }
}
