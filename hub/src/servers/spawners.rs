//! The spawners of this hub: one by default, others by profile.

use std::collections::BTreeMap;
use std::sync::Arc;

use hub_core::Spawner;
use hub_core::spawner::WatchHealth;
use serde_json::{Map, Value};

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
    usual: Option<String>,
}

impl Spawners {
    /// The default spawner and those of the profiles. `usual` is the profile that holds when none is chosen.
    pub fn new(
        default: Arc<dyn Spawner>,
        profiles: BTreeMap<String, Arc<dyn Spawner>>,
        usual: Option<String>,
    ) -> Self {
        Self { default, profiles, usual }
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

    /// The profile that these options choose, or the usual one; none where there are no profiles.
    pub fn chosen(&self, options: &Map<String, Value>) -> Option<&str> {
        let name = options.get(OPTION_KEY).and_then(Value::as_str);
        let known = name.and_then(|name| self.profiles.get_key_value(name));
        known.map(|(name, _)| name.as_str()).or(self.usual.as_deref())
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

/// Notes in a state which profile's spawner made it.
pub fn mark(mut state: Value, profile: Option<&str>) -> Value {
    if let (Some(profile), Value::Object(map)) = (profile, &mut state) {
        map.insert(STATE_KEY.to_owned(), profile.into());
    }
    state
}
