//! Where the hub is, who asks, and how the answer is printed.

use std::future::Future;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use hub_core::secret::SecretString;
use jupyterhub_api_compat::client::{Client, ClientError, TlsMaterial};

use crate::cli::failure::Failure;

/// Longest file that is taken for a token, in bytes.
const LONGEST_TOKEN_FILE: u64 = 4096;

/// Flags of every command that speaks to a hub.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which hub")]
pub(in crate::cli) struct ApiFlags {
    /// Address of the REST API, for example http://127.0.0.1:8000/hub/api
    #[arg(long, value_name = "URL", env = "JUPYTERHUB_API_URL", global = true)]
    url: Option<String>,
    /// API token
    #[arg(long, value_name = "TOKEN", env = "JUPYTERHUB_API_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// File that holds the API token and nothing else
    #[arg(long, value_name = "FILE", env = "JUPYTERHUB_API_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// File with the private key to show, where the hub speaks TLS with those alone who have a certificate
    #[arg(long, value_name = "FILE", env = "JUPYTERHUB_SSL_KEYFILE", global = true)]
    ssl_key: Option<PathBuf>,
    /// File with the certificate to show
    #[arg(long, value_name = "FILE", env = "JUPYTERHUB_SSL_CERTFILE", global = true)]
    ssl_cert: Option<PathBuf>,
    /// File with the only authorities to believe
    #[arg(long, value_name = "FILE", env = "JUPYTERHUB_SSL_CLIENT_CA", global = true)]
    ssl_ca: Option<PathBuf>,
    /// Print the models of the REST API as JSON
    #[arg(long, global = true)]
    pub(in crate::cli) json: bool,
}

impl ApiFlags {
    fn token(&self) -> Result<SecretString, Failure> {
        if let Some(token) = self.token.as_deref().filter(|token| !token.is_empty()) {
            return Ok(SecretString::from(token));
        }
        let Some(path) = &self.token_file else {
            return Err(Failure::usage(
                "no API token is given",
                "set JUPYTERHUB_API_TOKEN, or name a file with --token-file",
            ));
        };
        let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        if size > LONGEST_TOKEN_FILE {
            return Err(Failure::usage(
                format!("{} holds more than a token", path.display()),
                "put the token alone into the file",
            ));
        }
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(SecretString::from(text.trim()))
    }

    /// What to show to the hub and whom to believe; what is not given is as anywhere else.
    fn tls(&self) -> Result<Option<TlsMaterial>, Failure> {
        let given = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        let read = |path: PathBuf| {
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let identity = match (given(&self.ssl_key), given(&self.ssl_cert)) {
            (Some(key), Some(certificate)) => {
                // Both may be one file.
                let both = if key == certificate {
                    read(key)?
                } else {
                    format!("{}\n{}", read(key)?.trim_end(), read(certificate)?)
                };
                Some(SecretString::from(both))
            }
            (None, None) => None,
            _ => {
                return Err(Failure::usage(
                    "a key is nothing without its certificate",
                    "set both JUPYTERHUB_SSL_KEYFILE and JUPYTERHUB_SSL_CERTFILE, or neither",
                ));
            }
        };
        let authorities = given(&self.ssl_ca).map(read).transpose()?;
        let any = identity.is_some() || authorities.is_some();
        Ok(any.then_some(TlsMaterial { identity, authorities }))
    }

    /// Runs what speaks to the hub.
    pub(super) fn run<W, F>(&self, work: W) -> Result<(), Failure>
    where
        W: FnOnce(Client) -> F,
        F: Future<Output = Result<(), Failure>>,
    {
        let Some(url) = self.url.as_deref().filter(|url| !url.is_empty()) else {
            return Err(Failure::usage(
                "no hub is named",
                "set JUPYTERHUB_API_URL, or give --url http://127.0.0.1:8000/hub/api",
            ));
        };
        // A second provider cannot be installed, and is not needed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::with_tls(url, &self.token()?, self.tls()?)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(work(client)).map_err(|failure| self.explained(failure))
    }

    /// Inside a server only the hub's own authorities are believed, which vouch for no public address.
    fn explained(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Runtime(error) if self.ssl_ca.is_some() && is_distrust(&error) => {
                Failure::Runtime(anyhow!(
                    "{error:#}; only the authorities in JUPYTERHUB_SSL_CLIENT_CA (--ssl-ca) are believed: for an address \
                     that others vouch for, unset it"
                ))
            }
            other => other,
        }
    }
}

/// Whether it was the certificate of the other side that nobody could believe.
fn is_distrust(error: &anyhow::Error) -> bool {
    let network = error.downcast_ref::<ClientError>();
    matches!(network, Some(ClientError::Network { why, .. }) if why.contains("invalid peer certificate"))
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Address { .. } | ClientError::Token | ClientError::Tls(_) => {
                Self::Usage { message: error.to_string(), hint: None }
            }
            _ => Self::Runtime(anyhow::Error::new(error)),
        }
    }
}
