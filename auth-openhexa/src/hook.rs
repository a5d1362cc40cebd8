//! Fresh credentials before each start, and for servers that run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hub_core::plugin::NameNormaliser;
use hub_core::{AuthError, HookContext, HookError, LoginRequest, ServerKey, SpawnHook, StartJob};
use reqwest::StatusCode;
use tracing::warn;

use crate::app::{App, Fault};
use crate::credentials::Credentials;
use crate::options::OpenHexaOptions;
use crate::session::Session;

/// Asks the application for what a server gets, on behalf of whoever asked for the start.
pub struct WorkspaceCredentials {
    options: Arc<OpenHexaOptions>,
    app: App,
    normalise: NameNormaliser,
}

impl fmt::Debug for WorkspaceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkspaceCredentials").field("options", &self.options).finish_non_exhaustive()
    }
}

impl WorkspaceCredentials {
    pub(crate) fn new(options: Arc<OpenHexaOptions>, app: App, normalise: NameNormaliser) -> Self {
        Self { options, app, normalise }
    }

    async fn ask(&self, url: &str, session: &Session, key: &ServerKey) -> Result<Credentials, Refusal> {
        let workspace = Some(key.server.as_str()).filter(|name| !name.is_empty());
        let body = match self.app.credentials(url, session, workspace).await {
            Ok(body) => body,
            Err(fault) => return Err(self.refusal(fault, session, key).await),
        };
        Credentials::read(&body).map_err(|why| Refusal::Broken(Fault::Nonsense(why)))
    }

    /// The variables of a running server as the application gives them now.
    pub(crate) async fn fresh_environment(
        &self,
        key: &ServerKey,
        rq: &LoginRequest,
    ) -> Result<Option<BTreeMap<String, String>>, AuthError> {
        let Some(session) = Session::of(rq, &self.options) else { return Ok(None) };
        // The browser may be logged in to the application as somebody else, whose credentials are nothing for this server.
        let found = match self.app.who(&self.options.authentication_url, &session).await {
            Ok(name) if (self.normalise)(&name) == key.user.as_str() => {
                self.ask(&self.options.workspace_credentials_url, &session, key).await
            }
            Ok(_) => Err(Refusal::SomebodyElse),
            Err(Fault::NoSession(_)) => Err(Refusal::NoSession),
            Err(fault) => Err(Refusal::Broken(fault)),
        };
        let variables = found.and_then(|found| {
            found.variables(&self.options).map_err(|why| Refusal::Broken(Fault::Nonsense(why)))
        });
        variables.map(Some).map_err(|refusal| {
            let of_session = matches!(refusal, Refusal::NoSession | Refusal::SomebodyElse);
            match refusal.told(key) {
                HookError::Refused(why) if of_session => {
                    AuthError::Elsewhere { way: Box::new(self.options.way_in()), why }
                }
                HookError::Refused(text) => AuthError::Denied(text),
                HookError::Broken { operator, .. } => AuthError::Unavailable(operator),
            }
        })
    }

    /// What a fault means. The application answers 401 to viewers and to people whose session has ended alike, so it is
    /// asked whose session it is.
    async fn refusal(&self, fault: Fault, session: &Session, key: &ServerKey) -> Refusal {
        match fault {
            Fault::NoSession(_) => Refusal::NoSession,
            Fault::Refused(StatusCode::NOT_FOUND) => Refusal::UnknownWorkspace,
            Fault::Refused(_) => match self.app.who(&self.options.authentication_url, session).await {
                Ok(name) if (self.normalise)(&name) == key.user.as_str() => Refusal::Viewer,
                Ok(_) => Refusal::SomebodyElse,
                Err(Fault::NoSession(_)) => Refusal::NoSession,
                Err(other) => Refusal::Broken(other),
            },
            broken => Refusal::Broken(broken),
        }
    }
}

