//! `himalia server`.

use std::time::Duration;

use clap::{Args, Subcommand};
use jupyterhub_api_compat::client::{ClientError, StartServer, Started, UserQuery};
use jupyterhub_api_compat::models::{Server, VolumeList};
use serde_json::{Map, Value};

use super::ApiFlags;
use super::output::{done, moment, show, show_json};
use crate::cli::failure::Failure;

#[derive(Debug, Args)]
pub(in crate::cli) struct Servers {
    #[command(flatten)]
    api: ApiFlags,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Args)]
struct Which {
    /// Name of the user
    user: String,
    /// Name of the server [default: the default server]
    #[arg(default_value = "", hide_default_value = true)]
    server: String,
}

#[derive(Debug, Args)]
struct Patience {
    /// Wait until the server is ready, or has failed
    #[arg(long)]
    wait: bool,
    /// Seconds to wait for at most
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "wait")]
    timeout: u64,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List servers
    List {
        /// Only those of this user
        user: Option<String>,
        /// List stopped ones, too
        #[arg(long)]
        all: bool,
    },
    /// Print one server as JSON
    Show(Which),
    /// Start a server, and create a named one if need be
    Start {
        #[command(flatten)]
        which: Which,
        /// An option for the spawner; JSON values are taken as such, all else is text; may be given several times
        #[arg(long = "option", short = 'o', value_name = "NAME=VALUE")]
        options: Vec<String>,
        #[command(flatten)]
        patience: Patience,
    },
    /// Stop a server
    Stop {
        #[command(flatten)]
        which: Which,
        /// Delete the named server once it has stopped
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        patience: Patience,
    },
    /// List the volumes of a user's servers, those of deleted servers included (Himalia only)
    Volumes {
        /// Name of the user
        user: String,
    },
    /// Stop and start a server (Himalia only)
    Restart {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        patience: Patience,
    },
}

fn options(pairs: &[String]) -> Result<Option<Map<String, Value>>, Failure> {
    let mut options = Map::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Failure::usage(format!("--option {pair} has no value"), "write --option NAME=VALUE"));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        options.insert(name.to_owned(), value);
    }
    Ok((!options.is_empty()).then_some(options))
}

const HEAD: [&str; 4] = ["SERVER", "STATE", "STARTED", "ACTIVE"];

fn rows(servers: &[Server]) -> Vec<Vec<String>> {
    let row = |server: &Server| {
        let state = match server.pending {
            Some(pending) => format!("{pending:?}").to_ascii_lowercase(),
            None if server.ready => "ready".to_owned(),
            None => "stopped".to_owned(),
        };
        let (started, active) = (moment(server.started.as_ref()), moment(server.last_activity.as_ref()));
        vec![server.full_name.clone(), state, started, active]
    };
    servers.iter().map(row).collect()
}

const VOLUMES_HEAD: [&str; 6] = ["VOLUME", "PLACE", "SERVER", "SIZE", "STATE", "CREATED"];

fn volume_rows(list: &VolumeList) -> Vec<Vec<String>> {
    let dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let volumes = list.volumes.iter().map(|volume| {
        let gone = if volume.used_by.is_empty() { " (deleted)" } else { "" };
        vec![
            volume.name.clone(),
            volume.place.clone(),
            format!("{}{gone}", volume.server),
            dash(volume.capacity.as_deref()),
            dash(volume.phase.as_deref()),
            moment(volume.created.as_ref()),
        ]
    });
    let unknown = list.unknown.iter().map(|place| vec!["(not known)".to_owned(), place.clone()]);
    volumes.chain(unknown).collect()
}

impl Which {
    fn name(&self) -> String {
        format!("{}/{}", self.user, self.server)
    }
}

impl Servers {
    pub(in crate::cli) fn run(self) -> Result<(), Failure> {
        let Self { api, action } = self;
        let json = api.json;
        let limit = |patience: &Patience| patience.wait.then(|| Duration::from_secs(patience.timeout));
        api.run(|client| async move {
            let client = &client;
            // What is left to tell after an order: nothing, or how the server is once it has settled.
            let follow = async |which: Which, wanted: Started, limit: Option<Duration>, verb: &str| {
                let Some(limit) = limit else {
                    let now = if wanted == Started::Ready { verb } else { "under way" };
                    return done(json, &format!("{} {now}", which.name()));
                };
                let server = client.wait_for_server(&which.user, &which.server, limit).await?;
                if !server.ready {
                    let error = ClientError::NotStarted { server: which.name(), message: None };
                    return Err(error.into());
                }
                show(json, &server, &HEAD, || rows(std::slice::from_ref(&server)))
            };
            match action {
                Action::List { user, all } => {
                    let users = match user {
                        Some(name) => vec![client.user(&name).await?],
                        None => {
                            let query = UserQuery { stopped_servers: all, ..UserQuery::default() };
                            client.users(&query).await?
                        }
                    };
                    let models = users.into_iter().filter_map(|user| user.servers.as_option().cloned());
                    let servers: Vec<Server> = models
                        .flat_map(std::collections::BTreeMap::into_values)
                        .filter(|s| all || !s.stopped)
                        .collect();
                    show(json, &servers, &HEAD, || rows(&servers))
                }
                Action::Show(which) => show_json(&client.server(&which.user, &which.server).await?),
                Action::Start { which, options: pairs, patience } => {
                    let start = StartServer { user_options: options(&pairs)? };
                    let wanted = client.start_server(&which.user, &which.server, &start).await?;
                    follow(which, wanted, limit(&patience), "started").await
                }
                Action::Volumes { user } => {
                    let list = client.volumes(&user).await?;
                    show(json, &list, &VOLUMES_HEAD, || volume_rows(&list))
                }
                Action::Restart { which, patience } => {
                    let wanted = client.restart_server(&which.user, &which.server).await?;
                    follow(which, wanted, limit(&patience), "restarted").await
                }
                Action::Stop { which, remove, patience } => {
                    let mut down = client.stop_server(&which.user, &which.server, remove).await?;
                    if let (false, Some(limit)) = (down, limit(&patience)) {
                        match client.wait_for_server(&which.user, &which.server, limit).await {
                            // It was removed meanwhile.
                            Err(error) if remove && error.status() == Some(404) => {}
                            answer => drop(answer?),
                        }
                        down = true;
                    }
                    done(json, &format!("{} {}", which.name(), if down { "stopped" } else { "under way" }))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_json_where_they_can_be() {
        let pairs = ["cpu=2", "image=a:b=c", "gpu=true", "list=[1]"].map(str::to_owned);
        let wanted = json!({"cpu": 2, "image": "a:b=c", "gpu": true, "list": [1]});
        assert_eq!(options(&pairs).unwrap().map(Value::Object), Some(wanted));
        assert_eq!(options(&[]).unwrap(), None);
        assert!(options(&["x".to_owned()]).is_err());
    }
}
