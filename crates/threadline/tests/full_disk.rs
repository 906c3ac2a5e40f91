//! Bodies that need a file which cannot take all of them: alone in its process, which gets a limit on file sizes.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, setrlimit};
use threadline::http::{Request, Router, post};
use threadline::{Address, Server};

/// What a file may have in this process.
const FILE_LEN_MAX: u64 = 300_000;

#[test]
fn a_body_that_fills_the_disk_is_a_503_and_nothing_else_happens() {
    let limit = Some(FILE_LEN_MAX);
    setrlimit(Resource::Fsize, Rlimit { current: limit, maximum: limit }).expect("a lower limit");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_owned();
    let count = |request: &Request<'_>| request.bytes().map(|body| body.len().to_string());
    let router = Router::new().route("/", post(count).body_len_max(1 << 30)).get("/", || "up");
    let server = Server::new().settings(move |settings| {
        settings.body_memory_len_max = 100_000;
        settings.body_dir = path;
    });
    let service = server.http("127.0.0.1:0", router).start().expect("it starts");
    let Address::Ip(address) = service.addresses()[0] else { panic!("not an IP address") };
    let ask = |request: String, body: &[u8]| {
        let mut client = TcpStream::connect(address).expect("connects");
        client.write_all(request.as_bytes()).expect("sent");
        // The service answers before all of it is there.
        let _ = client.write_all(body);
        let mut reply = Vec::new();
        let _ = client.read_to_end(&mut reply);
        String::from_utf8_lossy(&reply).into_owned()
    };
    let upload = |len: usize| {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n"
        );
        ask(head, &vec![b'x'; len])
    };
    let reply = upload(2_000_000);
    assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
    assert_eq!(service.counts().body_file_errors, 1);
    let reply = upload(250_000);
    assert!(reply.ends_with("\r\n\r\n250000"), "{reply}");
    let get = "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    assert!(ask(get.into(), b"").ends_with("\r\n\r\nup"));
    let gauges = service.gauges();
    assert_eq!((gauges.body_files, gauges.waiting_bytes), (0, 0));
    assert!(service.drain().complete);
}
