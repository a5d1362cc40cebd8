//! The spawners of this hub: one by default, others by profile.

use std::collections::BTreeMap;
use std::sync::Arc;

use hub_core::spawner::WatchHealth;
use hub_core::{ServerName, Spawner};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::internal_ssl::{self, Fingerprints};

/// Key in `spawners.state` that names the profile whose spawner made the state; absent for the default one.
/// Stock ignores keys that it does not know.
const STATE_KEY: &str = "himalia_profile";
/// Key in `user_options` by which a person chooses a profile.
pub const OPTION_KEY: &str = "profile";

/// All spawners of this process.
#[derive(Debug, Clone)]
pub struct Spawners {
    default: Arc<dyn Spawner>,
    profiles: BTreeMap<String, Arc<dyn Spawner>>,
    /// The profiles that are for the servers of some workspaces alone.
    limits: BTreeMap<String, Vec<String>>,
    usual: Option<String>,
}

/// A profile that is none, or not for this server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("There is no profile {chosen:?} for this server. Choose one of: {known}.")]
pub struct NoSuchProfile {
    chosen: String,
    known: String,
}

impl Spawners {
    /// The default spawner and those of the profiles; `limits` has the workspaces that a profile is for. `usual` is the profile that holds when none is chosen.
    pub fn new(
        default: Arc<dyn Spawner>,
        profiles: BTreeMap<String, Arc<dyn Spawner>>,
        limits: BTreeMap<String, Vec<String>>,
        usual: Option<String>,
    ) -> Self {
        Self { default, profiles, limits, usual }
    }

    /// The default one.
    pub fn default_spawner(&self) -> &Arc<dyn Spawner> {
        &self.default
    }

    /// Every spawner once.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Spawner>> {
        std::iter::once(&self.default).chain(self.profiles.values())
    }

    /// How the watches of all spawners fare, one of each scope.
    pub fn watches(&self) -> Vec<WatchHealth> {
        let mut all: Vec<WatchHealth> = self.all().flat_map(|spawner| spawner.watches()).collect();
        // Of several spawners that watch the same, the one that is worst off counts.
        all.sort_by(|a, b| (&a.scope, a.live, b.age).cmp(&(&b.scope, b.live, a.age)));
        all.dedup_by(|next, first| next.scope == first.scope);
        all
    }

    /// The profiles that a server may have, by name.
    pub fn offered(&self, server: &ServerName) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str).filter(|name| self.is_for(name, server))
    }

    fn is_for(&self, profile: &str, server: &ServerName) -> bool {
        let limit = self.limits.get(profile).filter(|names| !names.is_empty());
        limit.is_none_or(|names| names.iter().any(|name| name == server.as_str()))
    }

    /// The profile that these options choose, or the usual one, or else the first by name; none where there are no
    /// profiles.
    ///
    /// # Errors
    /// When the one that is chosen is not for this server, or none is.
    pub fn chosen(
        &self,
        options: &Map<String, Value>,
        server: &ServerName,
    ) -> Result<Option<&str>, NoSuchProfile> {
        let name = options.get(OPTION_KEY).and_then(Value::as_str);
        if let Some((name, _)) = name.and_then(|name| self.profiles.get_key_value(name)) {
            return self.check(name, server).map(|()| Some(name.as_str()));
        }
        let usual = self.usual.as_deref().filter(|name| self.is_for(name, server));
        let found = usual.or_else(|| self.offered(server).next());
        if found.is_none() && !self.profiles.is_empty() {
            return Err(self.no_such(name.unwrap_or_default(), server));
        }
        Ok(found)
    }

    /// That a server may have a profile.
    ///
    /// # Errors
    /// When there is none of this name for it.
    pub fn check(&self, profile: &str, server: &ServerName) -> Result<(), NoSuchProfile> {
        if self.profiles.contains_key(profile) && self.is_for(profile, server) {
            return Ok(());
        }
        Err(self.no_such(profile, server))
    }

    fn no_such(&self, chosen: &str, server: &ServerName) -> NoSuchProfile {
        let known: Vec<_> = self.offered(server).collect();
        NoSuchProfile { chosen: chosen.to_owned(), known: known.join(", ") }
    }

    /// The spawner of a profile.
    pub fn of_profile(&self, profile: Option<&str>) -> &Arc<dyn Spawner> {
        profile.and_then(|name| self.profiles.get(name)).unwrap_or(&self.default)
    }

    /// The spawner that made a saved state.
    pub fn of_state(&self, state: &Value) -> &Arc<dyn Spawner> {
        self.of_profile(profile_of(state))
    }
}

/// The profile whose spawner made a state.
pub fn profile_of(state: &Value) -> Option<&str> {
    state.get(STATE_KEY).and_then(Value::as_str)
}

/// The authorities that the server of a state depends on, as far as that was noted.
pub(crate) fn authorities_of(state: &Value) -> Option<Fingerprints> {
    Fingerprints::deserialize(state.get(internal_ssl::STATE_KEY)?).ok()
}

/// Notes in a state which profile's spawner made it, and which authorities its server depends on.
pub(crate) fn mark(mut state: Value, profile: Option<&str>, authorities: Option<&Fingerprints>) -> Value {
    if let Value::Object(map) = &mut state {
        map.extend(profile.map(|profile| (STATE_KEY.to_owned(), profile.into())));
        map.remove(internal_ssl::STATE_KEY);
        map.extend(authorities.map(|prints| (internal_ssl::STATE_KEY.to_owned(), json!(prints))));
    }
    state
}
