//! `himalia share`.

use clap::{Args, Subcommand};
use jupyterhub_api_compat::client::{ShareTo, ShareWanted};
use jupyterhub_api_compat::models::Share;

use super::ApiFlags;
use super::output::{done, moment, names, show, show_json};
use crate::cli::commands::print;
use crate::cli::failure::Failure;

#[derive(Debug, Args)]
pub(in crate::cli) struct Shares {
    #[command(flatten)]
    api: ApiFlags,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// Name of a user
    #[arg(long)]
    user: Option<String>,
    /// Name of a group
    #[arg(long)]
    group: Option<String>,
}

#[derive(Debug, Args)]
struct Which {
    /// Owner of the server
    owner: String,
    /// Name of the server [default: the default server]
    #[arg(default_value = "", hide_default_value = true)]
    server: String,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List shares of the servers of a user
    List {
        /// Owner of the servers
        owner: String,
        /// Only of this server; an empty name is the default server
        server: Option<String>,
    },
    /// List what is shared with a user
    With {
        /// Name of the user
        user: String,
    },
    /// Share a server
    Grant {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        whom: Whom,
        /// What the share allows; may be given several times [default: to use the server]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// End a share
    Revoke {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        whom: Whom,
        /// Only this part; may be given several times
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// Make a share code and print it
    Code {
        #[command(flatten)]
        which: Which,
        /// Seconds until it ends
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
    },
    /// List share codes
    Codes {
        /// Owner of the servers
        owner: String,
    },
}

const HEAD: [&str; 4] = ["SERVER", "WITH", "SCOPES", "SINCE"];

fn rows(shares: &[Share]) -> Vec<Vec<String>> {
    let row = |share: &Share| {
        let server = format!("{}/{}", share.server.user.name, share.server.name);
        let with = match (&share.user, &share.group) {
            (Some(user), _) => format!("user {}", user.name),
            (None, Some(group)) => format!("group {}", group.name),
            (None, None) => "-".to_owned(),
        };
        vec![server, with, names(&share.scopes), moment(share.created_at.as_ref())]
    };
    shares.iter().map(row).collect()
}

fn wanted(whom: Whom, scopes: Vec<String>) -> Result<ShareWanted, Failure> {
    let to = match (whom.user, whom.group) {
        (Some(user), _) => ShareTo::User(user),
        (None, Some(group)) => ShareTo::Group(group),
        (None, None) => return Err(Failure::usage("with whom?", "give --user or --group")),
    };
    Ok(ShareWanted { to, scopes: (!scopes.is_empty()).then_some(scopes) })
}

impl Shares {
    pub(in crate::cli) fn run(self) -> Result<(), Failure> {
        let Self { api, action } = self;
        let json = api.json;
        api.run(|client| async move {
            match action {
                Action::List { owner, server } => {
                    let shares = client.shares(&owner, server.as_deref()).await?;
                    show(json, &shares, &HEAD, || rows(&shares))
                }
                Action::With { user } => {
                    let shares = client.shared_with_user(&user).await?;
                    show(json, &shares, &HEAD, || rows(&shares))
                }
                Action::Grant { which, whom, scopes } => {
                    let share = client.share(&which.owner, &which.server, &wanted(whom, scopes)?).await?;
                    show(json, &share, &HEAD, || rows(std::slice::from_ref(&share)))
                }
                Action::Revoke { which, whom, scopes } => {
                    let left = client.unshare(&which.owner, &which.server, &wanted(whom, scopes)?).await?;
                    match left {
                        Some(share) => show(json, &share, &HEAD, || rows(std::slice::from_ref(&share))),
                        None => done(json, "nothing is shared any more"),
                    }
                }
                Action::Code { which, expires_in } => {
                    let code = client.create_share_code(&which.owner, &which.server, expires_in).await?;
                    match code.code.as_option() {
                        Some(text) if !json => print(&format!("{text}\n")),
                        _ => show_json(&code),
                    }
                }
                Action::Codes { owner } => {
                    let codes = client.share_codes(&owner, None).await?;
                    show(json, &codes, &["ID", "SERVER", "USED", "ENDS"], || {
                        codes
                            .iter()
                            .map(|code| {
                                let server = format!("{}/{}", code.server.user.name, code.server.name);
                                let ends = moment(code.expires_at.as_ref());
                                vec![code.id.clone(), server, code.exchange_count.to_string(), ends]
                            })
                            .collect()
                    })
                }
            }
        })
    }
}
