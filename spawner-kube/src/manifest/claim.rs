//! The volume claim. Answers to `kubespawner.objects.make_pvc`.

use serde_json::{Map, Value, json};

use super::ManifestError;
use super::labels::Marks;
use crate::fields::Expander;
use crate::traits::Traits;

/// Where clusters of old looked for the class.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// Builds the claim.
pub fn pvc(
    name: &str,
    marks: Marks<'_>,
    traits: &Traits,
    expand: &Expander<'_>,
) -> Result<Value, ManifestError> {
    let mut labels = marks.labels(&expand.map(&traits.storage_extra_labels)?);
    labels.insert("app.kubernetes.io/component".to_owned(), marks.component.into());
    labels.insert("component".to_owned(), "singleuser-storage".into());
    let mut annotations = marks.annotations(&expand.map(&traits.storage_extra_annotations)?);
    let mut spec = Map::new();
    spec.insert("accessModes".to_owned(), traits.storage_access_modes.clone().into());
    spec.insert("resources".to_owned(), json!({"requests": {"storage": traits.storage_capacity}}));
    if let Some(class) = &traits.storage_class {
        annotations.insert(OLD_CLASS.to_owned(), class.clone().into());
        spec.insert("storageClassName".to_owned(), class.clone().into());
    }
    let selector = expand.map(&traits.storage_selector)?;
    if !selector.is_empty() {
        spec.insert("selector".to_owned(), Value::Object(selector));
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": spec,
    }))
}
