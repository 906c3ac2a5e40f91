//! The ready-made layers around a response that comes later: what they say of it is what they would have said
//! of the same response at once.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use threadline_http::middleware::{
    AccessLog, ConcurrencyLimit, Cors, Etag, LogFormat, RequestIds, SecurityHeaders, TimeLimit,
};
use threadline_http::testing::{TestClient, TestResponse};
use threadline_http::{
    Deferred, IntoResponse, Next, OwnedRequest, Problems, Request, Response, Router, Status,
};

/// The same, now and later.
fn reply() -> Response {
    Response::text("some text that is long enough ".repeat(100))
        .with_header("x-frame-options", "SAMEORIGIN")
        .with_header("vary", "accept-language")
}

fn later() -> Deferred {
    Deferred::new(|reply| {
        thread::spawn(move || reply.send(self::reply()));
    })
}

fn client(layered: impl Fn(Router) -> Router) -> TestClient {
    let router = Router::new().get("/now", reply).get("/later", later);
    TestClient::new(layered(router)).expect("a router")
}

/// What the layers under test say.
const FIELDS: [&str; 8] = [
    "access-control-allow-origin",
    "access-control-expose-headers",
    "content-encoding",
    "content-length",
    "etag",
    "vary",
    "x-content-type-options",
    "x-frame-options",
];

fn said(response: &TestResponse) -> (Status, [Vec<String>; 8], Vec<u8>) {
    let all = |name| response.all_headers(name).map(str::to_owned).collect();
    (response.status(), FIELDS.map(all), response.bytes().to_vec())
}

fn both_say_the_same(client: &TestClient, fields: &[(&str, &str)]) -> TestResponse {
    let get = |path| {
        let request = client.get(path).header("origin", "https://a.example");
        fields.iter().fold(request, |request, (name, value)| request.header(name, value)).send()
    };
    let (now, later) = (get("/now"), get("/later"));
    assert_eq!(said(&now), said(&later));
    later
}

#[test]
fn headers_and_validators_are_the_same() {
    let client = client(|router| {
        router
            .layer(Etag::new())
            .layer(TimeLimit::new(Duration::from_secs(3600)))
            .layer(ConcurrencyLimit::new(4))
            .layer(Cors::origins(["https://a.example"]).expose(["etag"]))
            .layer(SecurityHeaders::new())
            .layer(RequestIds::new())
    });
    let reply = both_say_the_same(&client, &[]);
    assert_eq!(reply.header("x-frame-options"), Some("SAMEORIGIN"));
    assert!(reply.header("x-request-id").is_some());
    let etag = reply.header("etag").expect("a validator").to_owned();
    let not_modified = both_say_the_same(&client, &[("if-none-match", &etag)]);
    assert_eq!(not_modified.status(), Status::NOT_MODIFIED);
}

#[cfg(feature = "gzip")]
#[test]
fn it_is_compressed_as_well() {
    use threadline_http::middleware::Compression;

    let client = client(|router| router.layer(Etag::new()).layer(Compression::new()));
    let reply = both_say_the_same(&client, &[("accept-encoding", "gzip")]);
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    both_say_the_same(&client, &[]);
}

#[test]
fn a_body_that_a_layer_sets_is_that_of_the_reply() {
    let swap = |request: &Request<'_>, next: Next<'_>| next.run(request).with_body("swapped");
    let client = client(|router| router.layer(swap));
    assert_eq!(both_say_the_same(&client, &[]).text(), "swapped");
}

#[test]
fn an_error_has_the_form_that_the_layers_give_it() {
    let missing = || Response::error(Status::NOT_FOUND, "no such note");
    let later = move || Deferred::new(move |reply| drop(reply.send(missing())));
    let router = Router::new().get("/now", missing).get("/later", later);
    let client = TestClient::new(router.layer(Problems::new())).expect("a router");
    let problem = both_say_the_same(&client, &[("accept", "application/json")]);
    assert!(problem.text().contains("no such note"), "{}", problem.text());
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    both_say_the_same(&client, &[]);
}

