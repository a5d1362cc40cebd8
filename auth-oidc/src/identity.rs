//! From claims to a person: name, groups, roles, administrator, and whether they may come in.

use hub_core::{AuthError, AuthenticatorContext, Identity};
use serde_json::{Map, Value, json};
use tracing::{info, warn};
use unicode_normalization::UnicodeNormalization as _;

use crate::claims::{ClaimPath, Claims, collect, is_cut, texts};
use crate::options::{ClaimRule, OidcOptions};
use crate::refusal::Refusal;
use crate::tokens::Tokens;

/// Most groups and most roles that one person gets.
const MOST_GROUPS: usize = 1_000;
/// Longest name of a group or role that the database holds, in characters.
const LONGEST_NAME: usize = 255;

/// What a provider's own way of telling groups and roles comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Groups of the hub.
    pub groups: Vec<String>,
    /// Roles of the hub.
    pub roles: Vec<String>,
    /// Administrator: yes, no, or not said.
    pub admin: Option<bool>,
    /// Whether the person is let in for that.
    pub allowed: bool,
}

/// Adds what one kind of provider tells in its own way to what the generic settings found.
pub trait Mapper: Send + Sync + std::fmt::Debug {
    /// Changes `mapped` by what the claims say.
    ///
    /// # Errors
    /// [`AuthError::Denied`] when the person must not come in.
    fn map(&self, claims: &Claims, mapped: &mut Mapped) -> Result<(), AuthError>;

    /// Whether the claims of access tokens are to be read, as far as those are signed like id_tokens.
    fn reads_access_tokens(&self) -> bool {
        false
    }
}

/// The generic settings alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMapper;

impl Mapper for NoMapper {
    fn map(&self, _: &Claims, _: &mut Mapped) -> Result<(), AuthError> {
        Ok(())
    }
}

/// The options with their paths parsed.
#[derive(Debug)]
pub(crate) struct Rules {
    username: ClaimPath,
    display_name: Option<ClaimPath>,
    groups: Option<ClaimPath>,
    groups_in_state: Option<String>,
    roles: Option<ClaimPath>,
    admin_groups: Vec<String>,
    admin_claims: Vec<Rule>,
    allowed_groups: Vec<String>,
    blocked_groups: Vec<String>,
    allowed_claims: Vec<Rule>,
    required_claims: Vec<Rule>,
    allowed_domains: Vec<String>,
    allowed_scopes: Vec<String>,
    asked_scopes: Vec<String>,
    strip_domain: Option<String>,
    unverified_email: bool,
    manage_groups: bool,
    manage_roles: bool,
    denied: String,
}

#[derive(Debug)]
struct Rule {
    claim: ClaimPath,
    values: Vec<String>,
}

impl Rules {
    /// Rules of checked options.
    ///
    /// # Errors
    /// A text about a path that cannot be read; a check of the options finds it first.
    pub(crate) fn new(options: &OidcOptions, cx: &AuthenticatorContext) -> Result<Self, String> {
        let path = |text: &str| if text.is_empty() { Ok(None) } else { ClaimPath::parse(text).map(Some) };
        let rules = |list: &[ClaimRule]| -> Result<Vec<Rule>, String> {
            list.iter()
                .map(|rule| Ok(Rule { claim: ClaimPath::parse(&rule.claim)?, values: rule.values.clone() }))
                .collect()
        };
        Ok(Self {
            username: ClaimPath::parse(&options.username_claim)?,
            display_name: path(&options.display_name_claim)?,
            groups: path(&options.groups_claim)?,
            groups_in_state: options.auth_state_groups_key.clone(),
            roles: path(&options.roles_claim)?,
            admin_groups: options.admin_groups.clone(),
            admin_claims: rules(&options.admin_claims)?,
            allowed_groups: options.allowed_groups.clone(),
            blocked_groups: options.blocked_groups.clone(),
            allowed_claims: rules(&options.allowed_claims)?,
            required_claims: rules(&options.required_claims)?,
            allowed_domains: options
                .allowed_email_domains
                .iter()
                .map(|domain| domain.to_lowercase())
                .collect(),
            allowed_scopes: options.allowed_scopes.clone(),
            asked_scopes: options.scopes(),
            strip_domain: options.strip_domain.clone(),
            unverified_email: options.allow_unverified_email,
            manage_groups: cx.manage_groups,
            manage_roles: cx.manage_roles,
            denied: options.custom_403_message.clone(),
        })
    }

