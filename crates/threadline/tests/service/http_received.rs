//! Request bodies are received while their connection is parked, in memory and in files.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{ANY, Client, Gate, eventually, every_model, server, start};
use crate::http_client::ok;
use threadline::http::middleware::{BasicAuth, Cors, RateLimit};
use threadline::http::{
    BeforeBody, BodyError, Hint, HttpSettings, Middleware, Next, Request, Response, Router, get,
    post,
};
use threadline::{Endpoint, Model, Running, Server, Timeouts};

fn upload(path: &str, size: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n")
}

/// Content that is different everywhere.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at ^ (at >> 8)) as u8).collect()
}

/// A number that depends on every byte and its place.
fn digest(bytes: &[u8]) -> String {
    let sum =
        bytes.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} bytes, {sum}", bytes.len())
}

/// Reads the body in both ways, each twice: all of them see the same.
fn digested(request: &Request<'_>) -> Result<String, BodyError> {
    let whole = request.bytes()?;
    for _ in 0..2 {
        let mut read = Vec::new();
        request.reader().read_to_end(&mut read).expect("it is here");
        assert!(read == *whole && request.bytes()? == whole, "every look sees all of it");
    }
    assert_eq!(request.content_length(), Some(whole.len() as u64));
    Ok(digest(&whole))
}

fn web() -> Router {
    Router::new().route("/digest", post(digested).body_len_max(1 << 30)).get("/after", || "after")
}

/// Bodies of more than 64 KB are in files of that directory.
fn with_files(model: Model, dir: &Path) -> Server {
    let dir = dir.to_owned();
    server(model).settings(move |settings| {
        settings.body_memory_len_max = 64 * 1024;
        settings.body_dir.clone_from(&dir);
    })
}

fn assert_no_thread_is_held(model: Model, service: &Running) {
    if model != Model::ThreadPerConnection {
        eventually("no thread is held", || {
            let gauges = service.gauges();
            gauges.pool_busy == 0 && gauges.pool_queue == 0
        });
    }
}

