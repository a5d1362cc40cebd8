//! Fresh credentials before each start.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hub_core::plugin::NameNormaliser;
use hub_core::{HookContext, HookError, SpawnHook, StartJob};
use reqwest::StatusCode;

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

    async fn ask(&self, url: &str, session: &Session, job: &StartJob) -> Result<Credentials, HookError> {
        let workspace = Some(job.key.server.as_str()).filter(|name| !name.is_empty());
        let body = self.app.credentials(url, session, workspace).await.map_err(|fault| told(&fault))?;
        Credentials::read(&body).map_err(|why| unusable(&why))
    }
}

#[async_trait]
impl SpawnHook for WorkspaceCredentials {
    async fn before_start(&self, cx: &HookContext, job: &mut StartJob) -> Result<(), HookError> {
        let owner = job.key.user.as_str().to_owned();
        // The credentials are those of whose cookies they are: nobody's may end up in somebody else's server.
        if cx.person.as_ref().is_some_and(|person| *person != owner) {
            return Err(HookError::Refused(
                "Only its owner can start this server, for it gets the owner's credentials.".to_owned(),
            ));
        }
        let named = !job.key.server.is_default();
        let url = match (named, &self.options.default_credentials_url) {
            (true, _) => &self.options.workspace_credentials_url,
            (false, Some(url)) => url,
            (false, None) => return Ok(()),
        };
        let session = cx.request.as_ref().and_then(|rq| Session::of(rq, &self.options));
        let session = session.ok_or_else(|| HookError::Broken {
            user: "Your server can only be started from OpenHEXA. Open your workspace there.".to_owned(),
            operator: "whoever asked for the start sent no cookies of the application".to_owned(),
            retry: false,
        })?;
        let credentials = self.ask(url, &session, job).await?;
        if named {
            return credentials.for_workspace(job, &self.options).map_err(|why| unusable(&why));
        }
        let whose = credentials.username.as_deref().map(|name| (self.normalise)(name));
        if whose.is_some_and(|name| name != owner) {
            return Err(HookError::Refused(
                "You are logged in to OpenHEXA as somebody else. Log in there again.".to_owned(),
            ));
        }
        credentials.for_default(job, &self.options).map_err(|why| unusable(&why))
    }
}

/// Why there are no credentials, in words for the person.
fn told(fault: &Fault) -> HookError {
    let refused = |text: &str| HookError::Refused(text.to_owned());
    match fault {
        Fault::NoSession(_) => refused("You are not logged in to OpenHEXA any more. Log in there again."),
        Fault::Refused(StatusCode::NOT_FOUND) => refused("OpenHEXA knows no such workspace of yours."),
        Fault::Refused(_) => refused("Viewers of a workspace cannot use its notebooks."),
        Fault::Unreachable(why) => HookError::Broken {
            user: "OpenHEXA did not give the credentials of your workspace. Please try again.".to_owned(),
            operator: why.clone(),
            retry: true,
        },
        Fault::Nonsense(why) => unusable(why),
    }
}

fn unusable(why: &str) -> HookError {
    HookError::Broken {
        user: "OpenHEXA gave credentials that cannot be used. Please tell those who run it.".to_owned(),
        operator: format!("the application's credentials cannot be used: {why}"),
        retry: false,
    }
}
