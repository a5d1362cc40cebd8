//! The form on the spawn page, and what it sends back.

use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value as Jinja, context};
use serde_json::{Map, Value};
use thiserror::Error;

use super::still_possible;
use crate::traits::Traits;

/// The form that is used when the configuration brings none.
const BUILT_IN: &str = include_str!("form.html");
/// Its name for templates that include it, and that of files that replace it.
const NAME: &str = "form.html";

/// Why the form cannot be shown.
#[derive(Debug, Error)]
#[error("the form of the profiles cannot be made: {0}")]
pub struct FormError(#[from] minijinja::Error);

/// Renders forms.
#[derive(Debug)]
pub struct Forms {
    environment: Environment<'static>,
    own: bool,
}

impl Forms {
    /// Compiles the template: `profile_form_template`, else the first `form.html` of
    /// `additional_profile_form_template_paths`, else the built-in one. As in stock, templates of a site do not
    /// escape: names and descriptions are HTML.
    ///
    /// # Errors
    /// Mistakes in the template.
    pub fn new(traits: &Traits) -> Result<Self, FormError> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        let folders = traits.additional_profile_form_template_paths.clone();
        environment.set_loader(move |name| {
            for folder in &folders {
                if let Some(text) = minijinja::path_loader(folder)(name)? {
                    return Ok(Some(text));
                }
            }
            Ok((name == NAME).then(|| BUILT_IN.to_owned().into()))
        });
        let own = !traits.profile_form_template.is_empty();
        if own {
            environment.add_template_owned("profile_form_template", traits.profile_form_template.clone())?;
        } else {
            environment.get_template(NAME)?;
        }
        Ok(Self { environment, own })
    }

    /// The form for prepared profiles. `saved` is what was chosen last time; what of it is not possible any more is
    /// not shown, so that the default is chosen instead.
    ///
    /// # Errors
    /// A template that fails.
    pub fn render(
        &self,
        profiles: &[Value],
        saved: &Map<String, Value>,
        traits: &Traits,
    ) -> Result<String, FormError> {
        let saved = still_possible(profiles, saved, traits.unlisted_choice_match);
        let chosen = saved.get("profile").cloned();
        let template = if self.own { "profile_form_template" } else { NAME };
        Ok(self.environment.get_template(template)?.render(context! {
            profile_list => Jinja::from(Serde(profiles)),
            user_options => Jinja::from(Serde(&saved)),
            chosen => Jinja::from(Serde(&chosen)),
        })?)
    }
}

/// Reads the fields of the form, or the query of a link: the profile, and its options by name. Fields of other
/// profiles are left out.
pub fn options_from_form(form: &BTreeMap<String, Vec<String>>) -> Map<String, Value> {
    let first = |values: &[String]| values.first().cloned();
    let mut options = Map::new();
    let Some(slug) = form.get("profile").and_then(|values| first(values)).filter(|slug| !slug.is_empty())
    else {
        return options;
    };
    let prefix = format!("profile-option-{slug}--");
    options.insert("profile".to_owned(), slug.into());
    for (key, values) in form {
        if let (Some(name), Some(value)) = (key.strip_prefix(&prefix), first(values)) {
            options.insert(name.to_owned(), value.into());
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::prepare;
    use super::*;

    fn profiles() -> Vec<Value> {
        prepare(vec![
            json!({"display_name": "Small", "description": "<b>cheap</b>"}),
            json!({"display_name": "Opt", "profile_options": {
                "image": {"display_name": "Image", "choices": {"a\"b": {"display_name": "A"}, "z": {"display_name": "Z"}},
                    "unlisted_choice": {"enabled": true, "validation_regex": "^\"x"}},
                "free": {"unlisted_choice": {"enabled": true, "display_name": "Free"}}}}),
        ])
        .unwrap()
    }

    fn form(saved: &Value, traits: &Traits) -> String {
        Forms::new(traits).unwrap().render(&profiles(), saved.as_object().unwrap(), traits).unwrap()
    }

    #[test]
    fn an_option_with_a_free_text_only_has_its_field() {
        let html = form(&json!({}), &Traits::default());
        assert!(html.contains("name=\"profile-option-opt--free--unlisted-choice\""), "{html}");
        assert!(html.contains("pattern=\"^&quot;x\""), "{html}");
        assert!(html.contains("<p><b>cheap</b></p>"), "{html}");
        assert!(html.contains("value=\"a&quot;b\" selected"), "{html}");
    }

    #[test]
    fn a_saved_choice_is_shown_while_it_is_possible() {
        let checked = |html: &str, slug: &str| html.contains(&format!("value=\"{slug}\" checked"));
        let saved = json!({"profile": "opt", "image": "z", "free--unlisted-choice": "f"});
        let html = form(&saved, &Traits::default());
        assert!(checked(&html, "opt") && !checked(&html, "small"), "{html}");
        assert!(html.contains("data-saved=\"z\"") && html.contains("value=\"f\""), "{html}");
        let html = form(&json!({"profile": "opt", "image": "gone"}), &Traits::default());
        assert!(checked(&html, "opt") && !html.contains("data-saved"), "{html}");
        let html = form(&json!({"profile": "gone", "image": "z"}), &Traits::default());
        assert!(checked(&html, "small"), "{html}");
    }

    #[test]
    fn a_site_may_bring_its_own_form() {
        let traits = Traits {
            profile_form_template:
                "{% for p in profile_list %}{{ p.slug.upper() }} {% endfor %}{{ user_options|tojson }}"
                    .to_owned(),
            ..Traits::default()
        };
        assert_eq!(form(&json!({}), &traits), "SMALL OPT {}");
        let broken = Traits { profile_form_template: "{% for %}".to_owned(), ..Traits::default() };
        assert!(Forms::new(&broken).is_err());
    }

    #[test]
    fn fields_of_other_profiles_are_left_out() {
        let form: BTreeMap<String, Vec<String>> = [
            ("profile", vec!["a"]),
            ("profile-option-a--image", vec!["x", "y"]),
            ("profile-option-b--image", vec!["z"]),
            ("other", vec!["1"]),
        ]
        .into_iter()
        .map(|(key, values)| (key.to_owned(), values.into_iter().map(str::to_owned).collect()))
        .collect();
        assert_eq!(Value::Object(options_from_form(&form)), json!({"profile": "a", "image": "x"}));
        assert!(options_from_form(&BTreeMap::new()).is_empty());
    }
}
