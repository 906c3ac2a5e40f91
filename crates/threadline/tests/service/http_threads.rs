//! Requests on more threads than that of their handler.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::common::{ANY, Client, every_model, server, start};
use crate::http_client::ok;
use threadline::http::{
    Body, BodyError, BodySender, IntoResponse, Next, OwnedRequest, Path, Request, Response, Router,
    State, Status,
};
use threadline::pool::ThreadPool;
use threadline::{Address, Connection, Model, Running};

const THREADS: usize = 4;

/// Has the rest of each request answered by a pool, from an owned copy.
fn on(pool: ThreadPool) -> impl Fn(&Request<'_>, Next<'_>) -> Result<Response, BodyError> {
    move |request, next| {
        let (request, next) = (request.to_owned()?, next.to_owned());
        let task = pool.spawn(move || next.run(&request.as_request()));
        Ok(task.expect("room").join().expect("an answer"))
    }
}

/// Reads a body a piece at a time, and counts its bytes; 0 if another thread has it.
fn count(request: &Request<'_>) -> usize {
    let (mut reader, mut buffer, mut total) = (request.reader(), [0; 1000], 0);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return total,
            Ok(count) => total += count,
            Err(error) => {
                assert_eq!(BodyError::of(&error), Some(BodyError::Consumed));
                return 0;
            }
        }
    }
}

/// Sends a body in chunks from a thread of its own: it may be longer than what the sockets hold.
fn post(client: &mut Client, path: &str, size: usize) -> crate::http_client::Reply {
    let head = format!("POST {path} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(head);
    let mut writer = client.stream().try_clone().expect("clone");
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..size / 1000 {
                writer.write_all(b"3e8\r\n").expect("writes");
                writer.write_all(&[b'x'; 1000]).expect("writes");
                writer.write_all(b"\r\n").expect("writes");
            }
            writer.write_all(b"0\r\n\r\n").expect("writes");
        });
        client.reply()
    })
}

/// Its handler reads bodies while they arrive.
fn streamed<R: IntoResponse + 'static>(
    handler: impl Fn(&Request<'_>) -> R + Send + Sync + 'static,
) -> Router {
    Router::new().route("/", threadline::http::post(handler).streamed())
}

fn serve(model: Model, router: Router) -> Running {
    start(server(model).http(ANY, router))
}

