//! The template environment.

use std::path::PathBuf;

use minijinja::value::{Kwargs, Serde, Value, merge_maps};
use minijinja::{AutoEscape, Environment, Error};

use super::common::CommonContext;
use super::error::TemplateError;
use super::pages::Page;
use super::static_files::StaticFiles;
use super::{escape, functions, loader};

/// How pages are made.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions {
    /// Directories with a site's templates, looked at in this order before the built-in ones.
    pub template_paths: Vec<PathBuf>,
    /// A site's own variables (`template_vars`): announcements, `login_term_url`, `logo_url` and so on.
    pub template_vars: serde_json::Map<String, serde_json::Value>,
    /// URL prefix of static files, percent-encoded, with slashes at both ends: `/base/hub/static/`.
    pub static_prefix: String,
    /// Changes with every version or start; pages show it as `version_hash`.
    pub version_hash: String,
    /// Whether `/hub/logo` answers with a file of the site; the built-in logo is recoloured for dark pages, others are
    /// left alone.
    pub custom_logo: bool,
}

/// Makes pages. Cheap to share behind an `Arc`; rendering does not block but for a look whether site templates changed.
#[derive(Debug)]
pub struct Renderer {
    env: Environment<'static>,
    site_vars: Value,
}

impl Renderer {
    /// Prepares all templates.
    ///
    /// # Errors
    /// A template directory that cannot be read, or a template with a syntax error, the site's included: better told
    /// at the start than to the first person who opens that page.
    pub fn new(options: RenderOptions) -> Result<Self, TemplateError> {
        let mut env = Environment::new();
        env.set_loader(loader::loader(&options.template_paths));
        // Whatever a site calls its files: text from variables is never taken for markup.
        env.set_auto_escape_callback(|_| AutoEscape::Html);
        env.set_formatter(escape::formatter);
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.set_debug(true);
        functions::register(&mut env);
        let prefix = options.static_prefix;
        env.add_function("static_url", move |path: &str, positional: Option<bool>, named: Kwargs| {
            let versioned = positional.or(named.get::<Option<bool>>("include_version")?).unwrap_or(true);
            named.assert_all_used()?;
            Ok::<String, Error>(static_url(&prefix, path, versioned))
        });
        env.add_global("version_hash", options.version_hash);
        env.add_global("custom_logo", options.custom_logo);

        let mut names = loader::site_names(&options.template_paths)?;
        names.extend(loader::embedded_names());
        for name in names {
            env.get_template(&name)?;
        }
        Ok(Self { env, site_vars: Value::from(Serde(&options.template_vars)) })
    }

    /// The page as HTML. Where the page knows several templates (error pages by status), the first that exists is
    /// taken.
    ///
    /// # Errors
    /// The text names template and line; it is for the log.
    pub fn render<P: Page>(&self, common: &CommonContext, page: &P) -> Result<String, TemplateError> {
        let words = Value::from_pairs([("_", common.lang.function())]);
        let site = self.site_vars.clone();
        let context = merge_maps([words, Value::from(Serde(common)), site, Value::from(Serde(page))]);
        let names = page.templates();
        for name in &names {
            match self.env.get_template(name) {
                Ok(template) => return Ok(template.render(context)?),
                Err(error) if error.kind() == minijinja::ErrorKind::TemplateNotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(TemplateError::NotFound(names.join(", ")))
    }
}

/// Address of a static file, with its version where that is known and wanted.
fn static_url(prefix: &str, path: &str, versioned: bool) -> String {
    let path = path.trim_start_matches('/');
    match StaticFiles.get(path) {
        Some(asset) if versioned => format!("{prefix}{path}?v={}", asset.version),
        _ => format!("{prefix}{path}"),
    }
}
