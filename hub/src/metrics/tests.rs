use super::*;

#[test]
fn the_names_are_those_of_dashboards_made_for_stock() {
    let metrics = Metrics::new(&hub_config::MetricsSection::default()).unwrap();
    metrics.request("GET", "jupyterhub.handlers.pages.HomeHandler", 200, Duration::from_millis(3));
    metrics.spawn(Outcome::Success, "", Duration::from_secs(3));
    metrics.poll(true, Duration::ZERO);
    metrics.csp_report();
    let text = metrics.text().unwrap();
    for line in [
        "jupyterhub_request_duration_seconds_count{code=\"200\",handler=\"jupyterhub.handlers.pages.HomeHandler\",method=\"GET\"} 1",
        "jupyterhub_server_spawn_duration_seconds_bucket{reason=\"\",status=\"success\",le=\"5.0\"} 1",
        "jupyterhub_server_poll_duration_seconds_count{status=\"ServerPollStatus.running\"} 1",
        "jupyterhub_csp_reports_total 1",
        "jupyterhub_running_servers 0",
        "# TYPE jupyterhub_csp_reports_created gauge",
        "jupyterhub_csp_reports_created 1",
        "jupyterhub_request_duration_seconds_created{code=\"200\",handler=\"jupyterhub.handlers.pages.HomeHandler\",method=\"GET\"} 1",
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
}

/// Name, labels and buckets of every metric of a stock hub at work, but for those of its interpreter and for the
/// moments at which its series began, which differ.
const STOCK: &str = include_str!("stock.txt");

fn bounds(text: &str, name: &str) -> Vec<String> {
    let begin = format!("{name}_bucket{{");
    let mut bounds: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with(&begin)) {
        let bound = line.split("le=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        if !bounds.contains(&bound) {
            bounds.push(bound);
        }
    }
    bounds
}

fn labels(line: &str) -> Vec<String> {
    let inside =
        line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(inside, _)| inside);
    let mut labels: Vec<String> = inside
        .split("\",")
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split('=').next().unwrap().to_owned())
        .collect();
    labels.retain(|label| label != "le");
    labels.sort();
    labels
}

#[test]
fn names_labels_and_buckets_are_those_of_stock() {
    let metrics = Metrics::new(&hub_config::MetricsSection::default()).unwrap();
    metrics.request("GET", "h", 200, Duration::ZERO);
    metrics.login(true, Duration::ZERO);
    let text = metrics.text().unwrap();
    let mut told = 0;
    for line in STOCK.lines() {
        let [name, kind, wanted_labels, wanted_bounds] =
            line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{line}");
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
        let sample = text
            .lines()
            .find(|line| line.split(['{', ' ']).next() == Some(&sample))
            .unwrap_or_else(|| panic!("{line}"));
        assert_eq!(labels(sample).join(","), wanted_labels.trim_matches('-'), "{line}");
        assert_eq!(bounds(&text, name).join(","), wanted_bounds.trim_matches('-'), "{line}");
        told += 1;
    }
    assert_eq!(told, 17, "stock has so many");
}

#[test]
fn starts_and_stops_have_the_buckets_of_the_configuration() {
    let section = hub_config::MetricsSection {
        server_spawn_duration_seconds_buckets: vec![1.5, 20.0],
        server_stop_duration_seconds_buckets: vec![3.0],
        ..hub_config::MetricsSection::default()
    };
    let text = Metrics::new(&section).unwrap().text().unwrap();
    assert_eq!(bounds(&text, "jupyterhub_server_spawn_duration_seconds"), ["1.5", "20.0", "+Inf"]);
    assert_eq!(bounds(&text, "jupyterhub_server_stop_seconds"), ["3.0", "+Inf"]);
}

#[test]
fn what_has_not_happened_yet_is_told_as_in_stock() {
    let text = Metrics::new(&hub_config::MetricsSection::default()).unwrap().text().unwrap();
    for line in [
        "jupyterhub_server_spawn_duration_seconds_count{reason=\"throttled\",status=\"failure\"} 0",
        "jupyterhub_server_stop_seconds_count{status=\"failure\"} 0",
        "jupyterhub_active_users{period=\"30d\"} 0",
        "jupyterhub_csp_reports_total 0",
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
}
