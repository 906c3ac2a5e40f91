//! A panic of a handler, or of a layer, is a 500 for the layers further out: it has what they add to every response.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use threadline_engine::Route;
use threadline_http::middleware::{AccessLog, CatchPanic, Cors, Etag, LogFormat, RequestIds};
use threadline_http::testing::{TestClient, TestResponse};
use threadline_http::{
    BeforeBody, Body, Deferred, FrameworkError, IntoResponse, Middleware, Next, Request, Response,
    Router, Status, get, post,
};

/// Lines of a log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().expect("sound"))).expect("UTF-8")
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("sound").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Panics wherever it is told to.
#[derive(Clone, Copy, PartialEq)]
enum Panics {
    Going,
    Coming,
    BeforeBody,
    WhenReady,
}

impl Middleware for Panics {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        assert!(*self != Panics::Going, "on purpose");
        let response = next.run(request);
        assert!(*self != Panics::Coming, "on purpose");
        let panics = *self == Panics::WhenReady;
        response.when_ready(move |_| assert!(!panics, "on purpose"))
    }

    fn before_body(&self, _: &Request<'_>) -> BeforeBody {
        assert!(*self != Panics::BeforeBody, "on purpose");
        BeforeBody::Pass
    }
}

fn fails() -> &'static str {
    panic!("on purpose")
}

struct Odd;

impl IntoResponse for Odd {
    fn into_response(self) -> Response {
        panic!("on purpose")
    }
}

/// Fails before it has given anything.
struct Broken;

impl io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("on purpose")
    }
}

fn layered(router: Router, lines: &Lines) -> Router {
    router
        .layer(Etag::new())
        .layer(Cors::any_origin())
        .layer(AccessLog::to(lines.clone(), LogFormat::Json))
        .layer(RequestIds::new())
}

fn routes() -> Router {
    let fine = || "fine";
    let later = || {
        Deferred::new(|reply| {
            thread::spawn(move || reply.send("later"));
        })
    };
    Router::new()
        .get("/handler", fails)
        .get("/value", || Odd)
        .get("/begin", || Deferred::new(|_reply| panic!("on purpose")))
        .route("/going", get(fine).layer(Panics::Going))
        .route("/coming", get(fine).layer(Panics::Coming))
        .route("/ready", get(fine).layer(Panics::WhenReady))
        .route("/late", get(later).layer(Panics::WhenReady))
        .route("/small", post(|_: Vec<u8>| "fine").body_len_max(3).layer(Panics::Coming))
        .route("/body", post(|_: Vec<u8>| "fine").body_len_max(1 << 20).layer(Panics::BeforeBody))
        .nest("/nested", Router::new().get("/known", fine).layer(Panics::Going))
}

/// What is sent, for each of the routes.
const REQUESTS: [(&str, &str, usize); 10] = [
    ("GET", "/handler", 0),
    ("GET", "/value", 0),
    ("GET", "/begin", 0),
    ("GET", "/going", 0),
    ("GET", "/coming", 0),
    ("GET", "/ready", 0),
    ("GET", "/late", 0),
    ("POST", "/small", 4),
    ("POST", "/body", 100_000),
    ("PUT", "/nested/known", 0),
];

fn send(client: &TestClient, (method, path, len): (&str, &str, usize)) -> TestResponse {
    let request = match method {
        "POST" => client.post(path).body(vec![b'x'; len]),
        "PUT" => client.put(path),
        _ => client.get(path),
    };
    request.header("origin", "https://app.example.org").send()
}

#[track_caller]
fn assert_passed(response: &TestResponse, log: &str, path: &str) {
    assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR, "{path}");
    assert_eq!(response.header("access-control-allow-origin"), Some("*"), "{path}: {response:?}");
    let id = response.header("x-request-id").unwrap_or_else(|| panic!("{path} has no id"));
    assert_eq!(log.lines().count(), 1, "{path}: {log}");
    for member in [
        format!("\"request_id\":\"{id}\""),
        "\"status\":500".to_owned(),
        format!("\"bytes\":{}", response.bytes().len()),
    ] {
        assert!(log.contains(&member), "{path}: {member} in {log}");
    }
}

