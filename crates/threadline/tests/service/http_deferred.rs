//! HTTP responses that come later.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::{ANY, Client, PATIENCE, eventually, every_model, server, start};
use crate::http_client::ok;
use crate::shout::shout;
use threadline::http::{
    Body, Deferred, HttpSettings, Next, Path, Reply, Request, Response, Router, Status,
};
use threadline::{Model, Running, Timeouts};

type Jobs = Receiver<(String, Reply)>;

/// `/later/{name}` is left to the test.
fn router() -> (Router, Jobs) {
    let (queue, jobs) = channel();
    let queue: Arc<Mutex<Sender<_>>> = Arc::new(Mutex::new(queue));
    let later = move |Path(name): Path<String>| {
        let queue = Arc::clone(&queue);
        Deferred::new(move |reply| {
            queue.lock().expect("no panic").send((name, reply)).expect("the test listens");
        })
    };
    let echo = |request: &Request<'_>| request.path().to_owned();
    let router = Router::new()
        .get("/later/{name}", later.clone())
        .post("/later/{name}", later)
        .get("/now/{name}", echo);
    (router, jobs)
}

fn serve(model: Model) -> (Running, Jobs) {
    let (router, jobs) = router();
    (start(server(model).http(ANY, router)), jobs)
}

fn next(jobs: &Jobs) -> (String, Reply) {
    jobs.recv_timeout(PATIENCE).expect("a call")
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")
}

