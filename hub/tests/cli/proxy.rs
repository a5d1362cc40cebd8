use crate::support::{Place, Running, free_ports};

#[tokio::test]
async fn the_proxy_alone_serves_its_api_to_who_has_the_token_and_stops_on_sigterm() {
    let place = Place::new().env("CONFIGPROXY_AUTH_TOKEN", "token-of-the-test");
    let (port, api_port) = free_ports();
    let api = format!("proxy.api_url=http://127.0.0.1:{api_port}");
    let running = Running::start(&place, "himalia", &["proxy", "--port", &port.to_string(), "--set", &api]);
    running.wait_for("proxy is serving");
    let client = reqwest::Client::new();
    let healthy = client.get(format!("http://127.0.0.1:{port}/_chp_healthz")).send().await.unwrap();
    assert_eq!(healthy.status(), 200);
    let routes = format!("http://127.0.0.1:{api_port}/api/routes");
    assert_eq!(client.get(&routes).send().await.unwrap().status(), 403);
    let allowed =
        client.get(&routes).header("Authorization", "token token-of-the-test").send().await.unwrap();
    assert_eq!(allowed.status(), 200);
    drop(client);
    assert_eq!(running.terminate(), 0);
}

#[test]
fn the_proxy_alone_needs_a_token() {
    let done = Place::new().himalia(&["proxy", "--port", "0"]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("proxy.auth_token is missing"), "{}", done.err);
}

#[test]
fn as_configurable_http_proxy_it_takes_the_flags_of_stock_and_ends_with_its_exit_code() {
    let place = Place::new();
    let (port, api_port) = free_ports();
    let (port, api_port) = (port.to_string(), api_port.to_string());
    let running = Running::start(
        &place,
        "configurable-http-proxy",
        &["--ip", "127.0.0.1", "--port", &port, "--api-ip", "127.0.0.1", "--api-port", &api_port],
    );
    running.wait_for("Proxy API at");
    assert_eq!(running.terminate(), 2);
    assert_eq!(place.named("configurable-http-proxy", &["--nonsense"]).code, 2);
}