every_model! {
    fn bodies_that_come_slowly_hold_no_thread(model) {
        let service = start(server(model).pool_threads(2).http(ANY, web()));
        let content = content(100_000);
        let (first, second) = content.split_at(50_000);
        let mut clients: Vec<_> = (0..12).map(|_| Client::to(&service)).collect();
        for client in &mut clients {
            client.send(upload("/digest", content.len()));
            client.send(first);
        }
        eventually("they wait", || service.gauges().waiting_bytes >= 12 * first.len());
        assert_no_thread_is_held(model, &service);
        assert_eq!(Client::to(&service).get("/after"), ok("after"));
        for client in &mut clients {
            client.send(second);
            assert_eq!(client.reply(), ok(&digest(&content)));
            assert_eq!(client.get("/after"), ok("after"), "the connection goes on");
        }
        eventually("nothing waits", || service.gauges().waiting_bytes == 0);
    }

    fn long_bodies_are_in_files(model) {
        let dir = tempfile::tempdir().expect("a directory");
        let service = start(with_files(model, dir.path()).http(ANY, web()));
        let content = content(3_000_000);
        let mut client = Client::to(&service);
        for _ in 0..2 {
            client.send(upload("/digest", content.len()));
            client.send(&content[..2_000_000]);
            eventually("a part of it is in a file", || service.gauges().body_files == 1);
            assert_no_thread_is_held(model, &service);
            let names = std::fs::read_dir(dir.path()).expect("the directory").count();
            assert_eq!(names, 0, "the file has no name");
            client.send(&content[2_000_000..]);
            assert_eq!(client.reply(), ok(&digest(&content)));
            eventually("the file is gone", || service.gauges().body_files == 0);
        }
        assert_eq!(service.counts().bodies_in_files, 2);
        assert_eq!(client.get("/after"), ok("after"));
    }

    fn chunked_bodies_are_received_likewise(model) {
        let dir = tempfile::tempdir().expect("a directory");
        let service = start(with_files(model, dir.path()).http(ANY, web()));
        let content = content(300_000);
        let mut message = b"POST /digest HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for (piece, number) in content.chunks(7_777).zip(0..) {
            message.extend(format!("{:x};n={number}\r\n", piece.len()).into_bytes());
            message.extend(piece);
            message.extend(b"\r\n");
        }
        message.extend(b"0\r\nA: trailer\r\n\r\nGET /after HTTP/1.1\r\nHost: t\r\n\r\n");
        for len in [message.len(), 65_536, 9_999] {
            let mut client = Client::to(&service);
            message.chunks(len).for_each(|piece| client.send(piece));
            assert_eq!(client.reply(), ok(&digest(&content)), "{len}");
            assert_eq!(client.reply(), ok("after"));
        }
        eventually("the files are gone", || service.gauges().body_files == 0);
    }

    fn a_body_that_cannot_be_stored_is_a_503(model) {
        let missing = PathBuf::from("/nowhere/at/all");
        let router = web().errors(|error| Response::text(error.kind().name()));
        let service = start(with_files(model, &missing).http(ANY, router));
        let mut client = Client::to(&service);
        client.send(upload("/digest", 400_000));
        client.try_send(content(200_000));
        let reply = client.reply();
        assert_eq!((reply.status, reply.closes), (503, true), "{reply:?}");
        assert_eq!(reply.body, "storage", "the kind that the hook has seen");
        assert_eq!(service.counts().body_file_errors, 1);
        assert_eq!((service.gauges().body_files, service.counts().malformed), (0, 0));
        assert_eq!(Client::to(&service).get("/after"), ok("after"));
    }

    fn a_body_beyond_the_number_of_files_is_a_503(model) {
        let dir = tempfile::tempdir().expect("a directory");
        let server = with_files(model, dir.path()).settings(|settings| settings.body_files_max = 1);
        let service = start(server.http(ANY, web()));
        let content = content(400_000);
        let mut first = Client::to(&service);
        first.send(upload("/digest", content.len()));
        first.send(&content[..300_000]);
        eventually("there is a file", || service.gauges().body_files == 1);
        let mut second = Client::to(&service);
        second.send(upload("/digest", content.len()));
        second.try_send(&content[..300_000]);
        assert_eq!(second.reply().status, 503);
        assert_eq!(service.counts().refused_body_files, 1);
        first.send(&content[300_000..]);
        assert_eq!(first.reply(), ok(&digest(&content)));
    }

    fn isolated_endpoints_use_no_files(model) {
        let dir = tempfile::tempdir().expect("a directory");
        let endpoint = Endpoint::http(ANY, web()).isolated();
        let service = start(with_files(model, dir.path()).endpoint(endpoint));
        let content = content(60_000);
        let mut client = Client::to(&service);
        client.send(upload("/digest", content.len()));
        content.chunks(10_000).for_each(|piece| client.send(piece));
        assert_eq!(client.reply(), ok(&digest(&content)));
        client.send(upload("/digest", 70_000));
        assert_eq!(client.reply().status, 413);
        assert_eq!(service.counts().bodies_in_files, 0);
    }

    fn a_body_that_comes_too_slowly_is_refused_without_its_handler(model) {
        let timeouts = Timeouts { body: Some(Duration::from_millis(50)), ..Timeouts::default() };
        let calls = Arc::new(AtomicUsize::new(0));
        let called = Arc::clone(&calls);
        let handler = move |_: &Request<'_>| called.fetch_add(1, Ordering::Relaxed).to_string();
        let settings = HttpSettings::default().timeouts(timeouts);
        let router = Router::new().post("/", handler).settings(settings);
        let service = start(server(model).http(ANY, router));
        for sent in [0, 10, 30_000] {
            let mut client = Client::to(&service);
            client.send(upload("/", 100_000));
            client.send(content(sent));
            assert_eq!(client.reply().status, 408);
            client.assert_closed();
        }
        assert_eq!((service.counts().timeouts_body, calls.load(Ordering::Relaxed)), (3, 0));
        eventually("nothing waits", || service.gauges().waiting_bytes == 0);
    }

    fn rfc9112_8_a_body_that_is_cut_off_is_a_400(model) {
        let dir = tempfile::tempdir().expect("a directory");
        let service = start(with_files(model, dir.path()).http(ANY, web()));
        for sent in [0, 10, 30_000, 200_000] {
            let mut client = Client::to(&service);
            client.send(upload("/digest", 400_000));
            client.send(content(sent));
            client.stream().shutdown(std::net::Shutdown::Write).expect("shut down");
            assert_eq!(client.reply().status, 400, "{sent}");
            client.assert_closed();
        }
        assert_eq!(service.counts().malformed, 4);
        eventually("the files are gone", || service.gauges().body_files == 0);
    }

    fn a_body_whose_client_has_gone_leaves_nothing(model) {
        let dir = tempfile::tempdir().expect("a directory");
        let service = start(with_files(model, dir.path()).http(ANY, web()));
        for sent in [30_000, 200_000] {
            let mut client = Client::to(&service);
            client.send(upload("/digest", 400_000));
            client.send(content(sent));
        }
        eventually("they are gone", || service.counts().closed == 2);
        eventually("nothing is left", || {
            let gauges = service.gauges();
            (gauges.connections, gauges.body_files, gauges.waiting_bytes) == (0, 0, 0)
        });
    }

    fn beyond_the_budget_bodies_go_to_files(model) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().to_owned();
        let server = server(model).settings(move |settings| {
            settings.waiting_bytes_max = 100_000;
            settings.body_dir.clone_from(&path);
        });
        let service = start(server.http(ANY, web()));
        let content = content(90_000);
        let mut clients: Vec<_> = (0..4).map(|_| Client::to(&service)).collect();
        for client in &mut clients {
            client.send(upload("/digest", content.len()));
            client.send(&content[..80_000]);
        }
        eventually("all but one are in files", || service.gauges().body_files == 3);
        eventually("the budget is kept", || service.gauges().waiting_bytes <= 100_000);
        for client in &mut clients {
            client.send(&content[80_000..]);
            assert_eq!(client.reply(), ok(&digest(&content)));
        }
    }

    fn silent_bodies_in_memory_make_room_for_those_that_come(model) {
        const BUDGET: usize = 16 << 20;
        let dir = Path::new("/dev/shm");
        if !dir.is_dir() {
            return;
        }
        let server = server(model).pool_threads(8).settings(move |settings| {
            settings.waiting_bytes_max = BUDGET;
            settings.body_dir = dir.to_owned();
        });
        let service = start(server.http(ANY, web()));
        let content = content(1_000_000);
        let silent: Vec<_> = (0..60).map(|_| {
            let mut client = Client::to(&service);
            client.send(upload("/digest", content.len()));
            client.try_send(&content[..500_000]);
            client
        }).collect();
        eventually("there is too little room", || service.counts().refused_body_files > 0);
        eventually("some make room, as none is slow at first", || {
            service.counts().bodies_over_budget > 0 || service.gauges().waiting_bytes <= BUDGET
        });
        for number in 0..20 {
            let mut client = Client::to(&service);
            client.send(upload("/digest", content.len()));
            client.try_send(&content);
            assert_eq!(client.reply(), ok(&digest(&content)), "{number}");
        }
        eventually("the budget is kept", || service.gauges().waiting_bytes <= BUDGET);
        drop(silent);
    }

    fn a_layer_refuses_by_the_head_before_the_body(model) {
        let calls = Arc::new(AtomicUsize::new(0));
        let called = Arc::clone(&calls);
        let users = BasicAuth::check("uploads", move |name, _| {
            called.fetch_add(1, Ordering::Relaxed);
            name == "alice"
        });
        let digest_of = post(digested).body_len_max(1 << 30);
        let router = Router::new()
            .route("/digest", digest_of)
            .layer(users)
            .layer(RateLimit::new(1000, Duration::from_secs(1_000_000)))
            .layer(Cors::any_origin());
        let service = start(server(model).http(ANY, router));
        let head = |credentials: &str, size: usize| {
            let fields = format!(
                "Host: t\r\nOrigin: http://o\r\nExpect: 100-continue\r\nAuthorization: Basic {credentials}\r\n"
            );
            upload("/digest", size).replace("Host: t\r\n", &fields)
        };
        // "bob:" and "alice:"
        let mut client = Client::to(&service);
        client.send(head("Ym9iOg==", 500_000));
        let mut lines = Vec::new();
        while let Some(line) = client.line().filter(|line| !line.is_empty()) {
            lines.push(line.to_lowercase());
        }
        assert!(lines[0].contains(" 401 "), "no body is asked for: {lines:?}");
        let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
        assert!(has("access-control-allow-origin") && has("ratelimit-remaining"), "{lines:?}");
        assert!(has("connection: close"), "{lines:?}");
        assert_eq!(calls.swap(0, Ordering::Relaxed), 1);
        let content = content(500_000);
        let mut client = Client::to(&service);
        client.send(head("YWxpY2U6", content.len()));
        assert_eq!(client.line().as_deref(), Some("HTTP/1.1 100 Continue"));
        assert_eq!(client.line().as_deref(), Some(""));
        client.send(&content);
        let mut lines = Vec::new();
        while let Some(line) = client.line().filter(|line| !line.is_empty()) {
            lines.push(line.to_lowercase());
        }
        assert!(lines[0].contains(" 200 "), "{lines:?}");
        let left = lines.iter().find_map(|line| line.strip_prefix("ratelimit-remaining: "));
        assert_eq!(left, Some("998"), "each of the two requests has taken one: {lines:?}");
        assert_eq!(calls.load(Ordering::Relaxed), 1, "a password is checked once");
    }

    fn a_drain_waits_for_a_body_that_is_half_way(model) {
        let service = start(server(model).http(ANY, web()));
        let content = content(200_000);
        let mut client = Client::to(&service);
        client.send(upload("/digest", content.len()));
        client.send(&content[..100_000]);
        eventually("it waits", || service.gauges().waiting_bytes > 0);
        let drain = std::thread::spawn(move || service.drain());
        client.send(&content[100_000..]);
        let reply = client.reply();
        assert_eq!((reply.status, reply.body), (200, digest(&content)));
        let drained = drain.join().expect("the drain");
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
    }
}

