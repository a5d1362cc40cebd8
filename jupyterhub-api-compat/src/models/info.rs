//! About the hub itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer of `GET /hub/api/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// The version of JupyterHub whose API this is.
    pub version: String,
}

/// The answer of `GET /hub/api/info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Info {
    /// The version of JupyterHub whose API this is.
    pub version: String,
    /// Of the interpreter, in stock.
    pub python: String,
    /// The program that runs.
    pub sys_executable: String,
    /// What starts servers.
    pub spawner: ClassInfo,
    /// What lets people in.
    pub authenticator: ClassInfo,
}

/// A plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClassInfo {
    /// Its full name.
    pub class: String,
    /// Its version, `unknown` if it has none.
    pub version: String,
}

/// The answer of `POST /hub/api/shutdown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShuttingDown {
    /// A sentence.
    pub message: String,
}

impl Default for ShuttingDown {
    fn default() -> Self {
        Self { message: "Shutting down Hub".to_owned() }
    }
}
