//! Every endpoint of the REST API: where it is, who may call it, and on what their scopes must allow it.
//!
//! The hub builds its routes and its authorisation from [`ENDPOINTS`], so that no handler can forget to ask.

mod table;

use hub_core::scopes::{Decision, Resource, ScopeSet};

use crate::ErrorBody;
use crate::error::NO_ACCESS;

pub use table::{ENDPOINTS, EndpointId};

/// HTTP methods that occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `DELETE`
    Delete,
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `PATCH`
    Patch,
    /// `POST`
    Post,
    /// `PUT`
    Put,
}

impl Method {
    /// The method as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// Which credential an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// None at all.
    Nobody,
    /// Any valid one, whatever it allows. Without: 403 with a null message.
    Anybody,
    /// A valid token in the `Authorization` header, whatever it allows; a cookie will not do. Without: 403 with a null
    /// message.
    Token,
    /// One that holds any of [`Endpoint::scopes`]. Without: 403 `Missing or invalid credentials.`
    Scopes,
    /// Like [`Auth::Scopes`], or nobody where the site leaves its metrics open.
    Metrics,
    /// Like [`Auth::Scopes`], or proof of identity in the body. The handler decides, and every failure is 403.
    ScopesOrBody,
    /// A page: the login cookie and nothing else, strangers are sent to log in.
    Login,
    /// The id and secret of an OAuth client in the form.
    OAuthClient,
}

/// On what the scopes must allow an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// On everything: only unfiltered scopes will do.
    None,
    /// On anything at all: the handler lists only what the filters let through.
    List,
    /// On the user `{user}`.
    User,
    /// On the server `{server}` of `{user}`; without `{server}` in the path on the default server.
    Server,
    /// On the group `{group}`.
    Group,
    /// On the service `{service}`.
    Service,
}

/// Whether a browser must prove that the call comes from one of the hub's own pages. Calls with a token never must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Xsrf {
    /// It must, for every method but `HEAD` and `OPTIONS`.
    Api,
    /// It must, for every method but `GET`, `HEAD` and `OPTIONS`.
    Page,
    /// It need not.
    Exempt,
    /// It must if the caller is known by a cookie, not if the body proves the identity.
    Deferred,
}

/// One endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Which handler. Some have two paths.
    pub id: EndpointId,
    /// The method.
    pub method: Method,
    /// The path below `/hub/api`, with parameters in braces: `/users/{user}`.
    pub path: &'static str,
    /// Which credential.
    pub auth: Auth,
    /// Any of these scopes, where `auth` asks for scopes.
    pub scopes: &'static [&'static str],
    /// On what.
    pub on: Target,
    /// Protection against calls from foreign pages.
    pub xsrf: Xsrf,
    /// Not in JupyterHub: one of our extensions.
    pub extension: bool,
}

/// A part of a path between slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this.
    Literal(&'static str),
    /// Anything without a slash, still percent-encoded.
    Param {
        /// Its name.
        name: &'static str,
        /// Whether nothing at all will do: the default server.
        may_be_empty: bool,
    },
}

impl Endpoint {
    /// The parts of the path, in order; none for the root and one empty literal for the root with its slash.
    pub fn segments(&self) -> impl Iterator<Item = Segment> {
        self.path.split('/').skip(1).map(|part| {
            match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => Segment::Param {
                    name,
                    may_be_empty: matches!(name, "server" | "shared_server" | "token"),
                },
                None => Segment::Literal(part),
            }
        })
    }

    /// Whether a caller with these scopes may do this on the resource that the path names ([`Endpoint::on`]).
    /// Whoever may list anything may call an endpoint that lists.
    pub fn decide(&self, scopes: &ScopeSet, on: &Resource<'_>) -> Decision {
        match self.on {
            Target::List if self.scopes.iter().any(|scope| scopes.has_any(scope)) => Decision::Granted,
            Target::List => Decision::Lacking,
            _ => scopes.decide(self.scopes, on),
        }
    }

    /// What to answer to a caller with credentials who may not; none for one who may.
    pub fn refusal(&self, decision: Decision) -> Option<ErrorBody> {
        match decision {
            Decision::Granted => None,
            Decision::Hidden => Some(ErrorBody::new(404, NO_ACCESS)),
            Decision::Lacking => Some(ErrorBody::lacks_scopes(self.scopes)),
        }
    }
}

/// The rows of one handler.
pub fn of(id: EndpointId) -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().filter(move |endpoint| endpoint.id == id)
}

#[cfg(test)]
mod tests;
