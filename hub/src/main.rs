//! The one program. What it does is in the library and in [`cli`].

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // first of all, before any thread: this may be the helper that becomes a singleuser server
    if let Some(code) = hub_spawner_local::launcher::intercept(std::env::args_os()) {
        return code;
    }
    cli::main(std::env::args_os())
}
