//! Whether services answer at their addresses. Answers to `Server.wait_up` and `check_services_health`.

use std::time::Duration;

use futures_util::StreamExt as _;
use hub_config::ServiceSection;
use hub_db::repo;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use tokio::time::timeout;
use tracing::{debug, warn};
use url::Url;

use crate::app::Hub;

/// Pause between two questions.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How many services are asked at once by a look at all.
const AT_ONCE: usize = 16;

/// What asks services.
#[derive(Debug)]
pub struct Asker(Client);

impl Asker {
    /// Where a redirect leads is nobody's business here: it is an answer. Nor is a connection kept until the next look.
    pub fn new(builder: ClientBuilder) -> Result<Self, reqwest::Error> {
        Ok(Self(builder.redirect(Policy::none()).no_proxy().pool_max_idle_per_host(0).build()?))
    }
}

/// The page of a service that is behind its prefix. None for what is no URL.
fn front(hub: &Hub, name: &str, url: &str) -> Option<Url> {
    let mut url = Url::parse(url).ok()?;
    url.set_path(&hub.urls.service(name));
    url.set_query(None);
    Some(url)
}

/// Whether the service at `url` answers before time is up, with anything but an internal error.
pub(crate) async fn wait_up(hub: &Hub, name: &str, url: &str, limit: Duration) -> bool {
    let Some(url) = front(hub, name, url) else { return false };
    let asking = async {
        loop {
            match hub.asker.0.get(url.clone()).timeout(limit).send().await {
                Ok(answer) if answer.status().as_u16() < 500 => return,
                Ok(_) | Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    };
    timeout(limit, asking).await.is_ok()
}

/// Asks all services that have an address, those made at run time as well, and warns of those that do not answer.
pub async fn check_all(hub: &Hub) {
    let rows = match repo::services::all(hub.db.conn()).await {
        Ok(rows) => rows,
        Err(error) => return warn!(%error, "cannot look whether the services answer"),
    };
    let unset = ServiceSection::default();
    let asked = rows.iter().filter_map(|row| {
        let url = row.url.as_deref().filter(|url| !url.is_empty())?;
        let section = hub.config.services.iter().find(|section| section.name == row.name);
        let limit = section.unwrap_or(&unset).timeout;
        Some(async move {
            if wait_up(hub, &row.name, url, limit).await {
                debug!(service = %row.name, %url, "the service answers");
            } else {
                warn!(service = %row.name, %url, "the service does not answer");
            }
        })
    });
    let asked: Vec<_> = asked.collect();
    futures_util::stream::iter(asked).buffer_unordered(AT_ONCE).collect::<()>().await;
}
