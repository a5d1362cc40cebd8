//! One process takes the place of another without a connection noticing.
//!
//! The old process listens on a UNIX socket. The new one connects to it and receives the listening sockets, binds
//! whatever else it needs, and says so. Then the old one takes no more connections (they wait in the sockets'
//! queues), finishes the API requests under way and tells all routes. From the moment the new one serves, the old one
//! only serves what is open: keep-alive connections until their next answer, websockets until they end. It reports
//! when routes were used that way, and obeys orders to cut websockets. If the new process fails before it serves,
//! the old one goes on as if nothing had happened.

mod give;
mod take;
mod wire;

pub(crate) use self::{
    give::{Estate, HandOverSocket},
    take::{Predecessor, connect},
};
