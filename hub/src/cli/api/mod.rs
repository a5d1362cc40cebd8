//! Commands that speak to a hub over its REST API: ours, or any JupyterHub.

mod flags;
pub(super) mod groups;
mod output;
pub(super) mod servers;
pub(super) mod services;
pub(super) mod shares;
pub(super) mod tokens;
pub(super) mod users;

pub(super) use self::flags::ApiFlags;