#[test]
fn streamed_bodies_have_half_of_the_pool_and_the_others_wait_without_a_thread() {
    for model in [Model::Adaptive, Model::Pool] {
        let router = Router::new()
            .route("/digest", post(read_once).streamed())
            .route("/blocking", get(|| "done").hint(Hint::Blocking));
        let service = start(server(model).pool_threads(4).http(ANY, router));
        let content = content(100_000);
        let mut clients: Vec<_> = (0..6).map(|_| Client::to(&service)).collect();
        for client in &mut clients {
            client.send(upload("/digest", content.len()));
            client.send(&content[..50_000]);
        }
        eventually("half of the pool reads", || service.gauges().streamed == 2);
        eventually("the others wait", || service.gauges().calls_parked == 4);
        eventually("without a thread", || service.gauges().pool_busy == 2);
        assert_eq!(Client::to(&service).get("/blocking"), ok("done"));
        // One that goes away while it waits frees nothing and holds nothing.
        drop(clients.pop());
        for client in &mut clients {
            client.send(&content[50_000..]);
        }
        for client in &mut clients {
            assert_eq!(client.reply(), ok(&digest(&content)));
        }
        eventually("all places are free", || {
            let gauges = service.gauges();
            (gauges.streamed, gauges.calls_parked) == (0, 0)
        });
    }
}

