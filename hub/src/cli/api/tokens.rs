//! `himalia token`.

use clap::{Args, Subcommand};
use jupyterhub_api_compat::client::TokenWanted;

use super::ApiFlags;
use super::output::{done, moment, show, show_json};
use crate::cli::commands::print;
use crate::cli::failure::Failure;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = false)]
pub(in crate::cli) struct Tokens {
    #[command(flatten)]
    api: ApiFlags,
    /// Name of a user of this hub's database [default: the user of this session]
    pub(in crate::cli) user: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the tokens of a user
    List {
        /// Name of the user
        user: String,
    },
    /// Make a token and print it
    Create {
        /// Name of the user
        user: String,
        /// What it is for
        #[arg(long)]
        note: Option<String>,
        /// Seconds until it ends
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
        /// What it may do; may be given several times [default: all that the user may]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// Revoke a token
    Revoke {
        /// Name of the user
        user: String,
        /// Id of the token, as `list` prints it
        id: String,
    },
}

impl Tokens {
    /// Whether it speaks to a hub, and not to a database.
    pub(in crate::cli) fn is_remote(&self) -> bool {
        self.action.is_some()
    }

    pub(in crate::cli) fn run(self) -> Result<(), Failure> {
        let Self { api, user, action } = self;
        let json = api.json;
        if let Some(user) = user {
            return Err(Failure::usage(
                format!("{user} stands before the command"),
                format!("write for example: himalia token list {user}"),
            ));
        }
        let Some(action) = action else { return Ok(()) };
        api.run(|client| async move {
            match action {
                Action::List { user } => {
                    let tokens = client.tokens(&user).await?;
                    show(json, &tokens, &["ID", "NOTE", "CREATED", "USED", "ENDS"], || {
                        tokens
                            .iter()
                            .map(|token| {
                                let note = token.note.clone().unwrap_or_default();
                                let times = [&token.created, &token.last_activity, &token.expires_at];
                                let times = times.map(|at| moment(at.as_ref()));
                                [token.id.clone(), note].into_iter().chain(times).collect()
                            })
                            .collect()
                    })
                }
                Action::Create { user, note, expires_in, scopes } => {
                    let scopes = (!scopes.is_empty()).then_some(scopes);
                    let made = client.create_token(&user, &TokenWanted { note, expires_in, scopes }).await?;
                    if json { show_json(&made) } else { print(&format!("{}\n", made.token)) }
                }
                Action::Revoke { user, id } => {
                    client.delete_token(&user, &id).await?;
                    done(json, &format!("{id} revoked"))
                }
            }
        })
    }
}
