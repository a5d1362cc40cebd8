//! What hooks want to be different about one start: the name of the pod, its image, no volume of the person's own.
//! Answers to what a `pre_spawn_hook` sets on stock's spawner.

use hub_core::spawner::Overrides;
use serde_json::Value;

use crate::server::{Server, ServerError};
use crate::traits::Items;

/// How the names of volumes begin that belong to a person: the chart's own is `volume-{user_server}`.
const OWN_VOLUME: &str = "volume-";

impl Server {
    /// Applies them, after groups and profile. Directories of the machine ([`Overrides::binds`]) are for spawners that
    /// run servers on this machine: the nodes of a cluster are others, and their files are nobody's to give.
    pub fn apply_overrides(&mut self, wanted: &Overrides) -> Result<(), ServerError> {
        if let Some(name) = &wanted.object_name {
            self.names.pod.clone_from(name);
            self.names.dns = self.dns_name()?;
        }
        if let Some(image) = &wanted.image {
            self.traits.image.clone_from(image);
        }
        if wanted.without_own_volume {
            self.traits.storage_pvc_ensure = false;
            self.traits.volumes = others(&self.traits.volumes);
            self.traits.volume_mounts = others(&self.traits.volume_mounts);
        }
        Ok(())
    }
}

/// The items whose names are not those of a person's own volume.
fn others(items: &Items) -> Items {
    let own =
        |item: &Value| item.get("name").and_then(Value::as_str).is_some_and(|n| n.starts_with(OWN_VOLUME));
    Items::List(items.sorted().into_iter().filter(|item| !own(item)).collect())
}
