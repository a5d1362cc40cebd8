//! Whether the hub is alive, and how its watches over servers fare. Answers to `HealthCheckHandler`.

use std::time::Duration;

use actix_web::HttpResponse;
use hub_core::spawner::WatchHealth;
use serde::Serialize;

use crate::app::Hub;

#[derive(Debug, PartialEq, Serialize)]
struct Health {
    watches: Watches,
}

#[derive(Debug, PartialEq, Serialize)]
struct Watches {
    up: usize,
    down: usize,
    /// How long ago the one that is worst off was heard of; none when one never was.
    oldest_seconds: Option<f64>,
}

/// Alive; neither database nor cluster is asked. The body is empty, as stock's, where nothing watches servers. That a
/// cluster is away is no reason to start the hub again, so the status is the same then.
pub(super) fn answer(hub: &Hub) -> HttpResponse {
    let watches = hub.servers.spawners.watches();
    if watches.is_empty() {
        return HttpResponse::Ok().content_type("text/html").finish();
    }
    HttpResponse::Ok().json(Health { watches: summary(&watches) })
}

fn summary(watches: &[WatchHealth]) -> Watches {
    let up = watches.iter().filter(|watch| watch.live).count();
    let ages: Option<Vec<Duration>> = watches.iter().map(|watch| watch.age).collect();
    let oldest = ages.and_then(|ages| ages.into_iter().max());
    Watches { up, down: watches.len() - up, oldest_seconds: oldest.map(|age| age.as_secs_f64()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watch_that_is_worst_off_counts() {
        let watch = |live, seconds: Option<u64>| WatchHealth {
            scope: String::new(),
            live,
            age: seconds.map(Duration::from_secs),
            objects: 1,
        };
        let of = |up, down, oldest_seconds| Watches { up, down, oldest_seconds };
        assert_eq!(summary(&[watch(true, Some(1)), watch(false, Some(90))]), of(1, 1, Some(90.0)));
        assert_eq!(summary(&[watch(true, Some(1)), watch(false, None)]), of(1, 1, None));
    }
}
