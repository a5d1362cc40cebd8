//! 6.0: PKCE.

use super::{AddColumn, Revision};
use crate::schema::tables::Kind;

pub(super) const REVISION: Revision = Revision {
    from: "be8ecf03ddac",
    to: "afd65840b69e",
    changes: &[
        AddColumn::nullable("oauth_codes", "code_challenge", Kind::Varchar(255)),
        AddColumn::nullable("oauth_codes", "code_challenge_method", Kind::Varchar(64)),
    ],
};
