//! Panics of handlers and layers, over sockets: the 500 passes through the layers further out, and ends its own
//! connection at most.

use std::thread;

use crate::common::{ANY, Client, every_model, server, start};
use crate::http_client::ok;
use crate::http_refusals::{Log, Reply};
use threadline::Model;
use threadline::http::middleware::{AccessLog, CatchPanic, Cors, LogFormat, RequestIds};
use threadline::http::{
    BeforeBody, Deferred, FrameworkError, Middleware, Next, Request, Response, Router, get, post,
};

/// A layer that panics before it calls the handler.
fn going(_: &Request<'_>, _: Next<'_>) -> Response {
    panic!("as the test wants")
}

/// A layer that panics when it has called the handler.
fn coming(request: &Request<'_>, next: Next<'_>) -> Response {
    let _ = next.run(request);
    panic!("as the test wants")
}

/// A layer that panics when the response is there.
fn ready(request: &Request<'_>, next: Next<'_>) -> Response {
    next.run(request).when_ready(|_| panic!("as the test wants"))
}

/// Panics when it is asked before the body is received.
struct Before;

impl Middleware for Before {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        next.run(request)
    }

    fn before_body(&self, _: &Request<'_>) -> BeforeBody {
        panic!("as the test wants")
    }
}

fn routes() -> Router {
    let panics = || -> &'static str { panic!("as the test wants") };
    let later = || {
        Deferred::new(|reply| {
            thread::spawn(move || reply.send("later"));
        })
    };
    let unread = |_: &Request<'_>| -> &'static str { panic!("as the test wants") };
    Router::new()
        .get("/fine", || "fine")
        .get("/handler", panics)
        .get("/begin", || Deferred::new(|_reply| panic!("as the test wants")))
        .route("/going", get(|| "fine").layer(going))
        .route("/coming", get(|| "fine").layer(coming))
        .route("/ready", get(|| "fine").layer(ready))
        .route("/late", get(later).layer(ready))
        .route("/taken", post(unread))
        .route("/small", post(|_: Vec<u8>| "fine").body_len_max(3).layer(coming))
        .route("/asked", post(|_: Vec<u8>| "fine").body_len_max(1 << 20).layer(Before))
        .route("/streamed", post(unread).body_len_max(1 << 20).streamed())
        .nest("/nested", Router::new().get("/known", || "fine").layer(going))
}

/// Method, path, declared length and what is sent of it.
const REQUESTS: [(&str, &str, usize, usize); 13] = [
    ("GET", "/handler", 0, 0),
    ("GET", "/begin", 0, 0),
    ("GET", "/going", 0, 0),
    ("GET", "/coming", 0, 0),
    ("GET", "/ready", 0, 0),
    ("GET", "/late", 0, 0),
    ("POST", "/taken", 10, 10),
    ("POST", "/taken", 100_000, 100_000),
    ("POST", "/small", 4, 0),
    ("POST", "/asked", 100_000, 0),
    ("POST", "/streamed", 100_000, 10),
    ("POST", "/streamed", 100_000, 100_000),
    ("PUT", "/nested/known", 0, 0),
];

fn request((method, path, len, sent): (&str, &str, usize, usize)) -> Vec<u8> {
    let fields = "Host: t\r\nOrigin: https://app.example.org\r\nConnection: close\r\n";
    let head = format!("{method} {path} HTTP/1.1\r\n{fields}Content-Length: {len}\r\n\r\n");
    [head.into_bytes(), vec![b'x'; sent]].concat()
}

every_model! {
    fn the_500_of_a_panic_passes_through_the_layers(model) {
        let log = Log::default();
        let form = |error: &FrameworkError| Response::text(error.kind().name());
        let router = routes()
            .layer(Cors::any_origin())
            .layer(AccessLog::to(log.clone(), LogFormat::Json))
            .layer(RequestIds::new())
            .errors(form);
        let service = start(server(model).http(ANY, router));
        let counted = || service.routes().iter().map(|route| route.panics()).sum::<u64>();
        for (method, path, len, sent) in REQUESTS {
            // There the handler is called when the body is whole.
            let sent = if path == "/streamed" && model == Model::EventLoop { len } else { sent };
            let (one, before) = ((method, path, len, sent), counted());
            let reply = Reply::of(&service, &request(one));
            assert_eq!((reply.status, &*reply.body), (500, "internal"), "{one:?}: {reply:?}");
            assert_eq!(reply.field("access-control-allow-origin"), Some("*"), "{one:?}: {reply:?}");
            let id = reply.field("x-request-id").unwrap_or_else(|| panic!("{one:?}: no id"));
            let line = log.line(id);
            assert_eq!((&line["status"], &line["bytes"]), (&500.into(), &8.into()), "{line}");
            match path {
                // Answers without a route are counted for none that is listed.
                "/nested/known" => assert_eq!(counted(), before),
                _ => assert_eq!(counted(), before + 1, "{one:?}"),
            }
        }
        assert_eq!(Client::to(&service).get("/fine"), ok("fine"));
        assert_eq!(service.counts().engine_panics, 0);
    }

    fn it_closes_its_connection_unless_it_is_caught(model) {
        let pass = |request: &Request<'_>, next: Next<'_>| next.run(request);
        let layers = [routes(), routes().layer(pass)];
        for router in layers {
            let service = start(server(model).http(ANY, router));
            for path in ["/handler", "/going", "/coming"] {
                let mut client = Client::to(&service);
                let reply = client.get(path);
                assert_eq!((reply.status, reply.closes), (500, true), "{path}");
                client.assert_closed();
            }
        }
        let caught = routes().layer(CatchPanic::new());
        let answer = CatchPanic::new().answer(|_, message| message.to_owned());
        let answered = routes().layer(pass).layer(answer);
        for (router, expected) in [(caught, None), (answered, Some(ok("as the test wants")))] {
            let service = start(server(model).http(ANY, router));
            let mut client = Client::to(&service);
            for path in ["/handler", "/going", "/coming"] {
                let reply = client.get(path);
                assert!(!reply.closes, "{path}: {reply:?}");
                match &expected {
                    Some(expected) => assert_eq!(reply, *expected),
                    None => assert_eq!(reply.status, 500),
                }
                assert_eq!(client.get("/fine"), ok("fine"));
            }
            if model == Model::EventLoop {
                // There the handler is called when the body is whole.
                continue;
            }
            // Of a body that nobody has read, what follows is not a request.
            let mut client = Client::to(&service);
            client.send("POST /streamed HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n");
            assert!(client.reply().closes);
        }
    }

    fn a_panic_of_the_outermost_layer_is_a_plain_500(model) {
        let service = start(server(model).http(ANY, Router::new().get("/", || "fine").layer(going)));
        let mut client = Client::to(&service);
        let reply = client.get("/");
        assert_eq!((reply.status, reply.closes), (500, true));
        assert_eq!(service.routes()[0].panics(), 1);
    }
}
