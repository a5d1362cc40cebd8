//! Tokens: how they are asked for, and how they are kept in `auth_state` in the shape that oauthenticator gives it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::fault::{Fault, short};
use crate::http::Answer;

/// Most that is believed of a token's life, in seconds: ten years.
const LONGEST_LIFE: i64 = 10 * 366 * 86_400;

/// Key of the tokens for services, among the fields of the response.
const EXCHANGED: &str = "exchanged";

/// A token response, as the provider gave it, with the time of its end.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Tokens(Map<String, Value>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("keys", &self.0.keys().collect::<Vec<_>>()).finish()
    }
}

impl Tokens {
    /// Reads an answer of the token endpoint. Before a refresh there were `old` tokens, of which some stay.
    pub(crate) fn read(answer: &Answer, old: Option<&Self>, now: DateTime<Utc>) -> Result<Self, Fault> {
        let mut map = answer.object()?;
        let text = |name: &str| map.get(name).and_then(Value::as_str).map(short);
        if let Some(error) = text("error") {
            let told = text("error_description").map_or(error.clone(), |why| format!("{error}: {why}"));
            return Err(match error.as_str() {
                "invalid_client" | "unauthorized_client" | "unsupported_grant_type" | "invalid_scope" => {
                    Fault::Misconfigured(told)
                }
                "temporarily_unavailable" | "server_error" => Fault::Unreachable(told),
                _ => Fault::Refused(told),
            });
        }
        if !answer.status.is_success() {
            return Err(Fault::Refused(format!("status {}", answer.status)));
        }
        if text("access_token").is_none_or(|token| token.is_empty()) {
            return Err(Fault::Nonsense("it has no access_token".to_owned()));
        }
        if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(Fault::Nonsense("its token_type is not Bearer".to_owned()));
        }
        // What a provider calls so is nothing that was exchanged here.
        map.remove(EXCHANGED);
        if let Some(life) = seconds(map.get("expires_in")) {
            map.insert("expires_at".to_owned(), json!(now.timestamp() + life.clamp(0, LONGEST_LIFE)));
        }
        for name in ["refresh_token", "id_token", "scope"] {
            let missing = map.get(name).and_then(Value::as_str).is_none_or(str::is_empty);
            if let Some(kept) = old.and_then(|old| old.0.get(name)).filter(|_| missing) {
                map.insert(name.to_owned(), kept.clone());
            }
        }
        Ok(Self(map))
    }

    /// The tokens of a kept state; none when it has no access token.
    pub(crate) fn of_state(state: &Value) -> Option<Self> {
        let mut map = state.get("token_response").and_then(Value::as_object).cloned().unwrap_or_default();
        // The fields beside `token_response` are those that stock uses.
        for name in ["access_token", "refresh_token", "id_token"] {
            if let Some(value) = state.get(name).filter(|value| value.is_string()) {
                map.insert(name.to_owned(), value.clone());
            }
        }
        let tokens = Self(map);
        (!tokens.access().is_empty()).then_some(tokens)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(crate) fn access(&self) -> &str {
        self.text("access_token").unwrap_or_default()
    }

    pub(crate) fn refresh(&self) -> Option<&str> {
        self.text("refresh_token")
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.text("id_token")
    }

    /// Keeps a token that was given for a service.
    pub(crate) fn keep_exchanged(&mut self, name: &str, token: &Self) {
        let kept: Map<String, Value> = ["access_token", "expires_at", "expires_in"]
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), token.0.get(*key)?.clone())))
            .collect();
        let all = self.0.entry(EXCHANGED).or_insert_with(|| json!({}));
        if let Some(all) = all.as_object_mut() {
            all.insert(name.to_owned(), Value::Object(kept));
        }
    }

    /// The tokens for services.
    pub(crate) fn exchanged(&self) -> impl Iterator<Item = (&str, Self)> {
        let all = self.0.get(EXCHANGED).and_then(Value::as_object);
        all.into_iter()
            .flatten()
            .filter_map(|(name, token)| Some((name.as_str(), Self(token.as_object()?.clone()))))
    }

    /// The granted scopes; a provider that names none granted what was asked for.
    pub(crate) fn scopes(&self, asked: &[String]) -> Vec<String> {
        match self.0.get("scope") {
            Some(Value::String(text)) => {
                text.split([' ', ',']).filter(|s| !s.is_empty()).map(str::to_owned).collect()
            }
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => asked.to_vec(),
        }
    }

    /// When the access token ends; none when the provider did not say.
    pub(crate) fn ends(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(seconds(self.0.get("expires_at"))?, 0)
    }

    /// When the tokens should be renewed: `before` the end of the first of them, a quarter of its life at most.
    pub(crate) fn renewal(&self, before: TimeDelta) -> Option<DateTime<Utc>> {
        let own = self.own_renewal(before);
        self.exchanged().filter_map(|(_, token)| token.own_renewal(before)).chain(own).min()
    }

    fn own_renewal(&self, before: TimeDelta) -> Option<DateTime<Utc>> {
        let ends = self.ends()?;
        let life = seconds(self.0.get("expires_in")).map_or(before * 4, TimeDelta::seconds);
        Some(ends - before.min(life / 4))
    }

    /// The kept state: the shape of oauthenticator's `build_auth_state_dict`.
    pub(crate) fn state(&self, user: &Map<String, Value>) -> Value {
        let scope = match self.0.get("scope") {
            Some(Value::Array(list)) => list.clone(),
            scope => {
                let text = scope.and_then(Value::as_str).unwrap_or_default();
                text.split(' ').map(|scope| Value::String(scope.to_owned())).collect()
            }
        };
        json!({
            "access_token": self.access(),
            "refresh_token": self.refresh(),
            "id_token": self.id(),
            "scope": scope,
            "token_response": self.0,
            "oauth_user": user,
        })
    }
}

