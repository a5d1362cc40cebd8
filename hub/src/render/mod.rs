//! Pages as text: templates, what they are given, and the static files that they refer to.
//!
//! Answers to `jupyterhub/handlers/base.py` (`render_template`, `template_namespace`, `static_url`) and to the template
//! set of JupyterHub: names of templates, blocks and variables are the same, so that site templates keep working.
//! Plain data goes in and a `String` comes out; nothing here knows about requests or the database.

mod common;
mod date;
mod error;
mod escape;
mod expiry;
mod functions;
mod loader;
mod pages;
mod renderer;
mod static_files;
mod user;
mod words;

pub use common::{CommonContext, ServiceLink};
pub use date::Date;
pub use error::TemplateError;
pub use expiry::expiry_options_html;
pub use pages::{
    AcceptSharePage, AdminPage, AuthenticatorView, ErrorPage, HomePage, LoginPage, LogoutPage,
    NotRunningPage, OAuthClientView, OAuthPage, OwnerView, Page, ProfileView, ProfilesForm, ScopeDescription,
    SessionRow, SessionsPage, SpawnPage, SpawnPendingPage, StopPendingPage, TokenClientRow, TokenPage,
    TokenRow, WayInView, WorkspaceList, WorkspaceView,
};
pub use renderer::{RenderOptions, Renderer};
pub use static_files::{Asset, StaticFiles};
pub use user::{SpawnerView, UserView};
pub use words::{Language, accepted_languages};
