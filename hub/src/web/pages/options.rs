//! What a person may choose before a server starts: the form on the spawn page, and its fields read back.
//!
//! The form comes from the spawner, else from `spawner.options_form`, else it is a choice of the configured profiles.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use hub_config::OptionsFromForm;
use hub_core::ServerName;
use hub_core::spawner::{FormContext, Owner};
use hub_db::repo;
use serde_json::{Map, Value};

use super::form::Form;
use super::spawn::Subject;
use crate::app::Hub;
use crate::render::{ProfileView, ProfilesForm};
use crate::servers::spawners::OPTION_KEY;
use crate::web::caller::Page;
use crate::web::error::{ApiError, ApiResult};

/// Options in the query: those with `opt-`, or, where there are none, all that is not reserved.
pub(super) fn query_options(page: &Page) -> ApiResult<Option<BTreeMap<String, Vec<String>>>> {
    let mut marked: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut plain: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in page.facts.query_pairs() {
        if matches!(key.as_str(), "next" | "display_name" | "_xsrf") {
            continue;
        }
        match key.strip_prefix("opt-") {
            Some("") => {
                return Err(ApiError::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "An option in the address has no name: write opt-NAME=VALUE.",
                ));
            }
            Some(name) => marked.entry(name.to_owned()).or_default().push(value),
            None => plain.entry(key).or_default().push(value),
        }
    }
    let options = if marked.is_empty() { plain } else { marked };
    Ok((!options.is_empty()).then_some(options))
}

async fn form_context(page: &Page, subject: &Subject) -> ApiResult<FormContext> {
    let mut groups = repo::groups::names_of_users(page.hub.db.conn(), &[subject.owner.id]).await?;
    Ok(FormContext {
        key: subject.key.clone(),
        owner: Owner {
            id: i64::from(subject.owner.id),
            admin: subject.owner.is_admin(),
            groups: groups.remove(&subject.owner.id).unwrap_or_default(),
            auth_state: page.hub.auth_state(&subject.owner),
        },
        previous: previous(subject),
        languages: page.facts.languages.clone(),
        files: Map::new(),
    })
}

/// What was chosen at the last start.
fn previous(subject: &Subject) -> Map<String, Value> {
    let options = subject.state.as_ref().and_then(|state| state.row.row.user_options.clone());
    options.and_then(|options| options.0.as_object().cloned()).unwrap_or_default()
}

/// The body of the form as HTML.
pub(super) async fn form_html(page: &Page, subject: &Subject) -> ApiResult<String> {
    let hub = &page.hub;
    let context = form_context(page, subject).await?;
    if let Some(form) = hub.servers.spawners.default_spawner().options_form(&context).await? {
        return Ok(form.0);
    }
    if !hub.config.spawner.options_form.is_empty() || hub.config.spawner.profiles.is_empty() {
        return Ok(hub.config.spawner.options_form.clone());
    }
    profiles_html(page, &context)
}

fn profiles_html(page: &Page, context: &FormContext) -> ApiResult<String> {
    let (hub, server) = (&page.hub, &context.key.server);
    let spawners = &hub.servers.spawners;
    let selected = match spawners.chosen(&context.previous, server) {
        Ok(found) => found,
        // What was chosen last is not for this server any more.
        Err(_) => spawners.chosen(&Map::new(), server).unwrap_or_default(),
    };
    let offered: Vec<&str> = spawners.offered(server).collect();
    let profiles = hub.config.spawner.profiles.iter().filter(|(name, _)| offered.contains(&name.as_str()));
    let profiles = profiles.map(|(name, profile)| ProfileView {
        slug: name.clone(),
        display_name: profile.display_name.clone().unwrap_or_else(|| name.clone()),
        description: profile.description.clone(),
        selected: selected == Some(name.as_str()),
    });
    let mut profiles: Vec<ProfileView> = profiles.collect();
    // The usual one first, the others by name.
    let usual = hub.config.spawner.usual_profile();
    profiles.sort_by_key(|profile| usual != Some(profile.slug.as_str()));
    let form = ProfilesForm { profiles };
    hub.renderer.render(&super::context::known(page), &form).map_err(ApiError::internal)
}

/// The fields of a form as options of the server.
pub(super) async fn form_options(
    page: &Page,
    subject: &Subject,
    form: Form,
) -> ApiResult<Map<String, Value>> {
    let profile = form.fields.get(OPTION_KEY).and_then(|values| values.first()).cloned();
    let context = FormContext { files: form.files, ..form_context(page, subject).await? };
    let spawner = page.hub.servers.spawners.default_spawner();
    let mut options = spawner.options_from_form(&context, form.fields).await?;
    if page.hub.config.spawner.options_from_form == OptionsFromForm::Simple {
        options.values_mut().for_each(simplify);
    }
    choose(&page.hub, &subject.key.server, profile, &mut options)?;
    Ok(options)
}

/// The one value of a field instead of a list of it; that of a ticked box is true.
fn simplify(value: &mut Value) {
    if let Value::Array(values) = value
        && let [single] = values.as_mut_slice()
    {
        let single = single.take();
        *value = if single == "on" { true.into() } else { single };
    }
}

/// Notes the profile as plain text, as programs give it; what a spawner made of the field itself does not count where
/// the hub has profiles.
fn choose(
    hub: &Hub,
    server: &ServerName,
    profile: Option<String>,
    options: &mut Map<String, Value>,
) -> ApiResult<()> {
    let Some(profile) = profile.filter(|_| !hub.config.spawner.profiles.is_empty()) else { return Ok(()) };
    let checked = hub.servers.spawners.check(&profile, server);
    checked.map_err(|why| ApiError::bad_request(why.to_string()))?;
    options.insert(OPTION_KEY.to_owned(), profile.into());
    Ok(())
}