/// Whole seconds, also where a provider writes them as a text.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast saturates; lives are bounded where they are used"
)]
fn seconds(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn read(status: u16, body: &Value, old: Option<&Tokens>) -> Result<Tokens, Fault> {
        let status = StatusCode::from_u16(status).unwrap();
        let answer =
            Answer { status, kind: "application/json".to_owned(), body: body.to_string().into_bytes() };
        Tokens::read(&answer, old, now())
    }

    #[test]
    fn the_kept_state_has_the_shape_of_oauthenticator() {
        let tokens = read(
            200,
            &json!({"access_token": "A", "token_type": "bearer", "refresh_token": "R", "scope": "openid email",
                    "expires_in": "60"}),
            None,
        )
        .unwrap();
        let state = tokens.state(json!({"sub": "s"}).as_object().unwrap());
        assert_eq!(
            state,
            json!({
                "access_token": "A",
                "refresh_token": "R",
                "id_token": null,
                "scope": ["openid", "email"],
                "token_response": {"access_token": "A", "token_type": "bearer", "refresh_token": "R",
                    "scope": "openid email", "expires_in": "60", "expires_at": 1_700_000_060},
                "oauth_user": {"sub": "s"},
            })
        );
        assert_eq!(Tokens::of_state(&state), Some(tokens));
    }

    #[test]
    fn a_refresh_keeps_what_the_provider_does_not_give_again() {
        let old =
            read(200, &json!({"access_token": "A", "refresh_token": "R", "id_token": "I"}), None).unwrap();
        let new = read(200, &json!({"access_token": "B", "id_token": "J"}), Some(&old)).unwrap();
        assert_eq!((new.access(), new.refresh(), new.id()), ("B", Some("R"), Some("J")));
        let rotated = read(200, &json!({"access_token": "C", "refresh_token": "S"}), Some(&new)).unwrap();
        assert_eq!((rotated.refresh(), rotated.id()), (Some("S"), Some("J")));
    }

    #[test]
    fn short_lived_tokens_are_renewed_in_their_last_quarter() {
        let tokens = |life: i64| read(200, &json!({"access_token": "A", "expires_in": life}), None).unwrap();
        let minute = TimeDelta::minutes(1);
        assert_eq!(tokens(60).renewal(minute), Some(now() + TimeDelta::seconds(45)));
        assert_eq!(tokens(3_600).renewal(minute), Some(now() + TimeDelta::seconds(3_540)));
        assert_eq!(read(200, &json!({"access_token": "A"}), None).unwrap().renewal(minute), None);
    }

    #[test]
    fn errors_are_told_apart_by_whose_they_are() {
        for (status, body, expected) in [
            (
                400,
                json!({"error": "invalid_grant", "error_description": "used"}),
                "refused: invalid_grant: used",
            ),
            (401, json!({"error": "invalid_client"}), "does not accept this hub: invalid_client"),
            (200, json!({"error": "bad_verification_code"}), "refused: bad_verification_code"),
            (200, json!({"token_type": "bearer"}), "no access_token"),
            (200, json!({"access_token": "A", "token_type": "mac"}), "not Bearer"),
            (403, json!({"access_token": "A"}), "refused: status 403"),
        ] {
            let fault = read(status, &body, None).unwrap_err().to_string();
            assert!(fault.contains(expected), "{fault}");
        }
    }
}