/// Reads a body twice, in both ways, and says whether there was one the second time.
fn read_twice(request: &Request<'_>) -> Result<String, BodyError> {
    let first = request.bytes()?;
    let mut read = Vec::new();
    let by_reader = request.reader().read_to_end(&mut read).map_err(|error| BodyError::of(&error));
    assert_eq!(by_reader.is_err(), request.bytes() == Err(BodyError::Consumed));
    let second = match by_reader {
        Ok(_) => "again".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    Ok(format!("{} bytes of {:?}: {second}", first.len(), request.content_length()))
}

every_model! {
    fn a_streamed_body_comes_once_however_it_arrives(model) {
        let router = Router::new().route("/twice", post(read_twice).streamed());
        let service = start(server(model).http(ANY, router));
        let head = "POST /twice HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (pieces, length) in [
            ([upload("/twice", 5) + "abcde", String::new()], "Some(5)"),
            ([upload("/twice", 5) + "ab", "cde".to_owned()], "Some(5)"),
            ([head.to_owned() + "5\r\nabcde\r\n0\r\n\r\n", String::new()], "None"),
            ([head.to_owned() + "5\r\nabcde\r\n", "0\r\n\r\n".to_owned()], "None"),
            ([head.to_owned() + "2\r\nab\r\n", "3\r\ncde\r\n0\r\n\r\n".to_owned()], "None"),
        ] {
            let mut client = Client::to(&service);
            pieces.iter().for_each(|piece| client.send(piece));
            assert_eq!(client.reply(), ok(&format!("5 bytes of {length}: Some(Consumed)")));
        }
    }
}

