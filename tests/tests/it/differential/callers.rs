//! Who asks.

/// How a caller proves who they are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Proof {
    /// Not at all.
    Nothing,
    /// With a token that does not exist.
    BadToken,
    /// With a token of a user for these scopes.
    Token(&'static str, &'static [&'static str]),
    /// With the token of a service of the configuration.
    Service(&'static [&'static str]),
    /// With the token that the user's default server got.
    Server(&'static str),
    /// With the cookies of a login and the XSRF token of the hub's pages.
    Page(&'static str),
    /// With the cookies of a login alone, as a page of another site would ask.
    CrossSite(&'static str),
}

/// All callers. Those who may do most come last, so that what they change does not hide what others may not.
pub(super) const CALLERS: &[(&str, Proof)] = &[
    ("anon", Proof::Nothing),
    ("bogus", Proof::BadToken),
    ("idle", Proof::Service(&[])),
    ("bob", Proof::Token("bob", &["inherit"])),
    ("server", Proof::Server("ada")),
    (
        "names",
        Proof::Token(
            "chief",
            &[
                "read:users:name",
                "list:users!group=maths",
                "read:groups:name",
                "list:groups!group=maths",
                "list:services!service=idle",
                "read:services:name",
                "read:roles!user=ada",
            ],
        ),
    ),
    (
        "lab",
        Proof::Token(
            "chief",
            &["admin:servers!server=ada/lab", "shares!server=ada/lab", "read:shares!server=ada/"],
        ),
    ),
    (
        "maths",
        Proof::Token(
            "chief",
            &[
                "users!group=maths",
                "servers!group=maths",
                "groups!group=maths",
                "read:roles!group=maths",
                "tokens!group=maths",
                "shares!group=maths",
                "admin:auth_state!group=maths",
            ],
        ),
    ),
    ("cross", Proof::CrossSite("chief")),
    ("cull", Proof::Service(&["list:users", "read:users:activity", "read:servers", "delete:servers"])),
    ("ada", Proof::Token("ada", &["inherit"])),
    ("own", Proof::Page("ada")),
    (
        "one",
        Proof::Token(
            "chief",
            &[
                "admin:users!user=ada",
                "delete:users!user=cy",
                "admin:servers!user=cy",
                "admin:groups!group=art",
                "read:services!service=cull",
                "read:hub",
            ],
        ),
    ),
    ("page", Proof::Page("chief")),
    ("admin", Proof::Token("chief", &["inherit"])),
];

/// The names of all callers.
pub(super) fn everybody() -> Vec<&'static str> {
    CALLERS.iter().map(|(name, _)| *name).collect()
}
