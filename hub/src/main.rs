//! The one program. What it does is in the library and in [`cli`].

mod cli;

use std::process::ExitCode;

/// The proxy allocates for every request: this takes a fifth of its CPU time off.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // first of all, before any thread: this may be the helper that becomes a singleuser server
    if let Some(code) = hub_spawner_local::launcher::intercept(std::env::args_os()) {
        return code;
    }
    cli::main(std::env::args_os())
}
