//! `chain`: several authenticators, of which people choose one on the login page. Stock has nothing like it;
//! `jupyterhub-multiauthenticator` is in use.
//!
//! Which of them somebody came by is kept as `authenticator` in their `auth_state`, for refresh and logout.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use hub_config::AuthenticatorSection;
use hub_core::plugin::read_options;
use hub_core::{
    Account, AuthError, AuthRoute, Authenticator, AuthenticatorContext, ClosedAccounts, Identity, LoginForm,
    LoginMethod, LoginRequest, LoginStep, PluginError, Refresh, Revocation,
};
use minijinja::HtmlEscape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::registry::Registry;

/// The `kind`.
pub const KIND: &str = "chain";
/// Key in `auth_state`.
const KEY: &str = "authenticator";
/// Query argument that chooses a member with a form.
const CHOICE: &str = "with";

/// The table `[authenticator.chain]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChainOptions {
    /// Kinds, in the order in which the login page shows them. Each has its own table `[authenticator.KIND]`.
    pub members: Vec<String>,
    /// Put in front of the names of those who come by a member, so that two people of one name stay two.
    pub prefixes: BTreeMap<String, String>,
    /// Members whose people have the same names, so that none needs a prefix: whoever has a name at one of them is the
    /// owner of that name at all.
    pub same_names: bool,
}

#[derive(Debug)]
struct Member {
    kind: String,
    prefix: String,
    /// Longer prefixes of other members that begin with this one's: names with these are not this member's to give.
    foreign: Vec<String>,
    authenticator: Arc<dyn Authenticator>,
}

/// Several authenticators as one.
#[derive(Debug)]
pub struct Chain {
    members: Vec<Member>,
    hub_path: String,
    /// The names that `username_map` gives.
    mapped: BTreeSet<String>,
}

impl Chain {
    /// Builds the members.
    ///
    /// # Errors
    /// Every problem of the options, of its own and of the members'.
    pub fn build(
        section: &AuthenticatorSection,
        registry: &Registry,
        cx: &AuthenticatorContext,
    ) -> anyhow::Result<Self> {
        let table = format!("authenticator.{KIND}");
        let options: ChainOptions = read_options(section.options(KIND), &table)?;
        let wrong = |key: &str, text: String| PluginError::one(format!("{table}.{key}"), text);
        if options.members.len() < 2 {
            bail!(wrong("members", "names two authenticators at least".to_owned()));
        }
        if let Some(kind) = options.prefixes.keys().find(|kind| !options.members.contains(kind)) {
            bail!(wrong("prefixes", format!("{kind:?} is not among members")));
        }
        // Names are in lower case in the end, so prefixes are compared so.
        let prefix = |kind: &String| {
            options.prefixes.get(kind).map(|prefix| prefix.to_lowercase()).unwrap_or_default()
        };
        let mut seen = BTreeMap::new();
        let mut members = Vec::new();
        let mut paths: BTreeMap<String, String> = BTreeMap::new();
        for kind in &options.members {
            if kind == KIND || kind == crate::app::first_admin::KIND {
                bail!(wrong("members", format!("{kind:?} cannot be part of a chain")));
            }
            if let Some(other) = seen.insert(prefix(kind), kind.clone())
                && !options.same_names
            {
                bail!(wrong(
                    "prefixes",
                    format!(
                        "{other:?} and {kind:?} would share names, so that one person could be taken for another: give \
                         one of them a prefix, or say same_names = true if both know the same people"
                    ),
                ));
            }
            let plugin = registry.authenticator(kind).context(format!("{table}.members"))?;
            let prefix = prefix(kind);
            let foreign = foreign(&options, &prefix);
            let cx = AuthenticatorContext {
                admin_users: own_names(&cx.admin_users, &prefix, &foreign),
                ..cx.clone()
            };
            let authenticator = (plugin.build)(section.options(kind), &cx)?;
            if !authenticator.spawn_hooks().is_empty() {
                bail!(wrong(
                    "members",
                    format!(
                        "{kind:?} has its part in every start of a server, so it cannot be part of a chain"
                    )
                ));
            }
            for route in authenticator.routes() {
                if let Some(other) = paths.insert(route.path.clone(), kind.clone()) {
                    bail!(wrong(
                        "members",
                        format!("{other:?} and {kind:?} both need the path /hub/{}", route.path)
                    ));
                }
            }
            members.push(Member { kind: kind.clone(), prefix, foreign, authenticator });
        }
        let mapped = section.username_map.values().map(|name| name.to_lowercase()).collect();
        Ok(Self { members, hub_path: cx.hub_path.clone(), mapped })
    }

    /// Whom somebody came by.
    fn member_of(&self, who: &Identity) -> Option<&Member> {
        let kind = who.auth_state.as_ref()?.get(KEY)?.as_str()?;
        self.members.iter().find(|member| member.kind == kind)
    }