#[test]
fn a_panic_anywhere_inside_is_a_500_that_passes_through_the_layers() {
    let lines = Lines::default();
    let service = layered(routes(), &lines).build().expect("routes");
    let counted: Vec<Arc<Route>> = service.routes().cloned().collect();
    let client = TestClient::of(service);
    for request in REQUESTS {
        let response = send(&client, request);
        assert_passed(&response, &lines.take(), request.1);
        let name = format!("{} {}", request.0, request.1);
        // What has no route is counted for none.
        if let Some(route) = counted.iter().find(|route| route.name() == name) {
            assert_eq!(route.panics(), 1, "{name}");
        }
        assert!(response.text().starts_with("500 Internal Server Error"), "{}", response.text());
        assert!(!response.text().contains("on purpose"));
    }
    assert_eq!(counted.iter().map(|route| route.panics()).sum::<u64>(), REQUESTS.len() as u64 - 1);
    // Around answers without a route.
    let router = Router::new().layer(Panics::Coming);
    let client = TestClient::new(layered(router, &lines)).expect("routes");
    assert_passed(&client.get("/nowhere").header("origin", "a").send(), &lines.take(), "404");
}

#[test]
fn it_has_the_form_that_the_hook_for_errors_gives_it() {
    let form = |error: &FrameworkError| Response::text(error.kind().name());
    let lines = Lines::default();
    let client = TestClient::new(layered(routes(), &lines).errors(form)).expect("routes");
    for request in REQUESTS {
        let response = send(&client, request);
        assert_passed(&response, &lines.take(), request.1);
        assert_eq!(response.text(), "internal", "{}", request.1);
    }
}

#[test]
fn one_that_is_caught_is_answered_by_its_message_however_many_layers_it_has_passed() {
    let pass = |request: &Request<'_>, next: Next<'_>| next.run(request).with_header("x-in", "1");
    let answer = |request: &Request<'_>, message: &str| {
        (Status::BAD_GATEWAY, format!("{} {message}", request.path()))
    };
    let form = |_: &FrameworkError| Response::text("formed");
    let router = routes().layer(pass).layer(pass).layer(CatchPanic::new().answer(answer));
    let client = TestClient::new(router.errors(form)).expect("routes");
    let response = client.get("/handler").send();
    assert_eq!((response.status(), response.text()), (Status::BAD_GATEWAY, "/handler on purpose"));
    assert_eq!(client.get("/coming").send().text(), "/coming on purpose");
    // A layer further in has answered by itself.
    let own = |request: &Request<'_>, next: Next<'_>| {
        let status = next.run(request).status();
        Response::text(format!("own {}", status.code()))
    };
    let router = routes().layer(own).layer(CatchPanic::new().answer(answer));
    let client = TestClient::new(router).expect("routes");
    assert_eq!(client.get("/handler").send().text(), "own 500");
}

#[test]
fn a_layer_may_try_again() {
    let tries = Mutex::new(0);
    let unsteady = move || {
        let mut tries = tries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *tries += 1;
        assert!(*tries > 1, "on purpose");
        "fine"
    };
    let retry = |request: &Request<'_>, next: Next<'_>| {
        let first = next.clone().run(request);
        if first.status().is_error() { next.run(request) } else { first }
    };
    let router = Router::new().get("/", unsteady).layer(retry).layer(CatchPanic::new());
    let client = TestClient::new(router).expect("routes");
    assert_eq!(client.get("/").send().text(), "fine");
}

#[test]
fn a_request_that_is_finished_on_another_thread_is_a_500_too() {
    let elsewhere = |request: &Request<'_>, next: Next<'_>| -> Response {
        let (request, next) = (request.to_owned().expect("a body"), next.to_owned());
        let thread = thread::spawn(move || next.run(&request.as_request()));
        thread.join().expect("the panic ends there")
    };
    let lines = Lines::default();
    let router = layered(routes().layer(elsewhere), &lines);
    let client = TestClient::new(router).expect("routes");
    let response = client.get("/handler").header("origin", "a").send();
    assert_passed(&response, &lines.take(), "/handler");
}

#[test]
fn content_that_panics_before_it_is_sent_leaves_what_scripts_need() {
    let broken = || Response::text("").with_body(Body::sized_reader(Broken, 5));
    let router = layered(Router::new().get("/", broken), &Lines::default());
    let client = TestClient::new(router).expect("routes");
    let response = client.get("/").header("origin", "a").send();
    assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR);
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    assert_eq!(response.header("connection"), Some("close"));
}
