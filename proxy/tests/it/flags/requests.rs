//! Flags that change what a target is asked, and where it is.

use super::{Process, ask, get, lines, refused, same};
use crate::support::{Raw, Target};

/// What a target at `/`, on a path of its own, and one at `/pre/fix` are asked.
async fn same_requests(flags: &[&str]) -> Vec<(u16, Vec<String>)> {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    same(async |which| {
        let default = format!("{base}/under?own=1");
        let flags = [flags, &["--default-target", &default]].concat();
        let process = Process::start(&which, &flags).await;
        process.route("/pre/fix", &base).await;
        let mut seen = Vec::new();
        for path in ["/", "/a/b?c=d", "/pre/fix", "/pre/fix/x%20y?z"] {
            let answer = ask(&process, &get(path)).await;
            seen.push((answer.status(), lines(&answer)));
        }
        seen
    })
    .await
}

/// Whether the target saw a line that begins so in each request.
fn all_have(seen: &[(u16, Vec<String>)], begin: &str) -> bool {
    seen.iter().all(|(status, lines)| *status == 200 && lines.iter().any(|line| line.starts_with(begin)))
}

fn none_has(seen: &[(u16, Vec<String>)], begin: &str) -> bool {
    seen.iter().all(|(status, lines)| *status == 200 && !lines.iter().any(|line| line.starts_with(begin)))
}

/// A test that a command line changes requests as it does in the original, and as it says.
macro_rules! requests {
    ($($name:ident: $flags:expr, $check:expr;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let seen = same_requests(&$flags).await;
                let check: fn(&[(u16, Vec<String>)]) -> bool = $check;
                assert!(check(&seen), "{seen:#?}");
            }
        )+
    };
}

requests! {
    default_target_takes_what_no_route_takes: [],
        |seen| all_have(&seen[..2], "GET /under") && all_have(&seen[2..], "GET /pre/fix");
    no_prepend_path_leaves_the_targets_path_out: ["--no-prepend-path"],
        |seen| none_has(seen, "GET /under");
    no_include_prefix_leaves_the_routes_path_out: ["--no-include-prefix"],
        |seen| none_has(seen, "GET /pre/fix");
    no_x_forward_adds_no_headers: ["--no-x-forward"],
        |seen| none_has(seen, "x-forwarded");
    without_no_x_forward_headers_are_added: [],
        |seen| all_have(seen, "x-forwarded-for: 127.0.0.1");
    change_origin_replaces_the_host: ["--change-origin"],
        |seen| all_have(seen, "host: 127.0.0.1:");
    custom_header_is_set_on_every_request: ["--custom-header", "X-One: 1"],
        |seen| all_have(seen, "x-one: 1");
    custom_header_may_be_repeated_and_hold_colons:
        ["--custom-header", "X-One: 1", "--custom-header", " x-two : 2:3 "],
        |seen| all_have(seen, "x-one: 1") && all_have(seen, "x-two: 2:3");
    custom_header_of_the_same_name_counts_last:
        ["--custom-header", "X-One: 1", "--custom-header", "X-One: 2"],
        |seen| all_have(seen, "x-one: 2") && none_has(seen, "x-one: 1");
    insecure_leaves_plain_targets_as_they_are: ["--insecure"],
        |seen| all_have(seen, "GET /");
    switches_may_be_given_twice: ["--no-x-forward", "--insecure", "--no-x-forward", "--insecure"],
        |seen| none_has(seen, "x-forwarded");
    flags_that_belong_to_others_which_are_not_given_do_nothing:
        ["--redirect-to", "8443", "--ssl-ca", "/nowhere.pem", "--ssl-request-cert", "--api-ssl-ca", "/nowhere.pem"],
        |seen| all_have(seen, "GET /");
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_header_without_a_colon_is_refused() {
    refused(&["--custom-header", "nocolon"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_routing_takes_the_host_for_the_first_segment() {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    let (routed, other, host) = same(async |which| {
        let process = Process::start(&which, &["--host-routing", "--default-target", &base]).await;
        process.route("/proxy.test/a", &format!("{base}/by-host")).await;
        let routed = ask(&process, &get("/a/b")).await;
        let other = ask(&process, &get("/c")).await;
        let (_, text) = process.ask_api("GET", "/api/routes/proxy.test/a", "").await;
        let host = serde_json::from_str::<serde_json::Value>(&text).unwrap()["host"].clone();
        (lines(&routed), lines(&other), host)
    })
    .await;
    assert!(routed.iter().any(|line| line.starts_with("GET /by-host/a/b ")), "{routed:?}");
    assert!(other.iter().any(|line| line.starts_with("GET /c ")), "{other:?}");
    assert_eq!(host, "proxy.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_host_routing_the_host_makes_no_difference() {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    let seen = same(async |which| {
        let process = Process::start(&which, &[]).await;
        process.route("/proxy.test/a", &base).await;
        (ask(&process, &get("/a")).await.status(), ask(&process, &get("/proxy.test/a")).await.status())
    })
    .await;
    assert_eq!(seen, (404, 200));
}

/// Where a target's answers of a status lead, through a proxy with these flags: those to itself, elsewhere, and to a
/// path.
async fn same_redirects(status: u16, flags: &[&str]) -> Vec<String> {
    let target = Target::start(move |mut raw: Raw, _| async move {
        let own = raw.stream.local_addr().unwrap();
        while let Some(request) = raw.request().await {
            let location = match request.target() {
                "/self" => format!("http://{own}/next?x"),
                "/other" => "http://other.test/next".to_owned(),
                _ => "/next".to_owned(),
            };
            raw.send(format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))
                .await;
        }
    })
    .await;
    let base = format!("http://{}", target.address);
    let own = target.address.to_string();
    same(async |which| {
        let flags = [flags, &["--default-target", base.as_str()]].concat();
        let process = Process::start(&which, &flags).await;
        let mut seen = Vec::new();
        for path in ["/self", "/other", "/relative"] {
            let answer = ask(&process, &get(path)).await;
            assert_eq!(answer.status(), status);
            seen.push(answer.header("location").unwrap_or_default().replace(&own, "TARGET"));
        }
        seen
    })
    .await
}

/// A test that redirects are changed as in the original, and lead there.
macro_rules! redirects {
    ($($name:ident: $flags:expr, $locations:expr;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                assert_eq!(same_redirects(302, &$flags).await, $locations);
            }
        )+
    };
}

redirects! {
    redirects_pass_unchanged: [],
        ["http://TARGET/next?x", "http://other.test/next", "/next"];
    auto_rewrite_leads_redirects_to_the_proxy: ["--auto-rewrite"],
        ["http://proxy.test:8000/next?x", "http://other.test/next", "/next"];
    protocol_rewrite_changes_the_scheme_of_redirects: ["--protocol-rewrite", "https"],
        ["https://TARGET/next?x", "http://other.test/next", "/next"];
    auto_and_protocol_rewrite_work_together: ["--auto-rewrite", "--protocol-rewrite", "https"],
        ["https://proxy.test:8000/next?x", "http://other.test/next", "/next"];
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_rewrite_is_for_the_statuses_that_the_original_takes_for_redirects() {
    for (status, leads_to) in
        [(201, true), (301, true), (307, true), (308, true), (200, false), (300, false), (303, false)]
    {
        let seen = same_redirects(status, &["--auto-rewrite"]).await;
        let first = if leads_to { "http://proxy.test:8000/next?x" } else { "http://TARGET/next?x" };
        assert_eq!(seen[0], first, "{status}");
    }
}
