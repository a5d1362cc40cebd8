//! Typed configuration: TOML files, environment and flags
