//! 5.0: roles and their holders may be managed by the authenticator.

use super::{AddColumn, Filling, Revision};
use crate::schema::tables::Kind;

const fn managed(table: &'static str) -> AddColumn {
    AddColumn { table, column: "managed_by_auth", kind: Kind::Boolean, filling: Filling::False }
}

pub(super) const REVISION: Revision = Revision {
    from: "3c2384c5aae1",
    to: "4621fec11365",
    changes: &[
        managed("group_role_map"),
        managed("roles"),
        managed("service_role_map"),
        managed("user_role_map"),
    ],
};
