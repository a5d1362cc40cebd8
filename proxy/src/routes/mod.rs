//! The route table: an immutable trie that readers load without waiting and writers replace.

pub(crate) mod activity;
mod journal;
pub(crate) mod path;
mod persistent;
mod table;
mod trie;

#[cfg(test)]
mod tests;

pub(crate) use table::{Route, RouteKind, SavedRoute};
pub use table::{RouteInfo, RouteTable};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use trie::segments;
