//! What can go wrong with a template.

use std::fmt::Write as _;
use std::path::PathBuf;

use thiserror::Error;

/// A template that cannot be used. The text names file and line and is for the log; a person gets a plain error page.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// A configured template directory is not there.
    #[error("template path {} is not a directory that can be read; remove it from template_paths or create it", .0.display())]
    Directory(PathBuf, #[source] std::io::Error),
    /// None of the names that were looked for exists.
    #[error("no template named {0}")]
    NotFound(String),
    /// The template is broken, or met something in its variables that it cannot handle.
    #[error("template {name}, line {line}: {text}")]
    Broken {
        /// Name of the template, as in `extends`.
        name: String,
        /// Line in it; 0 where it is not known.
        line: usize,
        /// What is wrong, with the causes behind it.
        text: String,
    },
}

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        let mut place = (error.name().unwrap_or("(unknown)").to_owned(), error.line().unwrap_or(0));
        let mut text = error.kind().to_string();
        if let Some(detail) = error.detail() {
            let _ = write!(text, ": {detail}");
        }
        // An error within a block or an include names the outer place; the one that needs mending is the innermost.
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            if let Some(inner) = inner.downcast_ref::<minijinja::Error>() {
                if let (Some(name), Some(line)) = (inner.name(), inner.line()) {
                    place = (name.to_owned(), line);
                }
                let _ = write!(text, ": {}", inner.kind());
                if let Some(detail) = inner.detail() {
                    let _ = write!(text, ": {detail}");
                }
            } else {
                let _ = write!(text, ": {inner}");
            }
            cause = inner.source();
        }
        Self::Broken { name: place.0, line: place.1, text }
    }
}
