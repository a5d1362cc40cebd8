//! Where templates come from: a site's directories, then the ones built in.

use std::path::PathBuf;

use minijinja::{Error, TemplateSource, path_loader};
use rust_embed::RustEmbed;

use super::error::TemplateError;

#[derive(RustEmbed)]
#[folder = "templates"]
struct Embedded;

/// Prefix under which a site template reaches the built-in one that it replaces.
const BUILT_IN: &str = "templates/";

fn embedded(name: &str) -> Option<TemplateSource> {
    let file = Embedded::get(name)?;
    Some(TemplateSource::new(String::from_utf8_lossy(&file.data)))
}

/// Names of all built-in templates.
pub(super) fn embedded_names() -> impl Iterator<Item = String> {
    Embedded::iter().map(std::borrow::Cow::into_owned)
}

/// Names of all `.html` files directly in the directories, each once: what a site replaces or adds.
pub(super) fn site_names(directories: &[PathBuf]) -> Result<Vec<String>, TemplateError> {
    let mut names = Vec::new();
    for directory in directories {
        let failed = |error| TemplateError::Directory(directory.clone(), error);
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = PathBuf::from(entry.map_err(failed)?.file_name());
            let name = path.to_string_lossy().into_owned();
            if path.extension().is_some_and(|extension| extension == "html")
                && !name.starts_with('.')
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Looks into the directories in order, then among the built-in templates. Files that change are read again.
pub(super) fn loader(
    directories: &[PathBuf],
) -> impl Fn(&str) -> Result<Option<TemplateSource>, Error> + Send + Sync + 'static {
    let sites: Vec<_> = directories.iter().map(path_loader).collect();
    move |name| {
        if let Some(found) = name.strip_prefix(BUILT_IN).and_then(embedded) {
            return Ok(Some(found));
        }
        for site in &sites {
            if let Some(found) = site(name)? {
                return Ok(Some(found));
            }
        }
        Ok(embedded(name))
    }
}
