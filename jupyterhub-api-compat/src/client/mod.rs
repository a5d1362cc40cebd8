//! A client of the REST API, for any JupyterHub of version 2 or later.
//!
//! [`Client`] holds the address and the token; its methods are one call each, but for lists, whose pages are followed
//! to the end, and for [`Client::wait_for_server`].

mod error;
mod groups;
mod servers;
mod shares;
mod tokens;
mod transport;
mod users;

pub use error::ClientError;
pub use servers::{StartServer, Started};
pub use shares::{ShareTo, ShareWanted};
pub use tokens::TokenWanted;
pub use transport::{Client, TlsMaterial};
pub use users::UserQuery;

use crate::models::{SelfModel, Version};

/// What a call gives.
pub type Result<T> = std::result::Result<T, ClientError>;

impl Client {
    /// The version of JupyterHub that the hub speaks.
    pub async fn version(&self) -> Result<Version> {
        self.get(&[""]).await
    }

    /// The owner of the token, and what it allows.
    pub async fn who_am_i(&self) -> Result<SelfModel> {
        self.get(&["user"]).await
    }
}
