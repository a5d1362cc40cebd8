//! `himalia group`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jupyterhub_api_compat::models::Group;

use super::ApiFlags;
use super::output::{done, names, show, show_json};
use crate::cli::failure::Failure;

#[derive(Debug, Args)]
pub(in crate::cli) struct Groups {
    #[command(flatten)]
    api: ApiFlags,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List groups
    List,
    /// Print one group as JSON
    Show {
        /// Name
        name: String,
    },
    /// Create a group
    Add {
        /// Name
        name: String,
        /// Names of members
        users: Vec<String>,
    },
    /// Delete a group
    Delete {
        /// Name
        name: String,
    },
    /// Add members
    AddUsers {
        /// Name of the group
        name: String,
        /// Names of members
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Take members out
    RemoveUsers {
        /// Name of the group
        name: String,
        /// Names of members
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Replace the properties
    SetProperties {
        /// Name of the group
        name: String,
        /// A JSON object
        properties: String,
    },
}

const HEAD: [&str; 2] = ["NAME", "USERS"];

fn rows(groups: &[Group]) -> Vec<Vec<String>> {
    let users = |group: &Group| names(group.users.as_option().into_iter().flatten());
    groups.iter().map(|group| vec![group.name.clone(), users(group)]).collect()
}

impl Groups {
    pub(in crate::cli) fn run(self) -> Result<(), Failure> {
        let Self { api, action } = self;
        let json = api.json;
        api.run(|client| async move {
            let group = match action {
                Action::List => {
                    let groups = client.groups().await?;
                    return show(json, &groups, &HEAD, || rows(&groups));
                }
                Action::Delete { name } => {
                    client.delete_group(&name).await?;
                    return done(json, &format!("{name} deleted"));
                }
                Action::Show { name } => return show_json(&client.group(&name).await?),
                Action::Add { name, users } => client.create_group(&name, &users).await?,
                Action::AddUsers { name, users } => client.add_to_group(&name, &users).await?,
                Action::RemoveUsers { name, users } => client.remove_from_group(&name, &users).await?,
                Action::SetProperties { name, properties } => {
                    let properties = serde_json::from_str(&properties)
                        .with_context(|| format!("{properties:?} is no JSON object"))?;
                    client.set_group_properties(&name, &properties).await?
                }
            };
            show(json, &group, &HEAD, || rows(std::slice::from_ref(&group)))
        })
    }
}
