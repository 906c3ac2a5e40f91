//! Options of routes, files and the fallback, over sockets.

use crate::common::{ANY, Client, eventually, every_model, server, start};
use crate::http_client::ok;
use threadline::http::files::Files;
use threadline::http::{
    Fallback, Hint, Next, Request, Response, Router, Status, get, patch, post, put,
};
use threadline::{Model, Running};

const ASSETS: &[(&str, &[u8])] = &[("index.html", b"front"), ("a.txt", b"file")];

fn refuse(_: &Request<'_>, _: Next<'_>) -> Response {
    Response::error(Status::FORBIDDEN, "refused by a layer")
}

fn ask(client: &mut Client, method: &str, path: &str, len: usize) -> u16 {
    let body = "x".repeat(len);
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {len}\r\n\r\n{body}"
    ));
    client.reply_to(method == "HEAD").status
}

every_model! {
    fn an_option_of_a_value_and_one_of_a_method(model) {
        let len = |body: Vec<u8>| body.len().to_string();
        let router = Router::new()
            .route("/a", post(len).body_len_max(100).and(put(len).body_len_max(200_000)).patch(len))
            .route("/b", get(|| "open").and(post(len).layer(refuse)))
            .fallback_with(Fallback::new(len).body_len_max(3))
            .files("/files", Files::embedded(ASSETS).layer(refuse));
        let service = start(server(model).http(ANY, router));
        for (method, path, len, status) in [
            ("POST", "/a", 100, 200),
            ("POST", "/a", 101, 413),
            ("PATCH", "/a", 100, 200),
            ("PATCH", "/a", 101, 413),
            ("PUT", "/a", 101, 200),
            // Longer than what is received before the handler is called.
            ("PUT", "/a", 200_000, 200),
            ("PUT", "/a", 200_001, 413),
            ("DELETE", "/a", 0, 405),
            ("GET", "/b", 0, 200),
            ("HEAD", "/b", 0, 200),
            ("POST", "/b", 0, 403),
            ("DELETE", "/b", 0, 405),
            ("OPTIONS", "/b", 0, 204),
            ("BREW", "/nowhere", 3, 200),
            ("POST", "/nowhere", 4, 413),
            ("GET", "/files", 0, 403),
            ("GET", "/files/", 0, 403),
            ("GET", "/files/a.txt", 0, 403),
            ("DELETE", "/files/a.txt", 0, 403),
        ] {
            let answered = ask(&mut Client::to(&service), method, path, len);
            assert_eq!(answered, status, "{method} {path} with {len} bytes");
        }
    }
}

/// A service with hints wherever one can be given.
fn hinted(hint: Hint) -> Running {
    let router = Router::new()
        .route("/value", get(|| "value").hint(hint))
        .route("/method", patch(|| "").and(get(|| "method").hint(hint)))
        .files("/files", Files::embedded(ASSETS).hint(hint))
        .fallback_with(Fallback::new(|| "fallback").hint(hint));
    start(server(Model::Adaptive).shards(1).http(ANY, router))
}

/// Asks once for everything that has a hint, and returns how many calls have run inline and on the pool.
fn ask_all(client: &mut Client, service: &Running) -> (u64, u64) {
    for (path, body) in [
        ("/value", "value"),
        ("/method", "method"),
        ("/files/", "front"),
        ("/files/a.txt", "file"),
        ("/nowhere", "fallback"),
    ] {
        assert_eq!(client.get(path), ok(body));
    }
    let counts = service.counts();
    (counts.calls_inline, counts.calls_pooled)
}

#[test]
fn a_hint_says_where_calls_run() {
    let service = hinted(Hint::Inline);
    let mut client = Client::to(&service);
    let (mut before, mut rounds) = (0, 0);
    // Inline calls go to the pool while no spare is ready; a route is not proven before its 32nd call.
    let all_inline = |_| {
        let (inline, _) = ask_all(&mut client, &service);
        rounds += 1;
        inline - std::mem::replace(&mut before, inline) >= 5
    };
    assert!((0..30).any(all_inline), "never inline in {rounds} rounds");

    let service = hinted(Hint::Blocking);
    let mut client = Client::to(&service);
    for _ in 0..50 {
        assert_eq!(ask_all(&mut client, &service).0, 0, "never inline");
    }
    eventually("all ran on the pool", || service.counts().calls_pooled == 250);
}
