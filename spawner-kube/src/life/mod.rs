//! The life of one server as a pod: start, readiness, stop, and finding it again.

mod adopt;
mod archive;
mod certificates;
mod claims;
mod ending;
mod locks;
mod objects;
mod orphans;
mod ready;
mod start;
mod steps;
mod token;
mod volumes;

pub(crate) use archive::Archives;
pub(crate) use locks::Locks;
pub(crate) use orphans::Suspects;

#[cfg(test)]
mod tests;