    /// Whether a claim has one of the values that a rule wants. An e-mail address counts only if it is verified.
    fn holds(&self, rule: &Rule, claims: &Claims) -> bool {
        let texts =
            if self.unverified_email { claims.texts(&rule.claim) } else { claims.proven_texts(&rule.claim) };
        texts.iter().any(|value| rule.values.contains(value))
    }

    /// The person behind claims and tokens.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] without a usable name, [`AuthError::Denied`] when a rule keeps the person out.
    pub(crate) fn identity(
        &self,
        claims: &Claims,
        tokens: &Tokens,
        mapper: &dyn Mapper,
    ) -> Result<Identity, Refusal> {
        let name = self.name(claims)?;
        let user = if claims.userinfo.is_empty() { &claims.id_token } else { &claims.userinfo };
        let state = tokens.state(user);
        let mut mapped = Mapped {
            groups: self.groups(claims, &state),
            roles: self.roles.as_ref().map(|path| claims.texts(path)).unwrap_or_default(),
            ..Mapped::default()
        };
        mapper.map(claims, &mut mapped).map_err(|error| Refusal::new("rule_blocks", error))?;
        let admin = self.admin(claims, &mapped);
        let allowed = self.admission(claims, tokens, &state, &mapped, admin, &name)?;
        // Only now: nobody gets out of a blocked group by being in many others.
        bound(&mut mapped.groups, "groups");
        bound(&mut mapped.roles, "roles");
        let display_name =
            self.display_name.as_ref().and_then(|path| claims.first(path)).map(|(text, _)| text);
        Ok(Identity {
            name,
            admin,
            groups: self.manage_groups.then_some(mapped.groups),
            roles: self
                .manage_roles
                .then(|| mapped.roles.into_iter().map(|name| json!({"name": name})).collect()),
            auth_state: Some(state),
            user_info: display_name.map(|name| json!({"display_name": name})),
            allowed,
        })
    }

    fn name(&self, claims: &Claims) -> Result<String, Refusal> {
        let Some((name, claim)) = claims.first(&self.username) else {
            return Err(Refusal::invalid("name_missing", "none of the claims in username_claim is there"));
        };
        if poses_as_another(&name) {
            return Err(Refusal::invalid(
                "name_collides",
                "the name has a sign that becomes a common letter in lower case, and so is that of somebody else",
            ));
        }
        // A name that is an address belongs to whoever the address belongs to, and only a check tells that.
        if !self.unverified_email && claims.is_unverified_email(&name, claim) {
            return Err(Refusal::invalid(
                "email_unverified",
                "the e-mail address that would be the name is not verified",
            ));
        }
        let stripped = self.strip_domain.as_ref().and_then(|domain| {
            let (local, host) = name.rsplit_once('@')?;
            host.eq_ignore_ascii_case(domain).then(|| local.to_owned())
        });
        Ok(stripped.unwrap_or(name))
    }

    fn groups(&self, claims: &Claims, state: &Value) -> Vec<String> {
        if let Some(path) = &self.groups_in_state {
            let mut found = Vec::new();
            if let Some(state) = state.as_object() {
                collect(&mut found, state, path);
            }
            return texts(&found);
        }
        self.groups.as_ref().map(|path| claims.texts(path)).unwrap_or_default()
    }