every_model! {
    fn pipelined_replies_keep_their_order(model) {
        let (service, jobs) = serve(model);
        let mut client = Client::to(&service);
        client.send(get("/now/1") + &get("/later/2") + &get("/now/3") + &get("/later/4"));
        assert_eq!(client.reply(), ok("/now/1"));
        let (name, reply) = next(&jobs);
        assert_eq!(name, "2");
        reply.send("two").expect("awaited");
        assert_eq!(client.reply(), ok("two"));
        assert_eq!(client.reply(), ok("/now/3"));
        next(&jobs).1.send("four").expect("awaited");
        assert_eq!(client.reply(), ok("four"));
        client.send(get("/now/5"));
        assert_eq!(client.reply(), ok("/now/5"));
    }

    fn a_reply_is_written_as_its_request_wants_it(model) {
        let (service, jobs) = serve(model);
        let mut client = Client::to(&service);
        client.send("HEAD /later/a HTTP/1.1\r\nHost: t\r\n\r\n".to_owned() + &get("/now/b"));
        next(&jobs).1.send("four").expect("awaited");
        let head: Vec<_> = std::iter::from_fn(|| client.line()).take_while(|l| !l.is_empty()).collect();
        assert!(head.contains(&"content-length: 4".to_owned()), "{head:?}");
        assert_eq!(client.reply(), ok("/now/b"), "no content came in between");
        client.send("GET /later/a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".to_owned() + &get("/now/b"));
        next(&jobs).1.send("bye").expect("awaited");
        let reply = client.reply();
        assert_eq!((reply.status, reply.closes), (200, true));
        client.assert_closed();
        assert_eq!(service.counts().calls_deferred, 2);
    }

    fn what_is_dropped_is_a_500_and_what_is_late_a_503(model) {
        let (router, jobs) = router();
        let timeouts = Timeouts { deferred: Some(Duration::from_millis(50)), ..Timeouts::default() };
        let router = router.settings(HttpSettings::default().timeouts(timeouts));
        let service = start(server(model).http(ANY, router));
        let mut client = Client::to(&service);
        client.send(get("/later/a"));
        drop(next(&jobs));
        assert_eq!(client.reply().status, 500);
        client.send(get("/later/b") + &get("/now/c"));
        let (_, late) = next(&jobs);
        assert_eq!(client.reply().status, 503);
        assert_eq!(client.reply(), ok("/now/c"));
        assert!(late.is_closed());
        assert_eq!(late.send("late").map_err(|error| error.0.status()), Err(Status::OK));
    }

    fn layers_have_their_way_with_the_reply(model) {
        let (inner, jobs) = router();
        fn mark(request: &Request<'_>, next: Next<'_>) -> Response {
            let mut response = next.run(request).with_header("x-added", "1");
            response.append_header("x-added", "2");
            response = response.with_content_type("text/x-layer").with_close();
            response.set_header("x-set", "layer");
            response.remove_header("x-secret");
            assert!(response.is_deferred());
            response.when_ready(|reply| {
                let status = reply.status().code().to_string();
                reply.set_header("x-status", status);
                reply.set_body("seen");
            })
        }
        let service = start(server(model).http(ANY, inner.layer(mark)));
        let mut client = Client::to(&service);
        client.send(get("/later/a"));
        let reply = Response::new(Status::CREATED)
            .with_header("x-set", "handler")
            .with_header("x-secret", "of the handler")
            .with_body("not seen");
        next(&jobs).1.send(reply).expect("awaited");
        let head: Vec<_> = std::iter::from_fn(|| client.line()).take_while(|l| !l.is_empty()).collect();
        assert_eq!(head[0], "HTTP/1.1 201 Created");
        let fields: Vec<_> = head.iter().filter(|line| line.starts_with("x-")).collect();
        assert_eq!(fields, ["x-added: 1", "x-added: 2", "x-set: layer", "x-status: 201"]);
        assert!(head.contains(&"content-type: text/x-layer".to_owned()), "{head:?}");
        assert!(head.contains(&"connection: close".to_owned()), "{head:?}");
        assert_eq!(client.exactly(4), b"seen");
    }

    fn a_layer_may_answer_itself(model) {
        let (inner, jobs) = router();
        let refuse = |request: &Request<'_>, next: Next<'_>| {
            drop(next.run(request));
            Response::error(Status::FORBIDDEN, "not today")
        };
        let service = start(server(model).http(ANY, inner.layer(refuse)));
        let mut client = Client::to(&service);
        client.send(get("/later/a"));
        assert_eq!(client.reply().status, 403);
        assert!(jobs.try_recv().is_err(), "it has never begun");
    }

    fn its_content_may_be_of_any_kind(model) {
        let (service, jobs) = serve(model);
        let mut client = Client::to(&service);
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"of a file").expect("written");
        client.send(get("/later/file"));
        next(&jobs).1.send(Response::new(Status::OK).with_body(Body::file(file).expect("a file"))).expect("awaited");
        assert_eq!(client.reply().body, "of a file");
        client.send(get("/later/reader"));
        let made = Body::sized_reader(&b"made"[..], 4);
        next(&jobs).1.send(Response::new(Status::OK).with_body(made)).expect("awaited");
        assert_eq!(client.reply().body, "made");
        client.send(get("/later/push"));
        let (started, pushes) = sync_channel(1);
        let push = Body::push(move |sender| started.send(sender).expect("the test listens"));
        next(&jobs).1.send(Response::new(Status::OK).with_body(push)).expect("awaited");
        let sender = pushes.recv_timeout(PATIENCE).expect("it begins");
        sender.send("pushed").expect("a client");
        sender.finish().expect("a client");
        let rest = String::from_utf8(client.rest()).expect("text");
        assert!(rest.ends_with("\r\n\r\n6\r\npushed\r\n0\r\n\r\n"), "{rest}");
    }

    fn it_may_go_on_in_another_protocol(model) {
        let (service, jobs) = serve(model);
        let mut client = Client::to(&service);
        client.send("GET /later/a HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\nhello\n");
        next(&jobs).1.send(Response::upgrade("shout", shout)).expect("awaited");
        let head: Vec<_> = std::iter::from_fn(|| client.line()).take_while(|l| !l.is_empty()).collect();
        assert_eq!(head[0], "HTTP/1.1 101 Switching Protocols");
        assert_eq!(client.line().as_deref(), Some("HELLO"));
    }

    fn a_body_that_nobody_reads_is_thrown_away_behind_the_reply(model) {
        let (service, jobs) = serve(model);
        let mut client = Client::to(&service);
        client.send("POST /later/a HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n");
        client.send(vec![b'x'; 200_000]);
        next(&jobs).1.send("done").expect("awaited");
        let reply = client.reply();
        assert_eq!((reply.status, &*reply.body), (200, "done"));
    }

    fn a_panic_as_it_begins_is_a_500(model) {
        let panics = || Deferred::new(|_reply| panic!("as the test wants"));
        let service = start(server(model).http(ANY, Router::new().get("/", panics)));
        let mut client = Client::to(&service);
        client.send(get("/"));
        assert_eq!(client.reply().status, 500);
    }

    fn a_panic_as_it_begins_passes_through_the_layers(model) {
        let statuses = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&statuses);
        let log = move |request: &Request<'_>, next: Next<'_>| {
            let seen = Arc::clone(&seen);
            next.run(request).when_ready(move |response| {
                seen.lock().expect("no panic").push(response.status().code());
                response.set_header("x-seen", "yes");
            })
        };
        let panics = || Deferred::new(|_reply| panic!("as the test wants"));
        let router = Router::new().get("/", panics).get("/fine", || "fine").layer(log);
        let service = start(server(model).http(ANY, router));
        let mut client = Client::to(&service);
        client.send(get("/fine") + &get("/") + &get("/fine"));
        assert_eq!(client.reply(), ok("fine"));
        assert_eq!(client.reply().status, 500);
        assert_eq!(client.reply(), ok("fine"), "the connection goes on");
        assert_eq!(*statuses.lock().expect("no panic"), [200, 500, 200]);
        assert_eq!(service.routes()[0].panics(), 1);
    }

    fn a_drain_waits_and_the_reply_says_that_it_is_the_last(model) {
        let (service, jobs) = serve(model);
        let mut client = Client::to(&service);
        client.send(get("/later/a"));
        let (_, reply) = next(&jobs);
        let address = crate::common::address(&service);
        let draining = thread::spawn(move || service.drain());
        eventually("the drain has begun", || std::net::TcpStream::connect(address).is_err());
        reply.send("the last").expect("awaited");
        let reply = client.reply();
        assert_eq!((&*reply.body, reply.closes), ("the last", true));
        let drained = draining.join().expect("thread");
        assert!(drained.is_clean(), "{drained:?}");
    }

    fn a_thousand_calls_in_flight_hold_four_threads(model) {
        const CALLS: usize = 1000;
        let (service, jobs) = serve(model);
        let jobs = Arc::new(Mutex::new(jobs));
        let gate = Arc::new(crate::common::Gate::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (jobs, gate) = (Arc::clone(&jobs), Arc::clone(&gate));
                thread::spawn(move || {
                    loop {
                        let job = jobs.lock().expect("no panic").recv();
                        let Ok((name, reply)) = job else { return };
                        gate.wait();
                        reply.send(name).expect("awaited");
                    }
                })
            })
            .collect();
        let mut clients: Vec<_> = (0..CALLS).map(|_| Client::to(&service)).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(get(&format!("/later/{n}")));
        }
        gate.await_arrivals(4);
        eventually("all are in flight", || service.counts().calls_deferred == CALLS as u64);
        eventually("they hold no thread of the pool", || service.gauges().pool_busy == 0);
        let mut other = Client::to(&service);
        other.send(get("/now/a"));
        assert_eq!(other.reply(), ok("/now/a"));
        gate.open();
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.reply(), ok(&n.to_string()));
        }
        drop((clients, other, service));
        threads.into_iter().for_each(|thread| thread.join().expect("thread"));
    }
}
