//! 6.0: how long to wait for a managed service.

use super::{AddColumn, Filling, Revision};
use crate::schema::tables::Kind;

pub(super) const REVISION: Revision = Revision {
    from: "4621fec11365",
    to: "be8ecf03ddac",
    changes: &[AddColumn {
        table: "services",
        column: "timeout",
        kind: Kind::Integer,
        filling: Filling::Number(30),
    }],
};
