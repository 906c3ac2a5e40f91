//! Requests that are refused before a handler is called: what the layers see of them, and the form of errors.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::common::{ANY, Client, eventually, every_model, server, start};
use threadline::http::middleware::{AccessLog, Cors, LogFormat, RequestIds};
use threadline::http::{
    BodyError, Deferred, Form, FrameworkError, Header, HttpSettings, Json, Next, Path, Query,
    Request, Response, Router, Status, post,
};
use threadline::http::{FromHeader, get};
use threadline::{Model, Running, Timeouts};

const APP: &str = "https://app.example.org";

/// The lines of an access log.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn find(&self, request_id: &str) -> Option<Value> {
        let text = String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut of_it = lines.filter(|line| line["request_id"] == request_id);
        let line = of_it.next();
        assert!(of_it.next().is_none(), "one line for each request: {text}");
        line
    }

    /// The line of a request, once it is written.
    pub(crate) fn line(&self, request_id: &str) -> Value {
        let mut line = None;
        eventually("it is logged", || {
            line = self.find(request_id);
            line.is_some()
        });
        line.expect("a line")
    }
}

/// A reply, read to the connection's end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn of(service: &Running, request: &[u8]) -> Reply {
        let mut client = Client::to(service);
        client.send(request);
        Reply::read(&client)
    }

    fn read(client: &Client) -> Reply {
        let mut bytes = Vec::new();
        client.stream().read_to_end(&mut bytes).expect("a reply and a close");
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head[9..12].parse().expect("a status");
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn quick() -> HttpSettings {
    let short = Some(Duration::from_millis(200));
    let timeouts = Timeouts { head: short, body: short, deferred: short, ..Timeouts::default() };
    HttpSettings::default().timeouts(timeouts)
}

/// A service with layers, its log, and how often a handler was called.
fn layered(model: Model) -> (Running, Log, Arc<AtomicUsize>) {
    let (log, calls) = (Log::default(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&calls);
    let take = move |_: Vec<u8>| {
        counted.fetch_add(1, Ordering::Relaxed);
        "taken"
    };
    // Reads the body before the handler does.
    let peek = |request: &Request<'_>, next: Next<'_>| -> Result<Response, BodyError> {
        let len = request.bytes()?.len();
        Ok(next.run(request).with_header("x-peeked", len.to_string()))
    };
    let guard = |_: &Request<'_>, _: Next<'_>| Status::UNAUTHORIZED;
    let router = Router::new()
        .route("/small", post(take.clone()).body_len_max(10))
        .route("/peeked", post(take.clone()).body_len_max(10).layer(peek))
        .route("/guarded", post(take).body_len_max(10).layer(guard))
        .layer(Cors::origins([APP]))
        .layer(AccessLog::to(log.clone(), LogFormat::Json))
        .layer(RequestIds::new())
        .settings(quick());
    (start(server(model).http(ANY, router)), log, calls)
}

fn to(path: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: t\r\nOrigin: {APP}\r\n{fields}\r\n{body}").into_bytes()
}

/// Bodies that are refused: the path, fields and content, and the status.
const BODIES: [(&str, &str, &str, u16); 9] = [
    ("/small", "Content-Length: 11\r\n", "01234567890", 413),
    ("/small", "Content-Length: 1000000\r\n", "", 413),
    ("/small", "Content-Length: 11\r\nExpect: 100-continue\r\n", "", 413),
    ("/small", "Transfer-Encoding: chunked\r\n", "b\r\n01234567890\r\n0\r\n\r\n", 413),
    ("/small", "Transfer-Encoding: chunked\r\n", "x\r\n", 400),
    ("/small", "Expect: tea\r\n", "", 417),
    ("/small", "Expect: tea\r\nContent-Length: 3\r\n", "", 417),
    ("/peeked", "Content-Length: 11\r\n", "01234567890", 413),
    ("/guarded", "Content-Length: 11\r\n", "01234567890", 401),
];

/// Heads that are refused, and the status.
const HEADS: [(&str, u16); 7] = [
    ("GET / HTTP/1.1\r\nHost: t\r\nbad name: x\r\n\r\n", 400),
    ("nonsense\r\n\r\n", 400),
    ("GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("GET /{long} HTTP/1.1\r\nHost: t\r\n\r\n", 414),
    ("GET /x?secret HTTP/1.1\r\nHost: t\r\nx: {long}{long}{long}\r\n\r\n", 431),
    ("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    ("GET / HTTP/3.0\r\nHost: t\r\n\r\n", 505),
];

fn head(text: &str) -> Vec<u8> {
    text.replace("{long}", &"a".repeat(8192)).into_bytes()
}

/// The form of errors in these tests.
fn form(error: &FrameworkError) -> Response {
    let field = error.field().unwrap_or("-");
    let (code, kind, reason) = (error.status().code(), error.kind().name(), error.reason());
    Response::text(format!("{code} {kind} {field} {}", !reason.is_empty()))
        .with_header("x-form", "own")
}

#[derive(serde::Deserialize)]
struct Order {
    #[allow(dead_code)]
    pieces: Vec<u32>,
}

struct Token;

impl FromHeader for Token {
    const NAME: &'static str = "x-token";
    type Error = &'static str;

    fn from_header(_: &str) -> Result<Self, &'static str> {
        Ok(Token)
    }
}

/// Everything that can go wrong, with a hook for the form of errors.
fn formed(model: Model) -> Running {
    let router = Router::new()
        .get("/path/{id}", |Path(id): Path<u32>| id.to_string())
        .get("/query", |Query(Order { .. }): Query<Order>| "fine")
        .get("/header", |Header(_): Header<Token>| "fine")
        .post("/json", |Json(Order { .. }): Json<Order>| "fine")
        .post("/form", |Form(Order { .. }): Form<Order>| "fine")
        .post("/text", |text: String| text)
        .get("/none", || None::<&'static str>)
        .get("/status", || Status::CONFLICT)
        .get("/panics", || -> &'static str { panic!("as the test wants") })
        .get("/interim", || Response::new(Status::EARLY_HINTS))
        .get("/fails", || Err::<&'static str, _>(io::Error::other("as the test wants")))
        .get("/never", || Deferred::new(drop))
        .get("/late", || {
            Deferred::new(|reply| {
                thread::spawn(move || reply.send(Status::CONFLICT));
            })
        })
        .get("/own", || Response::error(Status::GONE, "mine"))
        .route("/small", get(|| "fine").post(|_: Vec<u8>| "fine").body_len_max(3))
        .errors(form)
        .settings(quick());
    start(server(model).http(ANY, router))
}

const FORMED: [(&str, &str, &str, &str); 22] = [
    ("GET /path/x", "", "", "400 path id true"),
    ("GET /query?pieces=x", "", "", "400 query pieces[0] true"),
    ("GET /header", "", "", "400 header x-token true"),
    (
        "POST /json",
        "Content-Type: application/json\r\nContent-Length: 12\r\n",
        "{\"pieces\":[1",
        "400 json - true",
    ),
    (
        "POST /json",
        "Content-Type: application/json\r\nContent-Length: 17\r\n",
        "{\"pieces\":[1,{}]}",
        "422 json pieces[1] true",
    ),
    ("POST /json", "Content-Length: 2\r\n", "{}", "415 media-type - true"),
    (
        "POST /form",
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 8\r\n",
        "pieces=x",
        "422 form pieces[0] true",
    ),
    ("POST /text", "Content-Length: 1\r\n", "\u{7f}", ""),
    ("GET /nowhere", "", "", "404 not-found - true"),
    ("PUT /small", "", "", "405 method-not-allowed - true"),
    ("TEA /small", "", "", "501 unknown-method - true"),
    ("POST /small", "Content-Length: 4\r\n", "", "413 body-too-large - true"),
    ("POST /small", "Transfer-Encoding: chunked\r\n", "x\r\n", "400 malformed-body - true"),
    ("POST /small", "Expect: tea\r\n", "", "417 expectation-failed - true"),
    ("POST /small", "Content-Length: 3\r\n", "", "408 request-timed-out - true"),
    ("GET /none", "", "", "404 not-found - true"),
    ("GET /status", "", "", "409 status - true"),
    ("GET /panics", "", "", "500 internal - true"),
    ("GET /interim", "", "", "500 internal - true"),
    ("GET /fails", "", "", "500 internal - true"),
    ("GET /never", "", "", "500 internal - true"),
    ("GET /late", "", "", "409 status - true"),
];

every_model! {
    fn a_body_that_is_refused_passes_through_the_layers_of_its_route(model) {
        let (service, log, calls) = layered(model);
        for (path, fields, body, status) in BODIES {
            let reply = Reply::of(&service, &to(path, fields, body));
            assert_eq!(reply.status, status, "{path} {fields:?}: {reply:?}");
            assert_eq!(reply.field("connection"), Some("close"), "{reply:?}");
            assert_eq!(reply.field("access-control-allow-origin"), Some(APP), "{reply:?}");
            let line = log.line(reply.field("x-request-id").expect("an id"));
            assert_eq!((&line["status"], &line["path"]), (&status.into(), &path.into()));
            assert_eq!(line["route"], format!("POST {path}"));
            assert!(line["peer"].is_string(), "{line}");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 0, "no handler has run");
        let counts = service.counts();
        assert_eq!(counts.too_large_bodies, 6, "the guarded one included: {counts:?}");
        let fine = Reply::of(&service, &to("/peeked", "Connection: close\r\nContent-Length: 3\r\n", "abc"));
        assert_eq!((fine.status, fine.field("x-peeked")), (200, Some("3")));
    }

    fn a_head_that_is_refused_is_named_and_logged(model) {
        let (service, log, _) = layered(model);
        for (text, status) in HEADS {
            let reply = Reply::of(&service, &head(text));
            assert_eq!(reply.status, status, "{text:?}: {reply:?}");
            let line = log.line(reply.field("x-request-id").expect("an id"));
            assert_eq!(line["status"], status, "{line}");
            assert!(line["peer"].is_string(), "{line}");
            if text.starts_with("GET ") {
                assert_eq!(line["method"], "GET", "{line}");
                assert!(line["path"].as_str().expect("a path").starts_with('/'), "{line}");
            }
        }
        // Cut off.
        let mut client = Client::to(&service);
        client.send("GET /half HT");
        client.stream().shutdown(std::net::Shutdown::Write).expect("open");
        let reply = Reply::read(&client);
        assert_eq!(reply.status, 400);
        assert_eq!(log.line(reply.field("x-request-id").expect("an id"))["path"], "/half");
    }

    fn a_request_that_comes_too_slowly_is_told_to_the_layers(model) {
        let (service, log, calls) = layered(model);
        let reply = Reply::of(&service, &to("/small", "Content-Length: 9\r\n", "abc"));
        assert_eq!((reply.status, reply.field("access-control-allow-origin")), (408, Some(APP)));
        let line = log.line(reply.field("x-request-id").expect("an id"));
        assert_eq!((&line["status"], &line["route"]), (&408.into(), &"POST /small".into()));
        let reply = Reply::of(&service, b"GET /slow HTTP/1.1\r\nHo");
        assert_eq!((reply.status, reply.field("access-control-allow-origin")), (408, None));
        assert_eq!(log.line(reply.field("x-request-id").expect("an id"))["path"], "/slow");
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }

    fn one_hook_decides_the_form_of_every_error(model) {
        let service = formed(model);
        for (line, fields, body, expected) in FORMED {
            let request = format!("{line} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{fields}\r\n{body}");
            let reply = Reply::of(&service, request.as_bytes());
            if expected.is_empty() {
                assert_eq!((reply.status, reply.field("x-form")), (200, None), "{line}: {reply:?}");
                continue;
            }
            assert_eq!(reply.body, expected, "{line}: {reply:?}");
            assert_eq!(reply.field("x-form"), Some("own"), "{line}: {reply:?}");
            assert!(expected.starts_with(&reply.status.to_string()), "{line}: {reply:?}");
        }
        for (text, status) in HEADS {
            let reply = Reply::of(&service, &head(text));
            assert_eq!((reply.status, reply.field("x-form")), (status, Some("own")), "{text:?}");
        }
        let request = b"POST /text HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 1\r\n\r\n\xff";
        assert_eq!(Reply::of(&service, request).body, "400 text - true");
        let allowed = Reply::of(&service, b"PUT /small HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        assert!(allowed.field("allow").is_some(), "{allowed:?}");
        let own = Reply::of(&service, b"GET /own HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        assert_eq!((own.field("x-form"), &*own.body), (None, "410 Gone: mine\n"));
    }
}
