//! Functions for templates that Jinja2 itself does not have.

use minijinja::value::Rest;
use minijinja::{Environment, Error};

/// Joins parts of a URL with single slashes; leading and trailing ones are kept (`jupyterhub.utils.url_path_join`).
pub(super) fn url_path_join(parts: &[String]) -> String {
    let leading = parts.first().is_some_and(|part| part.starts_with('/'));
    let trailing = parts.last().is_some_and(|part| part.ends_with('/'));
    let middle: Vec<&str> =
        parts.iter().map(|part| part.trim_matches('/')).filter(|part| !part.is_empty()).collect();
    let mut joined = middle.join("/");
    if leading {
        joined.insert(0, '/');
    }
    if trailing && joined != "/" {
        joined.push('/');
    }
    joined
}

pub(super) fn register(env: &mut Environment<'_>) {
    env.add_function("url_path_join", |parts: Rest<String>| -> Result<String, Error> {
        Ok(url_path_join(&parts))
    });
}

#[cfg(test)]
mod tests {
    use super::url_path_join;

    #[test]
    fn parts_are_joined_with_single_slashes() {
        let join =
            |parts: &[&str]| url_path_join(&parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
        assert_eq!(join(&["/hub/", "/spawn/", "ann"]), "/hub/spawn/ann");
        assert_eq!(join(&["a", "b/"]), "a/b/");
        assert_eq!(join(&["/", "/"]), "/");
        assert_eq!(join(&["", "x"]), "x");
        assert_eq!(join(&[]), "");
    }
}
