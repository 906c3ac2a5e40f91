//! Middleware, state and nested routers, over sockets.

use std::sync::{Arc, Mutex};

use crate::common::{ANY, Client, every_model, server, start};
use crate::http_client::ok;
use threadline::http::{Extension, Next, Path, Request, Response, Router, State, Status};

type Log = Arc<Mutex<Vec<String>>>;

/// Notes each request on its way in and out.
fn noting(name: &'static str, log: Log) -> impl Fn(&Request<'_>, Next<'_>) -> Response {
    move |request, next| {
        log.lock().expect("lock").push(format!("{name} > {}", request.route()));
        let response = next.run(request);
        log.lock().expect("lock").push(format!("{name} < {}", response.status().code()));
        response
    }
}

every_model! {
    fn layers_are_around_routes_in_order_and_around_what_has_none(model) {
        let log = Log::default();
        let inner = Router::new()
            .get("/{id}", |Path(id): Path<u32>| id.to_string())
            .layer(noting("inner", Arc::clone(&log)));
        let router = Router::new()
            .get("/", || "front")
            .nest("/users", inner)
            .layer(noting("outer", Arc::clone(&log)));
        let service = start(server(model).http(ANY, router));
        let mut client = Client::to(&service);
        let mut seen = |path: &str| {
            let reply = client.get(path);
            (reply.status, std::mem::take(&mut *log.lock().expect("lock")))
        };
        assert_eq!(seen("/"), (200, vec!["outer > GET /".into(), "outer < 200".into()]));
        let nested = ["outer > GET /users/{id}", "inner > GET /users/{id}", "inner < 200", "outer < 200"];
        assert_eq!(seen("/users/7"), (200, nested.map(String::from).to_vec()));
        assert_eq!(seen("/nothing"), (404, vec!["outer > no route".into(), "outer < 404".into()]));
    }

    fn middleware_may_answer_itself_and_leave_values(model) {
        #[derive(Clone)]
        struct User(String);
        let guard = |request: &Request<'_>, next: Next<'_>| match request.header("x-user") {
            Some(user) => {
                request.extensions().insert(User(user.to_owned()));
                next.run(request)
            }
            None => Response::error(Status::UNAUTHORIZED, "who are you?"),
        };
        let hello = |Extension(User(name)): Extension<User>, State(greeting): State<&'static str>| {
            format!("{greeting}, {name}")
        };
        let router = Router::new().state("hello").get("/", hello).layer(guard);
        let service = start(server(model).http(ANY, router));
        let mut client = Client::to(&service);
        assert_eq!(client.get("/").status, 401);
        client.send("GET / HTTP/1.1\r\nHost: t\r\nX-User: ada\r\n\r\n");
        assert_eq!(client.reply(), ok("hello, ada"));
    }
}