    fn forms(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.authenticator.login() == LoginMethod::Form)
    }

    /// The choice, in place of the form.
    fn page(&self, rq: &LoginRequest) -> String {
        let next = rq.next.as_deref().map(|next| {
            url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish()
        });
        let link = |path: &str, query: Option<(&str, &str)>| {
            let mut arguments: Vec<String> =
                query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            arguments.extend(next.clone());
            let sign = if arguments.is_empty() { "" } else { "?" };
            format!("{}{path}{sign}{}", self.hub_path, arguments.join("&"))
        };
        let mut html =
            String::from(r#"<div class="service-login card"><div class="card-body text-center py-5">"#);
        for member in &self.members {
            let (label, target) = match member.authenticator.login() {
                LoginMethod::Redirect { label, path } => (format!("Sign in with {label}"), link(&path, None)),
                LoginMethod::Form => (
                    "Sign in with a password".to_owned(),
                    link("login", Some((CHOICE, member.kind.as_str()))),
                ),
                LoginMethod::Automatic => continue,
            };
            let (target, label) = (HtmlEscape(&target), HtmlEscape(&label));
            write!(
                html,
                r#"<p><a role="button" class="btn btn-jupyter btn-lg" href="{target}">{label}</a></p>"#
            )
            .expect("writing to a string cannot fail");
        }
        html.push_str("</div></div>");
        html
    }
}

/// The prefixes of other members that names with this prefix can begin with.
fn foreign(options: &ChainOptions, prefix: &str) -> Vec<String> {
    let all = options.prefixes.values().map(|other| other.to_lowercase());
    all.filter(|other| other.len() > prefix.len() && other.starts_with(prefix)).collect()
}

