//! 6.0: names of servers for people.

use super::{AddColumn, Revision};
use crate::schema::tables::Kind;

pub(super) const REVISION: Revision = Revision {
    from: "ff1860e38070",
    to: "f460b0348206",
    changes: &[AddColumn::nullable("spawners", "display_name", Kind::Varchar(255))],
};
