//! What both hubs are, what each of them is told, and what they are asked.

use hub_tests::hub::Kind;
use hub_tests::settings::{Service, Settings};

use super::callers::{CALLERS, Proof};

/// Names and lines.
pub(super) type Scenarios = &'static [(&'static str, &'static str)];

/// What both hubs are, and what else each of them is told.
#[derive(Debug)]
pub(super) struct World {
    /// Base URL.
    pub(super) base_url: &'static str,
    /// Whether configurable-http-proxy is a process of its own beside both.
    pub(super) separate_proxy: bool,
    /// The end of our configuration.
    pub(super) toml: &'static str,
    /// The end of stock's.
    pub(super) python: &'static str,
    /// Further variables of ours.
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// Whether servers wait as long as there is a file `hold` in their home.
    pub(super) held: bool,
    /// The scenarios; what one leaves behind the next one finds.
    pub(super) scenarios: Scenarios,
    /// Fewest requests that a run must make.
    pub(super) fewest: usize,
}

/// A hub as most are.
pub(super) const USUAL: World = World {
    base_url: "/",
    separate_proxy: false,
    toml: include_str!("more.toml"),
    python: include_str!("more.py"),
    environment: &[],
    held: false,
    scenarios: &[
        ("world", include_str!("scenarios/world.txt")),
        ("about", include_str!("scenarios/about.txt")),
        ("users", include_str!("scenarios/users.txt")),
        ("tokens", include_str!("scenarios/tokens.txt")),
        ("groups", include_str!("scenarios/groups.txt")),
        ("services", include_str!("scenarios/services.txt")),
        ("servers", include_str!("scenarios/servers.txt")),
        ("shares", include_str!("scenarios/shares.txt")),
        ("pages", include_str!("scenarios/pages.txt")),
        ("oauth", include_str!("scenarios/oauth.txt")),
        ("input", include_str!("scenarios/input.txt")),
        ("end", include_str!("scenarios/end.txt")),
    ],
    fewest: 600,
};

/// A hub with limits, beside a proxy of its own.
pub(super) const STRICT: World = World {
    base_url: "/",
    separate_proxy: true,
    toml: include_str!("more.toml"),
    python: concat!(include_str!("more.py"), include_str!("strict.py")),
    environment: &[
        ("HUB__HUB__ACTIVE_SERVER_LIMIT", "2"),
        ("HUB__HUB__BEYOND_SPAWN_LIMIT", "refuse"),
        ("HUB__HUB__CONCURRENT_SPAWN_LIMIT", "1"),
        ("HUB__HUB__NAMED_SERVER_LIMIT_PER_USER", "1"),
        ("HUB__HUB__SERVER_NAMES", "any"),
        ("HUB__HUB__TOKEN_EXPIRES_IN_MAX", "1h"),
        ("HUB__SPAWNER__OPTIONS_FORM", "<input name=a>"),
    ],
    held: true,
    scenarios: &[("strict", include_str!("scenarios/strict.txt"))],
    fewest: 80,
};

impl World {
    /// What a hub is told; the services are those of [`CALLERS`].
    pub(super) fn settings(&self, kind: Kind, database: Option<String>) -> Settings {
        let mut settings = Settings {
            base_url: self.base_url.to_owned(),
            separate_proxy: self.separate_proxy,
            foreign_proxy: kind == Kind::Himalia,
            database,
            admins: vec!["chief".to_owned()],
            password: Some("open sesame".to_owned()),
            ..Settings::default()
        }
        .with_light_singleuser();
        for (name, proof) in CALLERS {
            if let Proof::Service(scopes) = proof {
                let token = uuid::Uuid::new_v4().simple().to_string();
                let scopes = scopes.iter().map(ToString::to_string).collect();
                settings.services.push(Service { name: (*name).to_owned(), token, scopes });
            }
        }
        if kind == Kind::Himalia {
            settings.extra.push_str(self.toml);
            let variables = self.environment.iter();
            let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            settings.hub_environment.extend(variables);
        } else {
            settings.extra.push_str(self.python);
        }
        if self.held {
            let wait = "while [ -e \"$HOME/hold\" ]; do sleep 0.1; done; exec";
            let script = format!("{wait} {}", settings.command.join(" "));
            settings.command = ["sh", "-c", &script].map(str::to_owned).to_vec();
        }
        settings
    }
}
