//! The hub as OAuth 2 provider for its servers and services: authorization code with PKCE.

pub mod authorize;
pub mod pkce;
pub mod token;
