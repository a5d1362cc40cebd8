//! The helper on its own, for programs and tests that use this crate outside of the hub's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    hub_spawner_local::launcher::intercept(std::env::args_os()).unwrap_or_else(|| {
        eprintln!(
            "This program is started by the hub, with {}.",
            hub_spawner_local::launcher::HELPER_ARGUMENT
        );
        ExitCode::FAILURE
    })
}