/// The names with this prefix, without it: as the member knows its people.
fn own_names(all: &BTreeSet<String>, prefix: &str, foreign: &[String]) -> BTreeSet<String> {
    all.iter()
        .filter(|name| !foreign.iter().any(|other| name.starts_with(other.as_str())))
        .filter_map(|name| name.strip_prefix(prefix))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

impl Member {
    /// Notes on a step that leads somebody in by whom they came.
    fn noted(&self, step: LoginStep) -> Result<LoginStep, AuthError> {
        Ok(match step {
            LoginStep::Identity(identity) => LoginStep::Identity(Box::new(self.own(*identity)?)),
            LoginStep::Returned { identity, next, cookies } => {
                LoginStep::Returned { identity: Box::new(self.own(*identity)?), next, cookies }
            }
            other => other,
        })
    }

    /// Somebody as the hub knows them. A name that would be one of another member's people is refused.
    fn own(&self, mut identity: Identity) -> Result<Identity, AuthError> {
        let mut state = identity.auth_state.take().filter(Value::is_object).unwrap_or_else(|| json!({}));
        if let Some(map) = state.as_object_mut() {
            map.insert(KEY.to_owned(), json!(self.kind));
        }
        identity.auth_state = Some(state);
        identity.name = format!("{}{}", self.prefix, identity.name);
        if !self.may_own(&identity.name) {
            warn!(name = %identity.name, by = %self.kind, "the name has the prefix of another member; nobody is let in");
            return Err(AuthError::Denied(
                "Names that begin so are kept for people who log in another way.".to_owned(),
            ));
        }
        Ok(identity)
    }

    /// Whether a name, as the hub knows it, can be that of one of this member's people.
    fn may_own(&self, name: &str) -> bool {
        let lower = name.to_lowercase();
        lower.starts_with(&self.prefix) && !self.foreign.iter().any(|other| lower.starts_with(other.as_str()))
    }

    /// Somebody as the member itself knows them.
    fn bare(&self, who: &Identity) -> Identity {
        let mut who = who.clone();
        if let Some(map) = who.auth_state.as_mut().and_then(Value::as_object_mut) {
            map.remove(KEY);
        }
        if let Some(name) = who.name.strip_prefix(&self.prefix) {
            who.name = name.to_owned();
        }
        who
    }
}

#[async_trait]
impl Authenticator for Chain {
    fn class_name(&self) -> &'static str {
        "himalia::Chain"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Form
    }

    fn lets_everybody_in(&self) -> bool {
        self.members.iter().any(|member| member.authenticator.lets_everybody_in())
    }

    async fn begin(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        if let Some(kind) = rq.query.get(CHOICE)
            && let Some(member) = self.forms().find(|member| member.kind == *kind)
        {
            return member.authenticator.begin(rq).await.and_then(|step| member.noted(step));
        }
        for member in self.members.iter().filter(|m| m.authenticator.login() == LoginMethod::Automatic) {
            if let Ok(step @ (LoginStep::Identity(_) | LoginStep::Returned { .. })) =
                member.authenticator.begin(rq).await
            {
                return member.noted(step);
            }
        }
        Ok(LoginStep::Form(LoginForm { custom_html: Some(self.page(rq)), ..LoginForm::default() }))
    }

    /// All members with a form are asked, so that how long it takes does not tell whose password was right.
    async fn finish(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        let mut answer = Err(AuthError::Denied("This hub takes no passwords.".to_owned()));
        for member in self.forms() {
            let step = member.authenticator.finish(rq).await.and_then(|step| member.noted(step));
            if answer.is_err() {
                answer = step;
            }
        }
        answer
    }

    fn routes(&self) -> Vec<AuthRoute> {
        self.members.iter().flat_map(|member| member.authenticator.routes()).collect()
    }

    async fn handle(&self, route: &str, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        for member in &self.members {
            if member.authenticator.routes().iter().any(|known| known.path == route) {
                return member.authenticator.handle(route, rq).await.and_then(|step| member.noted(step));
            }
        }
        Err(AuthError::Unavailable(format!("no such route: {route}")))
    }

    async fn refresh(
        &self,
        who: &Identity,
        rq: Option<&LoginRequest>,
        alone: bool,
    ) -> Result<Refresh, AuthError> {
        let came_by = who.auth_state.as_ref().and_then(|state| state.get(KEY));
        let Some(member) = self.member_of(who) else {
            // Nothing is known where no auth_state is kept; who came by a member that is gone comes anew.
            return Ok(if came_by.is_some() { Refresh::Stale } else { Refresh::Valid });
        };
        // `username_map` is the word of those who run the hub, and comes after the prefix.
        if !member.may_own(&who.name) && !self.mapped.contains(&who.name) {
            info!(name = %who.name, by = %member.kind, "the name belongs to another member now");
            return Ok(Refresh::Stale);
        }
        Ok(match member.authenticator.refresh(&member.bare(who), rq, alone).await? {
            Refresh::Updated(newer) => Refresh::Updated(Box::new(member.own(*newer)?)),
            other => other,
        })
    }

    fn refresh_takes(&self) -> Duration {
        let all = self.members.iter().map(|member| member.authenticator.refresh_takes());
        all.max().unwrap_or_default()
    }

    fn fresh_until(&self, who: &Identity) -> Option<DateTime<Utc>> {
        self.member_of(who)?.authenticator.fresh_until(who)
    }

    fn account(&self, who: &Identity) -> Option<Account> {
        self.member_of(who)?.authenticator.account(who)
    }

    fn names_may_change_hands(&self) -> bool {
        self.members.iter().all(|member| member.authenticator.names_may_change_hands())
    }

    async fn may_exist(&self, name: &str) -> Result<bool, AuthError> {
        // Where the hub's own map gave the name, no member knows it.
        if self.mapped.contains(name) {
            return Ok(true);
        }
        let mut asked = false;
        for member in self.members.iter().filter(|member| member.may_own(name)) {
            asked = true;
            let bare = name.strip_prefix(&member.prefix).unwrap_or(name);
            if member.authenticator.may_exist(bare).await? {
                return Ok(true);
            }
        }
        // A name from before the members had prefixes is nobody's to judge.
        Ok(!asked)
    }

    fn denied_text(&self) -> Option<String> {
        self.members.iter().find_map(|member| member.authenticator.denied_text())
    }

    fn away_since(&self) -> Option<DateTime<Utc>> {
        self.members.iter().find_map(|member| member.authenticator.away_since())
    }

    fn watches_accounts(&self) -> Option<Duration> {
        self.members.iter().filter_map(|member| member.authenticator.watches_accounts()).min()
    }

    async fn closed_accounts(&self) -> Result<ClosedAccounts, AuthError> {
        let mut all = ClosedAccounts::default();
        for member in &self.members {
            let found = member.authenticator.closed_accounts().await?;
            all.closed.extend(found.closed);
            all.some_may_be_gone |= found.some_may_be_gone;
        }
        Ok(all)
    }

    async fn gone_accounts(&self, known: &[Account]) -> Result<Vec<Revocation>, AuthError> {
        let mut gone = Vec::new();
        for member in &self.members {
            gone.extend(member.authenticator.gone_accounts(known).await?);
        }
        Ok(gone)
    }

    fn remembered(&self, who: &Identity) -> Option<Value> {
        let member = self.member_of(who)?;
        let mut state = member.authenticator.remembered(&member.bare(who))?;
        state.as_object_mut()?.insert(KEY.to_owned(), Value::from(member.kind.as_str()));
        Some(state)
    }

    async fn logged_out(&self, who: &Identity, rq: &LoginRequest) -> Result<Option<String>, AuthError> {
        match self.member_of(who) {
            Some(member) => member.authenticator.logged_out(&member.bare(who), rq).await,
            None => Ok(None),
        }
    }
}
