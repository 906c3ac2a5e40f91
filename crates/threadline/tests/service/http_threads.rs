//! Requests on more threads than that of their handler.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::common::{ANY, Client, every_model, server, start};
use crate::http_client::ok;
use threadline::http::{BodyError, Next, Request, Response, Router, Status};
use threadline::pool::ThreadPool;
use threadline::{Model, Running};

const THREADS: usize = 4;

/// Reads a body a piece at a time, and counts its bytes.
fn count(request: &Request<'_>) -> usize {
    let (mut reader, mut buffer, mut total) = (request.reader(), [0; 1000], 0);
    loop {
        match reader.read(&mut buffer).expect("a piece") {
            0 => return total,
            count => total += count,
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

/// How many bytes the threads of a handler read together: those of a body that arrives once, and all of one
/// that is here. Under the event loop, where nobody may wait, each body is.
fn read(model: Model, size: usize) -> usize {
    let is_here = size <= 65_536 || model == Model::EventLoop;
    if is_here { size * THREADS } else { size }
}

fn serve(model: Model, router: Router) -> Running {
    start(server(model).http(ANY, router))
}

every_model! {
    fn scoped_threads_share_an_arriving_body(model) {
        let router = Router::new().post("/", |request: &Request<'_>| {
            let counts = thread::scope(|scope| {
                let readers = [(); THREADS].map(|()| scope.spawn(|| count(request)));
                readers.map(|reader| reader.join().expect("a reader"))
            });
            counts.iter().sum::<usize>().to_string()
        });
        let service = serve(model, router);
        let mut client = Client::to(&service);
        let expected = ok(&read(model, 1_000_000).to_string());
        assert_eq!(post(&mut client, "/", 1_000_000), expected);
        // The next request begins where that body has ended.
        assert_eq!(post(&mut client, "/", 1_000_000), expected);
        assert_eq!(post(&mut client, "/", 1000), ok(&read(model, 1000).to_string()));
    }

    fn jobs_of_a_pools_scope_read_an_arriving_body(model) {
        let pool = ThreadPool::builder().threads_max(2).build().expect("a pool");
        let router = Router::new().post("/", move |request: &Request<'_>| {
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
        for size in [1_000_000, 3000] {
            assert_eq!(post(&mut client, "/", size), ok(&read(model, size).to_string()));
        }
    }

    fn of_threads_that_ask_for_the_whole_body_one_gets_it(model) {
        let router = Router::new().post("/", |request: &Request<'_>| {
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
        // Kept whole under the event loop, where nobody may wait: all threads get it then.
        let expected = match model {
            Model::EventLoop => format!("{:?} 0", [500_000; THREADS]),
            _ => format!("[500000] {}", THREADS - 1),
        };
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
}
