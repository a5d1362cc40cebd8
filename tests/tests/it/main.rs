//! Tests of the workspace as a whole. Most need the programs that `cargo xtask test` prepares.

mod arrows;
mod differential;
mod e2e;
mod kubernetes;
mod traits;
