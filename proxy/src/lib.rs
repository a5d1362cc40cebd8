//! A reverse proxy for notebooks, compatible with configurable-http-proxy.
//!
//! [`RouteTable`] says where requests go and may change at any time. [`Proxy`] serves them: one thread, runtime and
//! socket for each core, each with its own pool of target connections. [`api`] is configurable-http-proxy's REST
//! interface to the table, [`metrics`] its Prometheus names, [`options::chp`] its command line. [`Program`] is all of
//! it as a process that hands over to its successor. This crate knows nothing of the hub.
//!
//! The life of a request is told in order by `forward::handle`.

mod access_log;
mod acme;
pub mod api;
mod error;
mod forward;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod http_server;
pub mod metrics;
pub mod options;
mod program;
mod redirect;
mod routes;
mod server;
mod target;

pub use error::{ProxyError, RouteError};
pub use handover::{Estate, Heir, Offer, Succession};
pub use options::{Listen, ProxyOptions, chp::ChpArgs, chp::run_chp};
pub use program::{Ended, Program};
pub use routes::{RouteInfo, RouteTable};
pub use server::{Cut, Phase, PhaseControl, Proxy, Scissors, Sockets, TokenHash};