/// Counts how often it is asked before the body, and with it.
#[derive(Clone, Default)]
struct Asked(Arc<(AtomicUsize, AtomicUsize)>);

impl Middleware for Asked {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        self.0.1.fetch_add(1, Ordering::Relaxed);
        next.run(request)
    }

    fn before_body(&self, _: &Request<'_>) -> BeforeBody {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        BeforeBody::Pass
    }
}

every_model! {
    fn layers_of_a_streamed_route_are_asked_before_only_where_its_body_is_received(model) {
        let before = usize::from(model == Model::EventLoop);
        for expects in [false, true] {
            let asked = Asked::default();
            let router = Router::new()
                .route("/digest", post(read_once).streamed())
                .layer(asked.clone());
            let service = start(server(model).http(ANY, router));
            let content = content(if expects { 500 } else { 100_000 });
            let mut client = Client::to(&service);
            if expects {
                let fields = "Host: t\r\nExpect: 100-continue\r\n";
                client.send(upload("/digest", content.len()).replace("Host: t\r\n", fields));
                assert_eq!(client.line().as_deref(), Some("HTTP/1.1 100 Continue"));
                assert_eq!(client.line().as_deref(), Some(""));
            } else {
                client.send(upload("/digest", content.len()));
            }
            client.send(&content);
            assert_eq!(client.reply(), ok(&digest(&content)));
            let (asked_before, handled) = &*asked.0;
            let seen = (asked_before.load(Ordering::Relaxed), handled.load(Ordering::Relaxed));
            assert_eq!(seen, (before, 1), "expects: {expects}");
        }
    }

    fn layers_of_a_streamed_route_are_asked_about_what_has_come_with_its_head_likewise(model) {
        let asked = Asked::default();
        let router =
            Router::new().route("/digest", post(read_once).streamed()).layer(asked.clone());
        let service = start(server(model).http(ANY, router));
        let content = content(500);
        let mut client = Client::to(&service);
        let fields = "Host: t\r\nExpect: 100-continue\r\n";
        let head = upload("/digest", content.len()).replace("Host: t\r\n", fields);
        client.send([head.as_bytes(), &content].concat());
        assert_eq!(client.reply(), ok(&digest(&content)));
        let (asked_before, handled) = &*asked.0;
        let seen = (asked_before.load(Ordering::Relaxed), handled.load(Ordering::Relaxed));
        assert_eq!(seen, (usize::from(model == Model::EventLoop), 1));
    }
}

