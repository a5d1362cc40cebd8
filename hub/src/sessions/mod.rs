//! Browser sessions: cookies, XSRF tokens, safe targets after login.

pub mod cookies;
pub mod next;
pub mod signed;
pub mod xsrf;
