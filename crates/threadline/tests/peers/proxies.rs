//! nginx and HAProxy in front of a service, with connections to it that they keep.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::{PATIENCE, Service, free_port, installed, run, said, service};

/// A proxy, ended with the value.
struct Proxy {
    child: Child,
    port: u16,
}

impl Proxy {
    /// Starts it in the foreground with a configuration in which `PORT`, `SERVICE` and `DIR` are put.
    fn start(program: &PathBuf, service: &Service, config: &str, arguments: &[&str]) -> Self {
        let port = free_port();
        let directory = service.directory.path().to_str().expect("text");
        let config = config
            .replace("PORT", &port.to_string())
            .replace("SERVICE", &service.server.address().to_string())
            .replace("DIR", directory);
        let file = service.directory.path().join("proxy.conf");
        fs::write(&file, config).expect("a file");
        let mut command = Command::new(program);
        command.args(arguments).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let proxy = Proxy { child: command.spawn().expect("it starts"), port };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
            assert!(Instant::now() < deadline, "the proxy does not listen");
            std::thread::yield_now();
        }
        proxy
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What clients of the proxy get, over connections to the service that are used again and again.
fn check(service: &Service, proxy: &Proxy) {
    let curl = installed("curl").expect("checked before");
    let before = service.server.running().counts().accepted;
    for _ in 0..20 {
        assert_eq!(said(&run(&curl, &["-sS", &proxy.url("/hello")])), "hello\n");
    }
    let accepted = service.server.running().counts().accepted - before;
    assert!(accepted < 10, "{accepted} connections for 20 requests");

    let file = service.directory.path().join("big");
    let file = file.to_str().expect("text");
    assert_eq!(said(&run(&curl, &["-sS", "-T", file, &proxy.url("/count")])), "100000");
    let chunked = ["-sS", "-H", "transfer-encoding: chunked", "-T", file, &proxy.url("/count")];
    assert_eq!(said(&run(&curl, &chunked)), "100000");
    let part = said(&run(&curl, &["-sS", "-r", "0-9", &proxy.url("/files/big")]));
    assert_eq!(part, "aaaaaaabbb");
    let missing = said(&run(&curl, &["-sS", "-w", "%{http_code}", &proxy.url("/nothing")]));
    assert!(missing.ends_with("404"), "{missing}");
}

/// The proxy lets a connection go on in another protocol, and hands everything through.
fn check_upgrade(proxy: &Proxy) {
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let ask = "GET /shout HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n";
    client.write_all(ask.as_bytes()).expect("sent");
    let mut reader = BufReader::new(client.try_clone().expect("a handle"));
    let mut line = String::new();
    let mut next_line = || {
        line.clear();
        reader.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    };
    assert_eq!(next_line(), "HTTP/1.1 101 Switching Protocols");
    while !next_line().is_empty() {}
    for (said, heard) in [("one\n", "ONE"), ("and two\n", "AND TWO")] {
        client.write_all(said.as_bytes()).expect("sent");
        assert_eq!(next_line(), heard);
    }
}

const NGINX: &str = "
daemon off; master_process off; pid DIR/nginx.pid; error_log stderr;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
    uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
    upstream service { server SERVICE; keepalive 8; }
    server {
        listen 127.0.0.1:PORT;
        location / {
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_request_buffering off;
        }
        location /shout {
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection upgrade;
            proxy_set_header Upgrade $http_upgrade;
        }
    }
}";

#[test]
fn nginx_keeps_its_connections_to_the_service() {
    let (Some(nginx), Some(_)) = (installed("nginx"), installed("curl")) else { return };
    let service = service();
    let directory = service.directory.path().to_str().expect("text").to_owned();
    let proxy = Proxy::start(&nginx, &service, NGINX, &["-p", &directory, "-e", "stderr", "-c"]);
    check(&service, &proxy);
    check_upgrade(&proxy);
}

const HAPROXY: &str = "
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    http-reuse always
frontend front
    bind 127.0.0.1:PORT
    default_backend service
backend service
    server one SERVICE
";

#[test]
fn haproxy_keeps_its_connections_to_the_service() {
    let (Some(haproxy), Some(_)) = (installed("haproxy"), installed("curl")) else { return };
    let service = service();
    let proxy = Proxy::start(&haproxy, &service, HAPROXY, &["-db", "-f"]);
    check(&service, &proxy);
    check_upgrade(&proxy);
}
