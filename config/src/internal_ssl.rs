//! What `internal_ssl` of `[hub]` needs to be told in a table of its own.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Authorities of `internal_ssl`, each with the folder of its name below `internal_certs_location`.
pub const AUTHORITIES: [&str; 5] =
    ["hub-ca", "notebooks-ca", "proxy-api-ca", "proxy-client-ca", "services-ca"];

/// An authority that somebody else made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorityFiles {
    /// Its private key, where the hub is to sign with it.
    pub key: Option<PathBuf>,
    /// Its certificate.
    pub cert: PathBuf,
    /// Certificates above it, believed as well.
    pub ca: Option<PathBuf>,
}