#[test]
fn what_cannot_be_sent_and_what_panics_is_a_500_for_the_layers_around() {
    let switching = || Deferred::new(|reply| drop(reply.send(Response::new(Status::CONTINUE))));
    let inner = |request: &Request<'_>, next: Next<'_>| {
        next.run(request).when_ready(|_| panic!("as the test wants"))
    };
    let seen = |request: &Request<'_>, next: Next<'_>| {
        next.run(request).when_ready(|reply| {
            let status = reply.status().code().to_string();
            reply.set_header("x-status", status);
        })
    };
    for router in [
        Router::new().get("/", switching),
        Router::new().nest("/", Router::new().get("/", later).layer(inner)),
    ] {
        let client = TestClient::new(router.layer(seen)).expect("a router");
        let reply = client.get("/").send();
        assert_eq!(reply.status(), Status::INTERNAL_SERVER_ERROR);
        assert_eq!(reply.header("x-status"), Some("500"));
    }
}

#[test]
fn a_place_is_held_until_the_reply_is_there() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let hold = Arc::clone(&held);
    let asked = Arc::new(Mutex::new(0));
    let handler = move || {
        let hold = Arc::clone(&hold);
        Deferred::new(move |reply| hold.lock().expect("no panic").push(reply))
    };
    let count = Arc::clone(&asked);
    let counted = move |request: &Request<'_>, next: Next<'_>| {
        let response = next.run(request);
        *count.lock().expect("no panic") += usize::from(response.is_deferred());
        response
    };
    let router = Router::new().get("/", handler).layer(ConcurrencyLimit::new(1)).layer(counted);
    let client = Arc::new(TestClient::new(router).expect("a router"));
    let first = {
        let client = Arc::clone(&client);
        thread::spawn(move || client.get("/").send().text().to_owned())
    };
    while held.lock().expect("no panic").is_empty() {
        thread::yield_now();
    }
    assert_eq!(client.get("/").send().status(), Status::SERVICE_UNAVAILABLE);
    let reply = held.lock().expect("no panic").pop().expect("held");
    reply.send("done").expect("awaited");
    assert_eq!(first.join().expect("thread"), "done");
    assert_eq!(*asked.lock().expect("no panic"), 1);
}

#[test]
fn it_is_logged_once_and_as_it_is_sent() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let created = || Deferred::new(|reply| drop(reply.send((Status::CREATED, "four"))));
    let log = AccessLog::to(lines.clone(), LogFormat::Common);
    let client = TestClient::new(Router::new().post("/notes", created).layer(log));
    client.expect("a router").post("/notes?draft").send();
    let lines = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
    assert!(lines.ends_with("\"POST /notes?draft HTTP/1.1\" 201 4\n"), "{lines}");
    assert_eq!(lines.lines().count(), 1);
}

#[test]
fn a_layer_can_finish_a_request_on_another_thread() {
    let elsewhere = |request: &Request<'_>, next: Next<'_>| -> Response {
        let (request, next): (Result<OwnedRequest, _>, _) = (request.to_owned(), next.to_owned());
        let request = match request {
            Ok(request) => request,
            Err(error) => return error.into_response(),
        };
        Deferred::new(move |reply| {
            thread::spawn(move || reply.send(next.run(&request.as_request())));
        })
        .into_response()
    };
    let thread_name = || thread::current().name().map_or("unnamed", |_| "named").to_owned();
    let router = Router::new()
        .post("/echo", |body: String| body)
        .get("/thread", thread_name)
        // Deferred once more, on the other thread.
        .get("/later", later)
        .layer(SecurityHeaders::new())
        .layer(elsewhere)
        .layer(Etag::new());
    let client = TestClient::new(router).expect("a router");
    assert_eq!(client.post("/echo").body("snail").send().text(), "snail");
    assert_eq!(client.get("/thread").send().text(), "unnamed");
    let later = client.get("/later").send();
    assert_eq!(later.header("x-content-type-options"), Some("nosniff"));
    assert!(later.header("etag").is_some());
    assert_eq!(later.text().len(), 3000);
}
