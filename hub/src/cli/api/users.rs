//! `himalia user`.

use clap::{Args, Subcommand, ValueEnum};
use jupyterhub_api_compat::Gate;
use jupyterhub_api_compat::client::UserQuery;
use jupyterhub_api_compat::models::User;

use super::ApiFlags;
use super::output::{done, moment, names, show, show_json};
use crate::cli::failure::Failure;

#[derive(Debug, Args)]
pub(in crate::cli) struct Users {
    #[command(flatten)]
    api: ApiFlags,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// With a server that is ready or pending
    Active,
    /// With a server that is ready
    Ready,
    /// Without any
    Inactive,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List users
    List {
        /// Only those whose servers are in this state
        #[arg(long)]
        state: Option<State>,
        /// Only those with this in their name
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
    },
    /// Print one user as JSON
    Show {
        /// Name
        name: String,
    },
    /// Create users
    Add {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
        /// Make them administrators
        #[arg(long)]
        admin: bool,
    },
    /// Rename a user, make or unmake an administrator
    Edit {
        /// Name
        name: String,
        /// New name
        #[arg(long, value_name = "NAME")]
        rename: Option<String>,
        /// Whether an administrator
        #[arg(long, value_name = "TRUE|FALSE")]
        admin: Option<bool>,
    },
    /// Delete users with everything
    Delete {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Print the owner of the token and what it allows
    Me,
}

fn rows(users: &[User]) -> Vec<Vec<String>> {
    users
        .iter()
        .map(|user| {
            let admin = if user.admin.as_option() == Some(&true) { "yes" } else { "-" };
            let ready = user.servers.as_option().into_iter().flatten().filter(|(_, server)| server.ready);
            let servers = ready.map(|(name, _)| if name.is_empty() { "(default)" } else { name });
            let active = user.last_activity.as_option().and_then(Option::as_ref);
            let groups = user.groups.as_option().into_iter().flatten();
            vec![user.name.clone(), admin.to_owned(), names(groups), names(servers), moment(active)]
        })
        .collect()
}

const HEAD: [&str; 5] = ["NAME", "ADMIN", "GROUPS", "SERVERS", "ACTIVE"];

impl Users {
    pub(in crate::cli) fn run(self) -> Result<(), Failure> {
        let Self { api, action } = self;
        let json = api.json;
        api.run(|client| async move {
            match action {
                Action::List { state, name } => {
                    let state = state.and_then(|state| state.to_possible_value());
                    let state = state.map(|state| state.get_name().to_owned());
                    let query = UserQuery { state, name_filter: name, stopped_servers: false };
                    let users = client.users(&query).await?;
                    show(json, &users, &HEAD, || rows(&users))
                }
                Action::Show { name } => show_json(&client.user(&name).await?),
                Action::Add { names, admin } => {
                    let made = client.create_users(&names, admin).await?;
                    show(json, &made, &HEAD, || rows(&made))
                }
                Action::Edit { rename: None, admin: None, .. } => {
                    Err(Failure::usage("nothing to change", "give --rename or --admin"))
                }
                Action::Edit { name, rename, admin } => {
                    let user = client.edit_user(&name, rename.as_deref(), admin).await?;
                    // The login state is a secret that nobody asked for here.
                    let user = User { auth_state: Gate::Hidden, ..user };
                    show(json, &user, &HEAD, || rows(std::slice::from_ref(&user)))
                }
                Action::Delete { names } => {
                    for name in &names {
                        client.delete_user(name).await?;
                        done(json, &format!("{name} deleted"))?;
                    }
                    Ok(())
                }
                Action::Me => show_json(&client.who_am_i().await?),
            }
        })
    }
}
