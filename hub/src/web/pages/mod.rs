//! Pages for people.

pub mod admin;
pub mod context;
pub mod error;
mod form;
pub mod home;
pub mod login;
pub mod misc;
pub mod oauth;
mod options;
pub mod sessions;
pub mod share;
pub mod spawn;
pub mod user;
