//! What the outside speaks to: the REST API, pages, static files.

pub mod api;
pub mod caller;
pub mod error;
pub mod facts;
mod health;
pub mod log;
pub mod middleware;
pub mod models;
pub mod pages;
pub mod routes;
