//! One module per table of JupyterHub's schema, fields named like the columns.
//!
//! Relations are not declared: the few joins are written out in [`crate::repo`], since stock databases that went
//! through old upgrades lack some foreign keys.

pub mod api_tokens;
pub mod group_role_map;
pub mod groups;
pub mod oauth_clients;
pub mod oauth_codes;
pub mod roles;
pub mod servers;
pub mod service_role_map;
pub mod services;
pub mod share_codes;
pub mod shares;
pub mod spawners;
pub mod user_group_map;
pub mod user_role_map;
pub mod users;
