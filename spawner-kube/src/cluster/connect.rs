//! Which API server to talk to, and as whom.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use kube::config::{Config, KubeConfigOptions};

use super::error::ApiError;
use crate::traits::Traits;

/// Where a pod finds the account that it runs as.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// What the options say about the API server.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    host: String,
    authority: String,
    verify: bool,
}

impl Access {
    pub(crate) fn new(traits: &Traits) -> Self {
        Self {
            host: traits.k8s_api_host.clone(),
            authority: traits.k8s_api_ssl_ca_cert.clone(),
            verify: traits.k8s_api_verify_ssl.unwrap_or(true),
        }
    }

    /// A client for the cluster that this process runs in, else for the one of the kubeconfig: stock's order.
    pub(crate) async fn connect(&self) -> Result<Client, ApiError> {
        let mut config = if in_cluster() {
            Config::incluster().map_err(|error| no_cluster(&error))?
        } else {
            Config::from_kubeconfig(&KubeConfigOptions::default())
                .await
                .map_err(|error| no_cluster(&error))?
        };
        if !self.host.is_empty() {
            config.cluster_url = self.host.parse().map_err(|error| {
                ApiError::NoCluster(format!("`k8s_api_host` {:?} is no URL: {error}", self.host))
            })?;
        }
        if !self.authority.is_empty() {
            config.root_cert = None;
            config.root_cert_file = Some(PathBuf::from(&self.authority));
        }
        config.accept_invalid_certs = !self.verify;
        config.connect_timeout = Some(CONNECT);
        // What is tried again, and for how long, depends on the request.
        config.default_retry = false;
        Client::try_from(config).map_err(|error| no_cluster(&error))
    }
}

fn no_cluster(error: &dyn std::error::Error) -> ApiError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    ApiError::NoCluster(text)
}

/// Whether this process runs in a pod with an account.
pub(crate) fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(ACCOUNT).join("token").exists()
}

/// The namespace of the hub's own pod; `default` outside of a cluster, as in stock.
pub(crate) fn own_namespace() -> String {
    std::fs::read_to_string(Path::new(ACCOUNT).join("namespace"))
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "default".to_owned())
}