#[async_trait]
impl SpawnHook for WorkspaceCredentials {
    async fn before_start(&self, cx: &HookContext, job: &mut StartJob) -> Result<(), HookError> {
        let owner = job.key.user.as_str().to_owned();
        // The credentials are those of whose cookies they are: nobody's may end up in somebody else's server.
        if cx.person.as_ref().is_some_and(|person| *person != owner) {
            return Err(Refusal::NotTheOwner.told(&job.key));
        }
        let named = !job.key.server.is_default();
        let url = match (named, &self.options.default_credentials_url) {
            (true, _) => &self.options.workspace_credentials_url,
            (false, Some(url)) => url,
            (false, None) => return Ok(()),
        };
        let session = cx.request.as_ref().and_then(|rq| Session::of(rq, &self.options));
        let session = session.ok_or_else(|| Refusal::NoCookies.told(&job.key))?;
        let credentials =
            self.ask(url, &session, &job.key).await.map_err(|refusal| refusal.told(&job.key))?;
        if named {
            return credentials.for_workspace(job, &self.options).map_err(|why| unusable(&why));
        }
        let whose = credentials.username.as_deref().map(|name| (self.normalise)(name));
        if whose.is_some_and(|name| name != owner) {
            return Err(Refusal::SomebodyElse.told(&job.key));
        }
        credentials.for_default(job, &self.options).map_err(|why| unusable(&why))
    }
}

/// Why there are no credentials.
#[derive(Debug)]
enum Refusal {
    /// Another person than the owner asks for the start.
    NotTheOwner,
    /// Whoever asks brought no cookies of the application.
    NoCookies,
    /// The application knows nobody with these cookies.
    NoSession,
    /// It knows somebody else by them.
    SomebodyElse,
    /// The owner may look at the workspace, and no more.
    Viewer,
    /// There is no such workspace.
    UnknownWorkspace,
    /// The application did not answer, or not so that it could be used.
    Broken(Fault),
}

impl Refusal {
    /// A stable code for the log.
    fn reason(&self) -> &'static str {
        match self {
            Self::NotTheOwner => "not_the_owner",
            Self::NoCookies => "app_no_cookies",
            Self::NoSession => "app_no_session",
            Self::SomebodyElse => "app_other_person",
            Self::Viewer => "app_viewer",
            Self::UnknownWorkspace => "app_unknown_workspace",
            Self::Broken(fault) => fault.reason(),
        }
    }

    /// Writes it into the log, once, and puts it into words for the person.
    fn told(self, key: &ServerKey) -> HookError {
        warn!(user = %key.user, server = %key.server, reason = self.reason(), "credentials refused");
        let refused = |text: &str| HookError::Refused(text.to_owned());
        match self {
            Self::NotTheOwner => {
                refused("Only its owner can start this server, for it gets the owner's credentials.")
            }
            Self::NoCookies => HookError::Broken {
                user: "Your server can only be started from OpenHEXA. Open your workspace there.".to_owned(),
                operator: "whoever asked for the start sent no cookies of the application".to_owned(),
                retry: false,
            },
            Self::NoSession => refused("You are not logged in to OpenHEXA any more. Log in there again."),
            Self::SomebodyElse => {
                refused("You are logged in to OpenHEXA as somebody else. Log in there again.")
            }
            Self::Viewer => refused("Viewers of a workspace cannot use its notebooks."),
            Self::UnknownWorkspace => refused("OpenHEXA knows no such workspace of yours."),
            Self::Broken(Fault::Nonsense(why)) => unusable(&why),
            Self::Broken(fault) => HookError::Broken {
                user: "OpenHEXA did not give the credentials of your workspace. Please try again.".to_owned(),
                operator: fault.to_string(),
                retry: true,
            },
        }
    }
}

fn unusable(why: &str) -> HookError {
    HookError::Broken {
        user: "OpenHEXA gave credentials that cannot be used. Please tell those who run it.".to_owned(),
        operator: format!("the application's credentials cannot be used: {why}"),
        retry: false,
    }
}