every_model! {
    fn scoped_threads_share_an_arriving_body(model) {
        let router = streamed(|request: &Request<'_>| {
            let counts = thread::scope(|scope| {
                let readers = [(); THREADS].map(|()| scope.spawn(|| count(request)));
                readers.map(|reader| reader.join().expect("a reader"))
            });
            counts.iter().sum::<usize>().to_string()
        });
        let service = serve(model, router);
        let mut client = Client::to(&service);
        let expected = ok("1000000");
        assert_eq!(post(&mut client, "/", 1_000_000), expected);
        // The next request begins where that body has ended.
        assert_eq!(post(&mut client, "/", 1_000_000), expected);
    }

    fn threads_that_share_a_received_body_read_all_of_it_each(model) {
        let router = Router::new().post("/", |request: &Request<'_>| {
            let counts = thread::scope(|scope| {
                let readers = [(); THREADS].map(|()| scope.spawn(|| count(request)));
                readers.map(|reader| reader.join().expect("a reader"))
            });
            format!("{counts:?}")
        });
        let service = serve(model, router);
        let mut client = Client::to(&service);
        for size in [1_500_000, 1000] {
            let expected = format!("{:?}", [size; THREADS]);
            assert_eq!(post(&mut client, "/", size), ok(&expected));
        }
    }

    fn jobs_of_a_pools_scope_read_an_arriving_body(model) {
        let pool = ThreadPool::builder().threads_max(2).build().expect("a pool");
        let router = streamed(move |request: &Request<'_>| {
            let total = AtomicUsize::new(0);
            let add = || {
                total.fetch_add(count(request), Ordering::Relaxed);
            };
            pool.scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|_| add());
                }
            });
            total.into_inner().to_string()
        });
        let service = serve(model, router);
        let mut client = Client::to(&service);
        for size in [1_000_000, 300_000] {
            assert_eq!(post(&mut client, "/", size), ok(&size.to_string()));
        }
    }

    fn of_threads_that_ask_for_the_whole_body_one_gets_it(model) {
        let router = streamed(|request: &Request<'_>| {
            let results = thread::scope(|scope| {
                let asking = [(); THREADS].map(|()| scope.spawn(|| request.bytes()));
                asking.map(|thread| thread.join().expect("an answer"))
            });
            let got = results.iter().filter_map(|result| result.as_ref().ok());
            let got: Vec<_> = got.map(|bytes| bytes.len()).collect();
            let refused = |result: &Result<_, _>| matches!(result, Err(BodyError::Consumed));
            let refused = results.iter().filter(|result| refused(result)).count();
            format!("{got:?} {refused}")
        });
        let service = serve(model, router);
        let expected = format!("[500000] {}", THREADS - 1);
        assert_eq!(post(&mut Client::to(&service), "/", 500_000), ok(&expected));
    }

    fn a_layer_runs_the_rest_on_another_thread(model) {
        let elsewhere = |request: &Request<'_>, next: Next<'_>| {
            request.extensions().insert(thread::current().id());
            thread::scope(|scope| scope.spawn(|| next.run(request)).join().expect("an answer"))
        };
        let router = Router::new()
            .post("/", |request: &Request<'_>| {
                let left = request.extensions().get::<thread::ThreadId>().expect("left");
                let same = *left == thread::current().id();
                format!("{} {same}", count(request))
            })
            .layer(elsewhere);
        let service = serve(model, router);
        let mut client = Client::to(&service);
        assert_eq!(post(&mut client, "/", 300_000), ok("300000 false"));
        assert_eq!(post(&mut client, "/", 2000), ok("2000 false"));
        let reply = client.get("/nothing");
        assert_eq!((reply.status, reply.closes), (404, false));
    }

    fn a_layer_runs_the_rest_several_times(model) {
        /// Reads the body once, so that each attempt has all of it.
        fn retry(request: &Request<'_>, next: Next<'_>) -> Result<Response, BodyError> {
            let body = request.bytes()?;
            let request = &request.with_body(&body);
            for _ in 0..4 {
                let response = next.clone().run(request);
                if response.status() != Status::SERVICE_UNAVAILABLE {
                    return Ok(response);
                }
            }
            Ok(next.run(request))
        }
        let calls = AtomicUsize::new(0);
        let router = Router::new()
            .post("/", move |body: Vec<u8>| match calls.fetch_add(1, Ordering::Relaxed) {
                0..3 => Err(Status::SERVICE_UNAVAILABLE),
                call => Ok(format!("{} at {call}", body.len())),
            })
            .layer(retry);
        let service = serve(model, router);
        assert_eq!(post(&mut Client::to(&service), "/", 300_000), ok("300000 at 3"));
        assert_eq!(post(&mut Client::to(&service), "/", 1000), ok("1000 at 4"));
    }

    fn an_owned_request_is_answered_by_another_pool(model) {
        let pool = ThreadPool::builder().threads_max(2).build().expect("a pool");
        let handler = |Path(name): Path<String>, State(state): State<u8>, body: Vec<u8>| {
            format!("{name} {state} {}", body.len())
        };
        let router = Router::new()
            .route("/{name}", threadline::http::post(handler).body_len_max(400_000))
            .state(7_u8)
            .layer(on(pool));
        let service = serve(model, router);
        let mut client = Client::to(&service);
        for size in [1000, 300_000, 0] {
            assert_eq!(post(&mut client, "/a%20b", size), ok(&format!("a b 7 {size}")));
        }
        let reply = client.get("/a");
        assert_eq!((reply.status, reply.closes), (405, false));
        assert_eq!(client.get("/a/b").status, 404);
    }

    fn a_body_that_is_too_long_or_has_been_read_makes_no_owned_request(model) {
        let long = |request: OwnedRequest| request.bytes().map(|body| body.len().to_string());
        let router = Router::new()
            .route("/long", threadline::http::post(long).body_len_max(200_000))
            .route("/read", threadline::http::post(|request: &Request<'_>| {
                let read = request.reader().read(&mut [0; 10]).expect("a piece");
                request.to_owned().map(|_| read.to_string())
            }).streamed());
        let service = serve(model, router);
        let mut client = Client::to(&service);
        assert_eq!(post(&mut client, "/long", 200_000), ok("200000"));
        client.send("POST /long HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(format!("30d41\r\n{}", "x".repeat(200_001)));
        let reply = client.reply();
        assert_eq!((reply.status, reply.closes), (413, true));
        let mut client = Client::to(&service);
        // What is not read is thrown away up to 256 KB: more could meet a closed connection.
        let reply = post(&mut client, "/read", 200_000);
        assert_eq!(reply.status, 500);
    }

    fn an_owned_request_outlives_its_server(model) {
        let shelf = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&shelf);
        let keep = move |request: &Request<'_>, next: Next<'_>| {
            let owned = (request.to_owned()?, next.to_owned());
            *kept.lock().expect("lock") = Some(owned);
            Ok::<_, BodyError>(next.run(request))
        };
        let router = Router::new()
            .post("/", |State(state): State<u8>, body: Vec<u8>| format!("{state} {}", body.len()))
            .state(7_u8)
            .layer(keep);
        let service = serve(model, router);
        let mut client = Client::to(&service);
        assert_eq!(post(&mut client, "/", 2000), ok("7 2000"));
        drop(client);
        service.drain();
        let (request, next) = shelf.lock().expect("lock").take().expect("kept");
        let response = next.run(&request.as_request());
        assert_eq!(response.body().as_bytes(), Some(&b"7 2000"[..]));
    }

    fn responses_that_go_on_may_come_from_another_pool(model) {
        let pool = ThreadPool::builder().threads_max(2).build().expect("a pool");
        let echo = |mut connection: Connection| {
            let mut buffer = [0; 100];
            let count = connection.read(&mut buffer)?;
            connection.write_all(&buffer[..count])
        };
        let router = Router::new()
            .get("/echo", move |request: OwnedRequest| {
                let asked = request.upgrades().collect::<Vec<_>>().join(" ");
                Response::upgrade("echo", echo).with_header("x-asked", asked)
            })
            .get("/push", || {
                Response::new(Status::OK).with_body(Body::push(|sender: BodySender| {
                    sender.send("pushed").expect("sent");
                    sender.finish().expect("sent");
                }))
            })
            .layer(on(pool));
        let service = serve(model, router);
        let mut client = Client::to(&service);
        let upgrade = "Connection: upgrade\r\nUpgrade: other, echo\r\n\r\n";
        client.send(format!("GET /echo HTTP/1.1\r\nHost: t\r\n{upgrade}snail"));
        let reply = String::from_utf8(client.rest()).expect("text");
        assert!(reply.starts_with("HTTP/1.1 101 ") && reply.ends_with("\r\n\r\nsnail"), "{reply}");
        assert!(reply.contains("x-asked: other echo\r\n"), "{reply}");
        let reply = Client::to(&service).get("/push");
        assert_eq!((reply.status, &*reply.body), (200, "pushed"));
    }

    fn clones_of_a_router_are_served_side_by_side(model) {
        let router = Router::new().get("/", |State(name): State<&'static str>| name);
        let server = server(model)
            .http(ANY, router.clone().state("one"))
            .http(ANY, router.get("/new", || "new").state("other"));
        let service = start(server);
        let addresses = service.addresses().iter().map(|address| match address {
            Address::Ip(address) => *address,
            other => panic!("not an IP address: {other}"),
        });
        let [one, other] = *addresses.collect::<Vec<_>>() else { panic!("two endpoints") };
        let (mut one, mut other) = (Client::connect(one), Client::connect(other));
        assert_eq!((one.get("/"), other.get("/")), (ok("one"), ok("other")));
        assert_eq!((one.get("/new").status, other.get("/new")), (404, ok("new")));
    }
}
