//! What groups and choices change about one start. Answers to `Spawner.apply_user_options` and
//! `Spawner.apply_group_overrides`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hub_config::{GroupOverride, SpawnerChanges};
use hub_core::SpawnError;
use serde_json::{Map, Value};

use super::ServerSettings;

/// Which changes there are.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// `apply_user_options`: the option's name to the key that it sets.
    pub options: BTreeMap<String, String>,
    /// `group_overrides`.
    pub groups: BTreeMap<String, GroupOverride>,
}

impl ServerSettings {
    /// The settings of one start: those of everybody with what the groups of the person change, then with
    /// what was chosen.
    ///
    /// # Errors
    /// When what was chosen is no value of the setting, which is the person's fault.
    pub fn for_start(
        &self,
        groups: &[String],
        options: &Map<String, Value>,
    ) -> Result<Cow<'_, Self>, SpawnError> {
        let mut settings = Cow::Borrowed(self);
        let of_person = |entry: &&GroupOverride| entry.groups.iter().any(|group| groups.contains(group));
        for entry in self.changes.groups.values().filter(of_person) {
            settings.to_mut().change(&entry.spawner_override);
        }
        for (option, key) in &self.changes.options {
            let Some(value) = options.get(option) else { continue };
            let changes = SpawnerChanges::chosen(key, value).ok_or_else(|| {
                let mut error = SpawnError::refused("invalid-options", "Invalid user options");
                error.operator = format!("the option {option:?} is no value of {key}");
                error
            })?;
            settings.to_mut().change(&changes);
        }
        Ok(settings)
    }

    fn change(&mut self, changes: &SpawnerChanges) {
        fn set<T: Clone>(place: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                place.clone_from(value);
            }
        }
        set(&mut self.command, changes.cmd.as_ref());
        set(&mut self.args, changes.args.as_ref());
        set(&mut self.env.notebook_dir, changes.notebook_dir.as_ref());
        set(&mut self.env.default_url, changes.default_url.as_ref());
        set(&mut self.env.disable_user_config, changes.disable_user_config.as_ref());
        set(&mut self.env.debug, changes.debug.as_ref());
        let own = &mut self.resources;
        own.mem_limit = changes.mem_limit.or(own.mem_limit);
        own.mem_guarantee = changes.mem_guarantee.or(own.mem_guarantee);
        own.cpu_limit = changes.cpu_limit.or(own.cpu_limit);
        own.cpu_guarantee = changes.cpu_guarantee.or(own.cpu_guarantee);
        for (name, value) in &changes.environment {
            if value == SpawnerChanges::NONE {
                self.env.environment.remove(name);
            } else {
                self.env.environment.insert(name.clone(), value.clone());
            }
        }
    }
}
