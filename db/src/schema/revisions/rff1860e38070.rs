//! 6.0: what the authenticator tells about a user.

use super::{AddColumn, Revision};
use crate::schema::tables::Kind;

pub(super) const REVISION: Revision = Revision {
    from: "afd65840b69e",
    to: "ff1860e38070",
    changes: &[AddColumn::nullable("users", "user_info", Kind::Text)],
};
