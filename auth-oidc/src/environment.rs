//! Tokens of people in the environment of their servers.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hub_core::{Clock, HookContext, HookError, SpawnHook, StartJob};
use serde_json::Value;

use crate::options::OidcOptions;
use crate::tokens::Tokens;

/// Fills the configured variables.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    options: Arc<OidcOptions>,
    clock: Arc<dyn Clock>,
}

impl Environment {
    /// None where no variables are configured.
    pub(crate) fn of(options: &Arc<OidcOptions>, clock: &Arc<dyn Clock>) -> Option<Self> {
        let wanted = !options.server_environment.is_empty();
        wanted.then(|| Self { options: Arc::clone(options), clock: Arc::clone(clock) })
    }

    /// The variables, of what is kept about somebody. There are none without tokens, nor of one that has ended.
    pub(crate) fn variables(&self, state: Option<&Value>) -> BTreeMap<String, String> {
        let tokens = state.and_then(Tokens::of_state);
        let now = self.clock.now();
        let Some(tokens) = tokens.filter(|tokens| tokens.ends().is_none_or(|end| end > now)) else {
            return BTreeMap::new();
        };
        let exchanged: Vec<(String, String)> = tokens
            .exchanged()
            .filter(|(_, token)| token.ends().is_none_or(|end| end > now))
            .map(|(name, token)| (field(name), token.access().to_owned()))
            .collect();
        // A variable for a token that the provider did not give is left out: it could only mislead.
        let missing: Vec<String> = self
            .options
            .token_exchange
            .keys()
            .map(|name| field(name))
            .filter(|field| !exchanged.iter().any(|(known, _)| known == field))
            .collect();
        let end = tokens.ends().map(|end| end.timestamp().to_string()).unwrap_or_default();
        let mut fields = vec![
            ("{access_token}", tokens.access()),
            ("{id_token}", tokens.id().unwrap_or_default()),
            ("{expires_at}", end.as_str()),
        ];
        fields.extend(exchanged.iter().map(|(name, token)| (name.as_str(), token.as_str())));
        self.options
            .server_environment
            .iter()
            .filter(|(_, text)| !missing.iter().any(|field| text.contains(field.as_str())))
            .map(|(name, text)| (name.clone(), fill(text, &fields)))
            .collect()
    }
}

/// What stands for the token of a service.
pub(crate) fn field(service: &str) -> String {
    format!("{{exchanged.{service}}}")
}

/// Each field is filled in once, whatever the values hold.
fn fill(text: &str, fields: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        match fields.iter().find_map(|(name, value)| Some((from.strip_prefix(name)?, value))) {
            Some((after, value)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = from.strip_prefix('{').unwrap_or_default();
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[async_trait]
impl SpawnHook for Environment {
    async fn before_start(&self, _cx: &HookContext, job: &mut StartJob) -> Result<(), HookError> {
        let variables = self.variables(job.owner.auth_state.as_ref());
        job.env.extend(variables);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_in_once_and_other_braces_stay() {
        let fields = [("{a}", "{b}"), ("{b}", "x")];
        assert_eq!(fill("{a}{b}{c}{", &fields), "{b}x{c}{");
        assert_eq!(fill("{{a}}", &fields), "{{b}}");
        assert_eq!(fill("", &fields), "");
    }
}
