//! The tables of JupyterHub 6.1, in an order in which each comes after those that it refers to.

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Integer primary key, counted by the database.
    Id,
    Integer,
    Boolean,
    Varchar(u16),
    Text,
    Timestamp,
    Bytes,
}

/// What happens to a row when the row that it refers to is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnDelete {
    Cascade,
    SetNull,
}

/// A foreign key of one column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reference {
    pub(super) table: &'static str,
    pub(super) column: &'static str,
    pub(super) on_delete: OnDelete,
}

/// By what the rows of a table are told apart or found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    None,
    /// Part of the primary key.
    Primary,
    Unique,
    Indexed,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) nullable: bool,
    pub(super) key: Key,
    pub(super) reference: Option<Reference>,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [Column],
}

impl Column {
    const fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }

    const fn primary(mut self) -> Self {
        self.key = Key::Primary;
        self.not_null()
    }

    const fn unique(mut self) -> Self {
        self.key = Key::Unique;
        self
    }

    const fn indexed(mut self) -> Self {
        self.key = Key::Indexed;
        self
    }

    const fn refers(mut self, table: &'static str, column: &'static str, on_delete: OnDelete) -> Self {
        self.reference = Some(Reference { table, column, on_delete });
        self
    }

    /// A foreign key to `table.id` that takes its row along.
    const fn part_of(self, table: &'static str) -> Self {
        self.refers(table, "id", OnDelete::Cascade)
    }
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, nullable: true, key: Key::None, reference: None }
}

const fn id() -> Column {
    column("id", Kind::Id).primary()
}

const fn integer(name: &'static str) -> Column {
    column(name, Kind::Integer)
}

const fn boolean(name: &'static str) -> Column {
    column(name, Kind::Boolean)
}

const fn varchar(name: &'static str, length: u16) -> Column {
    column(name, Kind::Varchar(length))
}

const fn text(name: &'static str) -> Column {
    column(name, Kind::Text)
}

const fn timestamp(name: &'static str) -> Column {
    column(name, Kind::Timestamp)
}

pub(super) const TABLES: &[Table] = &[
    Table { name: "groups", columns: &[id(), varchar("name", 255).unique(), text("properties")] },
    Table {
        name: "oauth_clients",
        columns: &[
            id(),
            varchar("identifier", 255).unique(),
            varchar("description", 1023),
            varchar("secret", 255),
            varchar("redirect_uri", 1023),
            text("allowed_scopes"),
        ],
    },
    Table {
        name: "roles",
        columns: &[
            id(),
            varchar("name", 255).unique(),
            varchar("description", 1023),
            text("scopes"),
            boolean("managed_by_auth").not_null(),
        ],
    },
    Table {
        name: "servers",
        columns: &[
            id(),
            varchar("proto", 15),
            varchar("ip", 255),
            integer("port"),
            varchar("base_url", 255),
            varchar("cookie_name", 255),
        ],
    },
    Table {
        name: "users",
        columns: &[
            id(),
            varchar("name", 255).unique(),
            text("user_info"),
            boolean("admin"),
            timestamp("created"),
            timestamp("last_activity"),
            varchar("cookie_id", 255).not_null().unique(),
            text("state"),
            column("encrypted_auth_state", Kind::Bytes),
        ],
    },
    Table {
        name: "group_role_map",
        columns: &[
            integer("group_id").primary().part_of("groups"),
            integer("role_id").primary().part_of("roles"),
            boolean("managed_by_auth").not_null(),
        ],
    },
    Table {
        name: "oauth_codes",
        columns: &[
            id(),
            varchar("client_id", 255).refers("oauth_clients", "identifier", OnDelete::Cascade),
            varchar("code", 36),
            integer("expires_at"),
            varchar("redirect_uri", 1023),
            varchar("session_id", 255),
            integer("user_id").part_of("users"),
            text("scopes"),
            varchar("code_challenge", 255),
            varchar("code_challenge_method", 64),
        ],
    },
    Table {
        name: "services",
        columns: &[
            id(),
            varchar("name", 255).unique(),
            boolean("admin"),
            varchar("url", 2047),
            text("oauth_client_allowed_scopes"),
            text("info"),
            boolean("display"),
            boolean("oauth_no_confirm"),
            text("command"),
            varchar("cwd", 4095),
            text("environment"),
            varchar("user", 255),
            integer("timeout").not_null(),
            boolean("from_config"),
            integer("_server_id").refers("servers", "id", OnDelete::SetNull),
            integer("pid"),
            varchar("oauth_client_id", 255).refers("oauth_clients", "identifier", OnDelete::SetNull),
        ],
    },
    Table {
        name: "spawners",
        columns: &[
            id(),
            integer("user_id").part_of("users"),
            integer("server_id").refers("servers", "id", OnDelete::SetNull),
            text("state"),
            varchar("name", 255),
            varchar("display_name", 255),
            timestamp("started"),
            timestamp("last_activity"),
            text("user_options"),
            varchar("oauth_client_id", 255).refers("oauth_clients", "identifier", OnDelete::SetNull),
        ],
    },
    Table {
        name: "user_group_map",
        columns: &[
            integer("user_id").primary().part_of("users"),
            integer("group_id").primary().part_of("groups"),
        ],
    },
    Table {
        name: "user_role_map",
        columns: &[
            integer("user_id").primary().part_of("users"),
            integer("role_id").primary().part_of("roles"),
            boolean("managed_by_auth").not_null(),
        ],
    },
    Table {
        name: "api_tokens",
        columns: &[
            integer("user_id").part_of("users"),
            integer("service_id").part_of("services"),
            id(),
            varchar("hashed", 255).unique(),
            varchar("prefix", 16).indexed(),
            varchar("client_id", 255).refers("oauth_clients", "identifier", OnDelete::Cascade),
            varchar("session_id", 255),
            timestamp("created"),
            timestamp("expires_at"),
            timestamp("last_activity"),
            varchar("note", 1023),
            text("scopes"),
        ],
    },
    Table {
        name: "service_role_map",
        columns: &[
            integer("service_id").primary().part_of("services"),
            integer("role_id").primary().part_of("roles"),
            boolean("managed_by_auth").not_null(),
        ],
    },
    Table {
        name: "share_codes",
        columns: &[
            varchar("hashed", 255).unique(),
            varchar("prefix", 16).indexed(),
            integer("exchange_count"),
            timestamp("last_exchanged_at"),
            id(),
            timestamp("created_at").not_null(),
            text("scopes"),
            timestamp("expires_at"),
            integer("owner_id").part_of("users"),
            integer("spawner_id").part_of("spawners"),
        ],
    },
    Table {
        name: "shares",
        columns: &[
            integer("user_id").part_of("users"),
            integer("group_id").part_of("groups"),
            id(),
            timestamp("created_at").not_null(),
            text("scopes"),
            timestamp("expires_at"),
            integer("owner_id").part_of("users"),
            integer("spawner_id").part_of("spawners"),
        ],
    },
];
