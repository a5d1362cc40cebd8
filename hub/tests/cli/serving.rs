//! Hub and proxy in one process, from the first answer to the last.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

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