/// Reads a body that comes once.
fn read_once(request: &Request<'_>) -> Result<String, BodyError> {
    request.bytes().map(|body| digest(&body))
}

#[test]
fn a_full_pool_refuses_a_received_body_and_keeps_its_connection() {
    let gate = Arc::new(Gate::default());
    let reached = Arc::clone(&gate);
    let router = Router::new().post("/digest", digested).get("/stuck", move || reached.wait());
    let settings = |settings: &mut threadline::Settings| settings.pool_queue_max = 1;
    let server = server(Model::Pool).pool_threads(1).settings(settings);
    let service = start(server.http(ANY, router));
    let mut stuck: Vec<_> = (0..2).map(|_| Client::to(&service)).collect();
    for client in &mut stuck {
        client.send("GET /stuck HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    gate.await_arrivals(1);
    eventually("the queue is full", || service.gauges().pool_queue == 1);
    let content = content(1000);
    let mut client = Client::to(&service);
    client.send(upload("/digest", content.len()));
    client.send(&content);
    let reply = client.reply();
    assert_eq!((reply.status, reply.closes), (503, false));
    gate.open();
    eventually("there is room", || service.gauges().pool_queue == 0);
    client.send(upload("/digest", content.len()));
    client.send(&content);
    assert_eq!(client.reply(), ok(&digest(&content)));
}

#[cfg(feature = "multipart")]
mod forms {
    use super::*;
    use threadline::http::multipart::{Multipart, MultipartError, Spooled};

    const LARGE: usize = 400_000;

    /// Puts every part aside, and looks at them when the whole form is read.
    fn spooled(mut form: Multipart<'_>) -> Result<String, MultipartError> {
        let mut parts: Vec<(String, Spooled)> = Vec::new();
        while let Some(part) = form.next_part()? {
            let name = part.name().to_owned();
            parts.push((name, part.spool()?));
        }
        let mut told = String::new();
        for (name, mut part) in parts {
            let mut bytes = Vec::new();
            part.read_to_end(&mut bytes).expect("it is here");
            assert_eq!((part.len(), part.path()), (bytes.len() as u64, None), "nothing is copied");
            let saved = tempfile::tempdir().expect("a directory");
            let path = saved.path().join("part");
            part.save_to(&path).expect("saved");
            assert!(std::fs::read(&path).expect("the file") == bytes);
            told.push_str(&format!("{name}: {}\n", digest(&bytes)));
        }
        Ok(told)
    }

    every_model! {
        fn parts_stay_in_the_file_of_their_body(model) {
            let dir = tempfile::tempdir().expect("a directory");
            let router = Router::new().post("/", spooled);
            let service = start(with_files(model, dir.path()).http(ANY, router));
            let (large, small) = (content(LARGE), b"small\r\n--not the boundary".to_vec());
            let (mut body, mut expected) = (Vec::new(), String::new());
            for (name, content) in [("a", &large), ("b", &small), ("empty", &Vec::new()), ("c", &large)] {
                let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
                body.extend(head.into_bytes());
                body.extend(content);
                body.extend(b"\r\n");
                expected.push_str(&format!("{name}: {}\n", digest(content)));
            }
            body.extend(b"--b--\r\n");
            let mut client = Client::to(&service);
            let fields = "Content-Type: multipart/form-data; boundary=b\r\nHost: t\r\n";
            client.send(upload("/", body.len()).replace("Host: t\r\n", fields));
            body.chunks(100_000).for_each(|piece| client.send(piece));
            assert_eq!(client.reply(), ok(&expected));
            assert_eq!(service.counts().bodies_in_files, 1);
            eventually("the file is gone", || service.gauges().body_files == 0);
        }
    }
}
