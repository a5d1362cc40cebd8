//! nginx in front of a hub, with the settings that `config/examples/behind-nginx.toml` asks for.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::environment::Needed;
use crate::ports::free_port;
use crate::wait::eventually;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A site of which a path belongs to a hub. Dropping it ends it.
#[derive(Debug)]
pub struct Nginx {
    port: u16,
    _process: Child,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it on `port`: `path`, with slashes at both ends, leads to the port `target`, and everything else is the
    /// site's own.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn start(port: u16, path: &str, target: u16) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("himalia-nginx-").tempdir()?;
        let at = folder.path().display();
        // One process: it ends with the signal that the test sends.
        let text = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/errors;\n\
             events {{ worker_connections 512; }}\n\
             http {{\n  access_log off;\n  client_body_temp_path {at}/body;\n  proxy_temp_path {at}/proxy;\n\
             \x20 fastcgi_temp_path {at}/fastcgi;\n  uwsgi_temp_path {at}/uwsgi;\n  scgi_temp_path {at}/scgi;\n\
             \x20 map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}\n\
             \x20 server {{\n    listen 127.0.0.1:{port};\n\
             \x20   location {path} {{\n      proxy_pass http://127.0.0.1:{target};\n      proxy_http_version 1.1;\n\
             \x20     proxy_set_header Host $http_host;\n      proxy_set_header Upgrade $http_upgrade;\n\
             \x20     proxy_set_header Connection $connection_upgrade;\n\
             \x20     proxy_set_header X-Forwarded-Proto $scheme;\n\
             \x20     proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             \x20     proxy_buffering off;\n      proxy_read_timeout 1h;\n    }}\n\
             \x20   location / {{ return 200 'the platform'; }}\n  }}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text)?;
        let process = Command::new(Needed::Nginx.path())
            .arg("-c")
            .arg(file)
            .arg("-p")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start nginx")?;
        let nginx = Self { port, _process: process, _folder: folder };
        let url = nginx.url("/");
        let ready = eventually("nginx answers", READY_WITHIN, || async {
            Ok(reqwest::get(&url).await.is_ok().then_some(()))
        });
        ready.await?;
        Ok(nginx)
    }

    /// A port for one.
    pub fn port() -> u16 {
        free_port()
    }

    /// The address of a path of the site.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}
