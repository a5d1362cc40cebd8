//! 5.0: services live in the database, so that they can be made through the API.

use super::{AddColumn, Filling, Revision};
use crate::schema::tables::Kind;

pub(super) const REVISION: Revision = Revision {
    from: "0eee8c825d24",
    to: "3c2384c5aae1",
    changes: &[
        AddColumn {
            table: "services",
            column: "from_config",
            kind: Kind::Boolean,
            filling: Filling::TrueOnce,
        },
        AddColumn::nullable("services", "url", Kind::Varchar(2047)),
        AddColumn::nullable("services", "oauth_client_allowed_scopes", Kind::Text),
        AddColumn::nullable("services", "info", Kind::Text),
        AddColumn::nullable("services", "display", Kind::Boolean),
        AddColumn::nullable("services", "oauth_no_confirm", Kind::Boolean),
        AddColumn::nullable("services", "command", Kind::Text),
        AddColumn::nullable("services", "cwd", Kind::Varchar(2047)),
        AddColumn::nullable("services", "environment", Kind::Text),
        AddColumn::nullable("services", "user", Kind::Varchar(255)),
    ],
};
