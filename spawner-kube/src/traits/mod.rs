//! The options of a server: a counterpart to each of KubeSpawner's traits, under the same name.
//!
//! One table declares them; groups and profiles change them by name, with the checks that a configuration file
//! gets. Traits that hold Python functions in stock have no function here: see the fields of our own at the end of
//! the table.

mod kinds;
mod overrides;
mod stock;
mod table;

pub use kinds::{ByteCount, Command, Items, ProfileList, PullSecrets, SlugScheme};
pub use overrides::{OverrideError, apply, merge};
pub use stock::from_stock;
pub use table::{PatchRule, ReadyWhen, Traits, UnlistedMatch};
