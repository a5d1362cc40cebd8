//! Whether a registry has an image, asked once before many servers try (`check_images`).
//!
//! Only a clear no counts. A registry that does not answer, asks to wait, or wants to know who asks when there is no
//! pull secret for it, says nothing: nodes may have the image, or logins of their own.

mod login;
mod reference;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use hub_outbound::{Answer, Lost, Outbound, Reach};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::causes::{Passing, Trouble};
use crate::cluster::Cluster;
use crate::view::pod;
use login::{Challenge, Login};
use reference::Reference;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer holds.
const YES_HOLDS: Duration = Duration::from_mins(10);
const NO_HOLDS: Duration = Duration::from_secs(30);
/// Answers kept.
const KEPT: usize = 1000;
/// What a registry may answer with: all kinds of manifests, single and for several processors.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";

/// What a registry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    There,
    Missing,
    Denied,
    Unknown,
}

/// Whose question it is: the image, the namespace and the names of its pull secrets.
type Question = (String, String, Vec<String>);

/// One answer, or a place for it: who comes while it is being asked for waits for it.
type Held = Arc<tokio::sync::Mutex<Option<(Instant, Verdict)>>>;

/// Registries, and what they have said lately.
#[derive(Debug, Default)]
pub(crate) struct Registries {
    /// Made when it is first needed: most hubs never ask.
    outbound: OnceCell<Outbound>,
    answers: Mutex<HashMap<Question, Held>>,
}

impl Registries {
    /// The trouble that a pod would come into with the image of its server; none also when that cannot be known.
    pub(crate) async fn trouble(
        &self,
        cluster: &Cluster,
        namespace: &str,
        manifest: &Value,
    ) -> Option<Trouble> {
        let containers = manifest.pointer("/spec/containers")?.as_array()?;
        let container = containers.iter().find(|one| pod::text(one, "/name") == "notebook")?;
        if pod::text(container, "/imagePullPolicy") == "Never" {
            return None;
        }
        let image = pod::text(container, "/image");
        let reference = Reference::parse(image)?;
        let secrets = manifest.pointer("/spec/imagePullSecrets").and_then(Value::as_array);
        let secrets: Vec<String> =
            secrets.into_iter().flatten().map(|secret| pod::text(secret, "/name").to_owned()).collect();
        let held = self.held((image.to_owned(), namespace.to_owned(), secrets.clone()));
        let mut answer = held.lock().await;
        let verdict = match *answer {
            Some((when, verdict)) if when.elapsed() < holds(verdict) => verdict,
            _ => {
                let login = login::find(cluster, namespace, &secrets, &reference).await;
                let verdict = match self.ask(&reference, login.as_ref()).await {
                    Ok(Verdict::Denied) if login.is_none() => Verdict::Unknown,
                    Ok(verdict) => verdict,
                    Err(lost) => {
                        debug!(image, error = %lost, "the registry does not say whether it has the image");
                        Verdict::Unknown
                    }
                };
                *answer = Some((Instant::now(), verdict));
                verdict
            }
        };
        let (cause, user) = match verdict {
            Verdict::There | Verdict::Unknown => return None,
            Verdict::Missing => ("image-missing", "The image of your server does not exist."),
            Verdict::Denied => ("image-denied", "The registry does not give out the image of your server."),
        };
        let operator = format!("{}: {image}, asked by the hub before the start", reference.base());
        Some(Trouble::new(cause, Passing::Never, &format!("{user} ({image})"), operator))
    }

    fn held(&self, question: Question) -> Held {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= KEPT && !answers.contains_key(&question) {
            answers.clear();
        }
        Arc::clone(answers.entry(question).or_default())
    }

    async fn ask(&self, reference: &Reference, login: Option<&Login>) -> Result<Verdict, Lost> {
        let make = || async { Outbound::new(Reach::new(PATIENCE, None), "check_images") };
        let outbound = match self.outbound.get_or_try_init(make).await {
            Ok(outbound) => outbound,
            Err(error) => {
                warn!(%error, "registries cannot be asked for images");
                return Ok(Verdict::Unknown);
            }
        };
        let Reference { repository, version, .. } = reference;
        let url = format!("{}/v2/{repository}/manifests/{version}", reference.base());
        let head = || outbound.request(Method::HEAD, &url).header("accept", MANIFESTS);
        let first = outbound.send(head()).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return Ok(verdict(&first));
        }
        let again = match Challenge::read(first.header("www-authenticate").unwrap_or_default()) {
            Some(Challenge::Basic) => match login {
                Some(login) => head().basic_auth(&login.user, Some(login.password())),
                None => return Ok(Verdict::Denied),
            },
            Some(challenge @ Challenge::Bearer { .. }) => {
                match token(outbound, &challenge, reference, login).await? {
                    Ok(token) => head().bearer_auth(token),
                    Err(verdict) => return Ok(verdict),
                }
            }
            None => return Ok(Verdict::Unknown),
        };
        Ok(verdict(&outbound.send(again).await?))
    }
}

/// The token for reading one image.
async fn token(
    outbound: &Outbound,
    challenge: &Challenge,
    reference: &Reference,
    login: Option<&Login>,
) -> Result<Result<String, Verdict>, Lost> {
    let Some(url) = challenge.token_url(&reference.repository, reference.is_local()) else {
        return Ok(Err(Verdict::Unknown));
    };
    let mut request = outbound.request(Method::GET, url.as_str());
    if let Some(login) = login {
        request = request.basic_auth(&login.user, Some(login.password()));
    }
    let answer = outbound.send(request).await?;
    if !answer.status().is_success() {
        let denied = verdict(&answer) == Verdict::Denied;
        return Ok(Err(if denied { Verdict::Denied } else { Verdict::Unknown }));
    }
    let body: Value = serde_json::from_slice(&answer.body().await?).unwrap_or_default();
    let token = ["token", "access_token"].iter().find_map(|name| body.get(name)?.as_str());
    Ok(token.map(str::to_owned).ok_or(Verdict::Unknown))
}

fn holds(verdict: Verdict) -> Duration {
    if verdict == Verdict::There { YES_HOLDS } else { NO_HOLDS }
}

fn verdict(answer: &Answer) -> Verdict {
    match answer.status() {
        status if status.is_success() => Verdict::There,
        StatusCode::NOT_FOUND => Verdict::Missing,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Verdict::Denied,
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests;
