//! `himalia service`.

use clap::{Args, Subcommand};

use super::ApiFlags;
use super::output::{show, show_json};
use crate::cli::failure::Failure;

#[derive(Debug, Args)]
pub(in crate::cli) struct Services {
    #[command(flatten)]
    api: ApiFlags,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List services
    List,
    /// Print one service as JSON
    Show {
        /// Name
        name: String,
    },
}

impl Services {
    pub(in crate::cli) fn run(self) -> Result<(), Failure> {
        let Self { api, action } = self;
        let json = api.json;
        api.run(|client| async move {
            match action {
                Action::List => {
                    let services = client.services().await?;
                    show(json, &services, &["NAME", "URL", "PREFIX"], || {
                        let text = |text: Option<&String>| {
                            text.filter(|text| !text.is_empty()).cloned().unwrap_or_else(|| "-".to_owned())
                        };
                        services
                            .values()
                            .map(|one| {
                                let (url, prefix) = (one.url.as_option(), one.prefix.as_option());
                                vec![one.name.clone(), text(url), text(prefix)]
                            })
                            .collect()
                    })
                }
                Action::Show { name } => show_json(&client.service(&name).await?),
            }
        })
    }
}