    /// Whether the person may be in more groups than [`Rules::groups`] tells.
    fn lacks_groups(&self, claims: &Claims, state: &Value) -> bool {
        let Some(path) = &self.groups_in_state else {
            return self.groups.as_ref().is_some_and(|path| claims.lacks_some(path));
        };
        let Some(state) = state.as_object() else { return false };
        // What stands for the claims there says itself what is left out of them.
        let user = state.get("oauth_user").and_then(Value::as_object).zip(path.strip_prefix("oauth_user."));
        is_cut(state, path) == Some(true) || user.is_some_and(|(user, path)| is_cut(user, path) == Some(true))
    }

    fn admin(&self, claims: &Claims, mapped: &Mapped) -> Option<bool> {
        if self.admin_groups.is_empty() && self.admin_claims.is_empty() {
            return mapped.admin;
        }
        let by_group = mapped.groups.iter().any(|group| self.admin_groups.contains(group));
        let by_claim = self.admin_claims.iter().any(|rule| self.holds(rule, claims));
        Some(by_group || by_claim || mapped.admin == Some(true))
    }

    /// Whether these rules let the person in; `false` leaves it to the hub's own rules.
    fn admission(
        &self,
        claims: &Claims,
        tokens: &Tokens,
        state: &Value,
        mapped: &Mapped,
        admin: Option<bool>,
        name: &str,
    ) -> Result<bool, Refusal> {
        let deny = |reason: &'static str| {
            warn!(user = name, reason, "a rule keeps the user out");
            Err(Refusal::new(reason, AuthError::Denied(self.denied.clone())))
        };
        if mapped.groups.iter().any(|group| self.blocked_groups.contains(group)) {
            return deny("blocked_groups");
        }
        if !self.blocked_groups.is_empty() && self.lacks_groups(claims, state) {
            return deny("groups_incomplete");
        }
        if !self.required_claims.iter().all(|rule| self.holds(rule, claims)) {
            return deny("required_claims");
        }
        let scopes = tokens.scopes(&self.asked_scopes);
        let by_scope =
            !self.allowed_scopes.is_empty() && self.allowed_scopes.iter().all(|scope| scopes.contains(scope));
        Ok(admin == Some(true)
            || mapped.allowed
            || mapped.groups.iter().any(|group| self.allowed_groups.contains(group))
            || self.allowed_claims.iter().any(|rule| self.holds(rule, claims))
            || by_scope
            || self.by_domain(claims, name))
    }

    /// The domain is what follows the last `@` of a verified address, compared as a whole.
    fn by_domain(&self, claims: &Claims, name: &str) -> bool {
        if self.allowed_domains.is_empty() {
            return false;
        }
        let outside = |reason: &'static str| {
            info!(user = name, reason, "allowed_email_domains does not let the user in");
            false
        };
        let Some(address) = claims.verified_email() else { return outside("email_unverified") };
        let plain = address.matches('@').count() == 1
            && !address.chars().any(|c| c.is_whitespace() || c.is_control());
        let domain = address.rsplit('@').next().unwrap_or_default().to_lowercase();
        (plain && self.allowed_domains.contains(&domain)) || outside("email_domain")
    }
}

/// Whether lower case makes another name of this one than it seems: the Kelvin sign becomes `k`, so that a provider
/// can have two accounts of which the hub would make one. Letters with their accents written apart stay what they are.
fn poses_as_another(name: &str) -> bool {
    let usual: String = name.nfc().collect();
    usual != name && usual.to_lowercase() == name.to_lowercase()
}

/// Sorts, takes doubles out, and leaves out what no database column holds.
fn bound(names: &mut Vec<String>, what: &str) {
    let before = names.len();
    names.retain(|name| name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control));
    names.sort_unstable();
    names.dedup();
    names.truncate(MOST_GROUPS);
    if before > MOST_GROUPS {
        warn!(given = before, kept = names.len(), "the provider names too many {what} for one person");
    }
}

/// The claims that a kept state was made of, for questions that need no new answer.
pub(crate) fn kept_user(state: &Value) -> Map<String, Value> {
    state.get("oauth_user").and_then(Value::as_object).cloned().unwrap_or_default()
}
