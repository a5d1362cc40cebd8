//! Tests of the workspace as a whole. Those in [`e2e`] need the programs that `cargo xtask test` prepares.

mod arrows;
mod differential;
mod e2e;
