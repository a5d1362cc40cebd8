//! Hub and proxy in one process, from the first answer to the last.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;

use crate::support::{DEADLINE, Place, Running, free_ports};

/// A hub on the loopback interface, which is only just starting, and the port of its public side.
fn start(place: &Place) -> (Running, u16) {
    let (port, hub_port) = free_ports();
    let hub = format!("hub.hub_bind_url=http://127.0.0.1:{hub_port}");
    let running = Running::start(place, "himalia", &["serve", "--port", &port.to_string(), "--set", &hub]);
    (running, port)
}

/// A connection, as soon as there can be one.
fn connect(port: u16) -> TcpStream {
    let began = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return stream,
            Err(error) => assert!(began.elapsed() < DEADLINE, "{error}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn the_first_answer_of_a_hub_is_a_right_one() {
    let place = Place::new();
    let (running, port) = start(&place);
    let mut stream = connect(port);
    stream.write_all(b"GET /hub/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.wait_for("now running");
    assert_eq!(running.terminate(), 0);
}

#[test]
fn who_will_not_wait_for_the_last_answers_tells_the_hub_twice() {
    let place = Place::new();
    let (running, port) = start(&place);
    running.wait_for("now running");
    let mut stream = connect(port);
    let unfinished = b"POST /hub/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nuser";
    stream.write_all(unfinished).unwrap();
    let mut health = connect(port);
    health.write_all(b"GET /hub/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    health.read_to_string(&mut String::new()).unwrap();
    running.tell_to_end();
    running.wait_for("shutting down");
    assert_eq!(running.terminate(), 1);
}

/// A whole answer on a connection that is open already.
fn answer(mut stream: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_sockets_of_a_service_manager_are_those_of_proxy_and_hub() {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [public, hub] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    // Who comes before the program waits at these sockets, and would find nobody at others in their place.
    let early = [public, hub].map(|address| TcpStream::connect(address).unwrap());
    let place = Place::new();
    let set = format!("hub.hub_bind_url=http://{hub}");
    let port = public.port().to_string();
    let running = Running::start_with_sockets(&place, sockets, &["serve", "--port", &port, "--set", &set]);
    running.wait_for("using sockets of the service manager");
    for stream in early {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let answer = answer(stream, "/hub/health");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    running.wait_for("now running");
    assert_eq!(running.terminate(), 0);
}

#[test]
fn the_public_side_can_be_a_unix_socket() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("public.sock");
    let url = format!("http+unix://{}", file.to_str().unwrap().replace('/', "%2F"));
    let hub = format!("hub.hub_bind_url=http://127.0.0.1:{}", free_ports().0);
    let running = Running::start(&place, "himalia", &["serve", "--url", &url, "--set", &hub]);
    let line = running.wait_for("now running");
    assert!(line.contains(&format!("{url}/")), "{line}");
    let answer = answer(UnixStream::connect(&file).unwrap(), "/hub/health");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(running.terminate(), 0);
    assert!(!file.exists());
}

/// A certificate of the proxy's tests, for `localhost`.
fn fixture(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/tests/it/fixtures").join(name);
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn over_https_plain_requests_are_sent_there_and_browsers_are_told_to_stay() {
    let (port, hub_port) = free_ports();
    let redirect_port = free_ports().0;
    let place = Place::new().file(
        "himalia.toml",
        &format!(
            "[hub]\nhub_bind_url = \"http://127.0.0.1:{hub_port}\"\n\
             [proxy]\nbind_url = \"https://127.0.0.1:{port}\"\nredirect_port = {redirect_port}\nhsts = \"180d\"\n\
             ssl_key = {:?}\nssl_cert = {:?}\n",
            fixture("leaf-key.pem"),
            fixture("leaf.pem"),
        ),
    );
    let running = Running::start(&place, "himalia", &["serve", "--config", "himalia.toml"]);
    let line = running.wait_for("now running");
    assert!(line.contains(&format!("https://127.0.0.1:{port}/")), "{line}");
    let authority = std::fs::read(fixture("ca.pem")).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
        .redirect(Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap();
    let page = client.get(format!("https://localhost:{port}/hub/login")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["strict-transport-security"], "max-age=15552000");
    let cookies: Vec<_> = page.headers().get_all("set-cookie").iter().collect();
    assert!(!cookies.is_empty(), "the page of a form has a token against forged requests");
    assert!(cookies.iter().all(|cookie| cookie.to_str().unwrap().contains("Secure")), "{cookies:?}");
    let plain = client.get(format!("http://127.0.0.1:{redirect_port}/hub/x?y")).send().await.unwrap();
    assert_eq!(plain.status(), 301);
    assert_eq!(plain.headers()["location"], format!("https://127.0.0.1:{port}/hub/x?y"));
    assert!(!plain.headers().contains_key("strict-transport-security"));
    // Without TLS nobody is served at the public port.
    assert!(client.get(format!("http://127.0.0.1:{port}/hub/health")).send().await.is_err());
    drop(client);
    assert_eq!(running.terminate(), 0);
}
