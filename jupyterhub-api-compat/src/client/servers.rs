//! Servers.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Client, ClientError, Result};
use crate::models::{Server, User, VolumeList};

/// Pause between two looks at a server, for hubs that do not let a call wait.
const LOOK: Duration = Duration::from_millis(500);
/// How long one call waits at hubs that let it.
const WAIT: Duration = Duration::from_secs(20);

/// How a start went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// The server is up.
    Ready,
    /// It is on its way.
    Pending,
}

/// What a start is given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StartServer {
    /// Options for the spawner; none for those of the last start.
    pub user_options: Option<Map<String, Value>>,
}

impl StartServer {
    fn body(&self) -> Option<Value> {
        // Before version 6 the options are the body itself; this form is understood by all.
        self.user_options.clone().map(Value::Object)
    }
}

/// The path of a server: the default one has an address of its own.
fn path<'a>(user: &'a str, server: &'a str) -> Vec<&'a str> {
    if server.is_empty() { vec!["users", user, "server"] } else { vec!["users", user, "servers", server] }
}

fn with<'a>(mut path: Vec<&'a str>, last: &'a str) -> Vec<&'a str> {
    path.push(last);
    path
}

impl Client {
    /// A server; the default one has an empty name.
    pub async fn server(&self, user: &str, server: &str) -> Result<Server> {
        match self.get(&path(user, server)).await {
            // Before version 6 a server is told only with its user.
            Err(error) if error.status() == Some(405) => {
                let user_model: User = self.user(user).await?;
                let found = user_model.servers.as_option().and_then(|servers| servers.get(server)).cloned();
                found.ok_or(error)
            }
            answer => answer,
        }
    }

    /// Starts a server; a named one that does not exist is created.
    pub async fn start_server(&self, user: &str, server: &str, start: &StartServer) -> Result<Started> {
        let status = self.order(Method::POST, &path(user, server), start.body().as_ref()).await?;
        Ok(if status == StatusCode::ACCEPTED { Started::Pending } else { Started::Ready })
    }

    /// The volumes of a user's servers. Only Himalia knows this call.
    pub async fn volumes(&self, user: &str) -> Result<VolumeList> {
        self.get(&["users", user, "volumes"]).await
    }

    /// Stops and starts a server. Only Himalia knows this call.
    pub async fn restart_server(&self, user: &str, server: &str) -> Result<Started> {
        let status = self.order(Method::POST, &with(path(user, server), "restart"), None).await?;
        Ok(if status == StatusCode::ACCEPTED { Started::Pending } else { Started::Ready })
    }

    /// Stops a server, and deletes a named one if wanted. Whether it is down already.
    pub async fn stop_server(&self, user: &str, server: &str, remove: bool) -> Result<bool> {
        let body = remove.then(|| json!({"remove": true}));
        let status = self.order(Method::DELETE, &path(user, server), body.as_ref()).await?;
        Ok(status != StatusCode::ACCEPTED)
    }

    /// Waits until nothing is being done to a server any more.
    ///
    /// # Errors
    /// [`ClientError::TooSlow`] when that takes longer than `limit`, and with the hub's reason for a start that failed,
    /// where the hub tells it.
    pub async fn wait_for_server(&self, user: &str, server: &str, limit: Duration) -> Result<Server> {
        let began = Instant::now();
        loop {
            let left = limit.saturating_sub(began.elapsed());
            let wait = left.min(WAIT).as_secs();
            let query = vec![("wait", "ready".to_owned()), ("timeout", wait.to_string())];
            let asked = Instant::now();
            let model: Server = match self.call(Method::GET, &path(user, server), &query, None).await {
                Err(error) if error.status() == Some(405) => self.server(user, server).await?,
                answer => answer?,
            };
            let Some(pending) = model.pending else { return Ok(model) };
            if began.elapsed() >= limit {
                return Err(ClientError::TooSlow {
                    server: format!("{user}/{server}"),
                    pending: format!("pending {pending:?}").to_ascii_lowercase(),
                    seconds: limit.as_secs(),
                });
            }
            if asked.elapsed() < LOOK {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// As [`Client::wait_for_server`], and [`ClientError::NotStarted`] where the hub does not tell the reason.
    pub async fn bring_up(
        &self,
        user: &str,
        server: &str,
        start: &StartServer,
        limit: Duration,
    ) -> Result<Server> {
        self.start_server(user, server, start).await?;
        let model = self.wait_for_server(user, server, limit).await?;
        if model.ready {
            return Ok(model);
        }
        Err(ClientError::NotStarted { server: format!("{user}/{server}"), message: None })
    }
}
