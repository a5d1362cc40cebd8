//! The secret with a server's certificate, where hub and servers speak TLS (`hub.internal_ssl`).

use hub_core::secret::ExposeSecret as _;
use hub_core::{SpawnError, StartJob};
use serde_json::Value;
use tokio::time::Instant;

use crate::blueprint::failure;
use crate::cluster::{Kind, Object};
use crate::manifest::Certificates;
use crate::server::Server;
use crate::spawner::KubeSpawner;
use crate::view::pod;

/// What certificates of servers on the hub's own machine have in them.
const LOCAL: [&str; 2] = ["DNS:localhost", "IP:127.0.0.1"];

impl KubeSpawner {
    /// The secret for a pod that was made. It belongs to the pod and goes with it; until it is there, the pod waits for
    /// its volume.
    pub(super) async fn ensure_certificates(
        &self,
        server: &Server,
        job: &StartJob,
        made: &Value,
        until: Instant,
    ) -> Result<(), SpawnError> {
        let Some(issuer) = &self.certificates else { return Ok(()) };
        let local = LOCAL.iter().filter(|_| server.traits.ssl_alt_names_include_local);
        let mut names: Vec<String> = local.map(|name| (*name).to_owned()).chain(server.alt_names()).collect();
        names.extend(server.connect_name().map_err(failure)?);
        let issued = issuer.issue(&job.key.user, &names).map_err(|error| {
            let user = "Your server is not set up correctly. Please tell the administrator of this hub.";
            SpawnError::broken("bad-configuration", user, format!("hub.internal_ssl: {error}"))
        })?;
        let certificates = Certificates {
            key: issued.key.expose_secret().to_owned(),
            certificate: issued.certificate,
            notebooks_authority: issued.authorities,
            // It is among those already. Stock adds all authorities here, and with them those of other servers.
            hub_authority: String::new(),
        };
        let manifest = server.secret_manifest(&certificates, pod::uid(made)).map_err(failure)?;
        let namespace = server.names.namespace.as_str();
        let object = Object { kind: Kind::Secret, namespace, name: &server.names.secret };
        self.ensure_owned(object, &manifest, &job.key, made, until).await
    }
}
