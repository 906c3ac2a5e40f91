//! Bodies that are not in memory: read while they arrive, made while they are sent, files, pushes.

use std::io::{self, Read, Write};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{ANY, Client, Gate, eventually, every_model, server, start};
use crate::http_client::ok;
use threadline::http::{Body, BodySender, HttpSettings, Request, Response, Router, Status, post};
use threadline::{Hint, Model, Running, Timeouts};

/// Adds up a body without keeping it.
fn sum(request: &Request<'_>) -> io::Result<String> {
    let (mut total, mut count) = (0_u64, 0);
    for byte in io::BufReader::new(request.reader()).bytes() {
        total += u64::from(byte?);
        count += 1;
    }
    Ok(format!("{count} bytes, {total}"))
}

fn summed(request: &Request<'_>) -> Result<String, Response> {
    sum(request).map_err(|error| Response::error(Status::BAD_REQUEST, error).with_close())
}

fn web(model: Model) -> Running {
    let router = Router::new()
        .route("/sum", post(summed).body_len_max(1 << 30))
        .route("/unread", post(|| "not interested").body_len_max(1 << 30))
        .route("/unread-stream", post(|| "not interested").body_len_max(1 << 30).streamed())
        .post("/whole", |body: Vec<u8>| body.len().to_string())
        .get("/after", || "after");
    start(server(model).http(ANY, router))
}

fn upload(path: &str, size: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n")
}

every_model! {
    fn a_large_body_is_received_and_read(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        for size in [65_536, 65_537, 1_000_000] {
            client.send(upload("/sum", size));
            client.send(vec![1; size]);
            assert_eq!(client.reply(), ok(&format!("{size} bytes, {size}")));
        }
        client.send(upload("/whole", 500_000));
        client.send(vec![1; 500_000]);
        assert_eq!(client.reply(), ok("500000"));
    }

    fn what_comes_behind_a_large_body_is_the_next_request(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        let mut all = Vec::new();
        for _ in 0..3 {
            all.extend(upload("/sum", 100_000).into_bytes());
            all.extend(vec![2; 100_000]);
            all.extend(b"GET /after HTTP/1.1\r\nHost: t\r\n\r\n");
        }
        let mut writer = client.stream().try_clone().expect("clone");
        let sender = std::thread::spawn(move || writer.write_all(&all));
        for _ in 0..3 {
            assert_eq!(client.reply(), ok("100000 bytes, 200000"));
            assert_eq!(client.reply(), ok("after"));
        }
        sender.join().expect("sender").expect("writes");
    }

    fn a_body_that_is_not_read_does_not_end_the_connection(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        client.send(upload("/unread", 300_000));
        client.send(vec![b'x'; 300_000]);
        assert_eq!(client.reply(), ok("not interested"));
        assert_eq!(client.get("/after"), ok("after"));
    }

    fn a_streamed_body_that_is_not_read_ends_the_connection(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        client.send(upload("/unread-stream", 300_000));
        let mut writer = client.stream().try_clone().expect("clone");
        // The service may have closed by then.
        let sender = std::thread::spawn(move || drop(writer.write_all(&vec![b'x'; 300_000])));
        if model == Model::EventLoop {
            // Kept whole, since nobody may wait: then there is nothing left to read.
            assert_eq!(client.reply(), ok("not interested"));
        } else {
            let reply = client.reply();
            assert_eq!((reply.status, &*reply.body, reply.closes), (200, "not interested", true));
            client.assert_closed();
        }
        sender.join().expect("sender");
        assert_eq!(Client::to(&service).get("/after"), ok("after"));
    }

    fn a_client_that_waits_for_continue_is_asked_for_a_large_body(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        let head = upload("/sum", 100_000).replace("Host:", "Expect: 100-continue\r\nHost:");
        client.send(head);
        assert_eq!(client.line().as_deref(), Some("HTTP/1.1 100 Continue"));
        assert_eq!(client.line().as_deref(), Some(""));
        client.send(vec![1; 100_000]);
        assert_eq!(client.reply(), ok("100000 bytes, 100000"));
    }

    fn a_large_body_that_stops_half_way_is_an_error_for_its_handler_alone(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        client.send(upload("/sum", 1_000_000));
        client.send(vec![1; 200_000]);
        client.stream().shutdown(std::net::Shutdown::Write).expect("shutdown");
        let _ = client.rest();
        assert_eq!(Client::to(&service).get("/after"), ok("after"));
    }

    fn a_body_that_is_made_while_it_is_sent_is_chunked(model) {
        let pieces = || {
            let pieces = (0..5).map(|n| format!("piece {n}\n").into_bytes());
            Response::new(Status::OK).with_body(Body::chunks(pieces))
        };
        let sized = || Response::new(Status::OK).with_body(Body::sized_reader(io::repeat(b'x'), 100_000));
        let router = Router::new().get("/pieces", pieces).get("/sized", sized).get("/", || "next");
        let service = start(server(model).http(ANY, router));
        let mut client = Client::to(&service);
        client.send("GET /pieces HTTP/1.1\r\nHost: t\r\n\r\nHEAD /pieces HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(client.reply(), ok("piece 0\npiece 1\npiece 2\npiece 3\npiece 4\n"));
        assert_eq!(client.reply_to(true), ok(""));
        assert_eq!(client.get("/sized"), ok(&"x".repeat(100_000)));
        assert_eq!(client.get("/"), ok("next"));
        // HTTP/1.0 has no chunks: the content ends with the connection.
        client.send("GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let reply = client.reply();
        assert!(reply.closes && reply.body.ends_with("piece 4\n"), "{reply:?}");
    }

    fn a_body_that_fails_half_way_ends_the_connection_without_its_end(model) {
        struct Fails(bool);
        impl Read for Fails {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::Error::other("the source is gone"));
                }
                buffer[..4].copy_from_slice(b"some");
                Ok(4)
            }
        }
        struct Panics(bool);
        impl Read for Panics {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                assert!(!std::mem::replace(&mut self.0, true), "on purpose");
                buffer[..4].copy_from_slice(b"some");
                Ok(4)
            }
        }
        let router = Router::new()
            .get("/fails", || Response::new(Status::OK).with_body(Body::reader(Fails(false))))
            .get("/panics", || Response::new(Status::OK).with_body(Body::reader(Panics(false))))
            .get("/short", || Response::new(Status::OK).with_body(Body::sized_reader(&b"some"[..], 9)));
        let service = start(server(model).http(ANY, router));
        for path in ["/fails", "/panics", "/short"] {
            let mut client = Client::to(&service);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
            let all = String::from_utf8(client.rest()).expect("text");
            assert!(all.contains("some") && !all.contains("0\r\n\r\n"), "{path}: {all}");
            assert!(!all.contains("500 Internal"), "{path}: nothing is mixed into it: {all}");
        }
    }

    fn a_file_is_sent_to_a_slow_client_without_a_thread(model) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let content: String = (0..400_000).map(|n| format!("{:09}\n", n)).collect();
        file.write_all(content.as_bytes()).expect("written");
        let path = file.path().to_owned();
        let send = move || -> io::Result<Response> {
            let body = Body::file(std::fs::File::open(&path)?)?;
            Ok(Response::new(Status::OK).with_body(body))
        };
        let router = Router::new()
            .get("/file", move || send().map_err(|_| Status::NOT_FOUND))
            .get("/", || "next");
        let service = start(server(model).http(ANY, router));
        let mut slow = Client::to(&service);
        slow.send("GET /file HTTP/1.1\r\nHost: t\r\n\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n");
        // Others are served while it reads nothing.
        assert_eq!(Client::to(&service).get("/"), ok("next"));
        if model == Model::Adaptive {
            eventually("no thread is held", || service.gauges().pool_busy == 0);
        }
        assert!(slow.reply() == ok(&content), "all of it, in order");
        assert_eq!(slow.reply(), ok("next"));
    }

    fn a_large_text_comes_whole_to_a_client_that_reads_as_fast_as_it_can(model) {
        let content: String = (0..1_200_000).map(|n| format!("{n:09}\n")).collect();
        let text = content.clone();
        let service = start(server(model).http(ANY, Router::new().get("/", move || text.clone())));
        let mut client = Client::to(&service);
        for _ in 0..2 {
            assert!(client.get("/") == ok(&content), "all of it, in order");
        }
    }

    fn rfc9112_8_pushed_content_that_a_panic_ends_is_not_whole(model) {
        let here = |sender: BodySender| {
            let _ = sender.send("part");
            panic!("as asked");
        };
        let elsewhere = move |sender| {
            std::thread::spawn(move || here(sender));
        };
        let router = Router::new()
            .get("/here", move || Response::new(Status::OK).with_body(Body::push(here)))
            .get("/elsewhere", move || Response::new(Status::OK).with_body(Body::push(elsewhere)));
        let service = start(server(model).http(ANY, router));
        for path in ["/here", "/elsewhere"] {
            let mut client = Client::to(&service);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
            let all = client.rest();
            assert!(all.ends_with(b"\r\n4\r\npart\r\n"), "{path}: {}", String::from_utf8_lossy(&all));
        }
    }

    fn a_response_can_be_pushed_from_another_thread(model) {
        let (listeners, inbox) = mpsc::channel::<BodySender>();
        let listeners = Mutex::new(listeners);
        let listen = move || {
            let listeners = listeners.lock().expect("lock").clone();
            Response::new(Status::OK).with_body(Body::push(move |sender| {
                let _ = listeners.send(sender);
            }))
        };
        let service = start(server(model).http(ANY, Router::new().get("/news", listen)));
        let mut client = Client::to(&service);
        client.send("GET /news HTTP/1.1\r\nHost: t\r\n\r\n");
        let sender = inbox.recv().expect("a listener");
        while !client.line().expect("a header").is_empty() {}
        for news in ["one", "two", "three"] {
            sender.send(news).expect("open");
            assert_eq!(client.chunk().as_deref(), Some(news.as_bytes()));
        }
        if matches!(model, Model::Adaptive | Model::Pool) {
            eventually("an open push costs no thread", || service.gauges().pool_busy == 0);
        }
        sender.finish().expect("open");
        assert_eq!(client.chunk(), None, "the content has its end");
        client.assert_closed();
        // A client that goes away is noticed.
        let mut client = Client::to(&service);
        client.send("GET /news HTTP/1.1\r\nHost: t\r\n\r\n");
        let sender = inbox.recv().expect("a listener");
        drop(client);
        eventually("the sender hears of it", || sender.send("more").is_err());
    }
}

#[test]
fn a_streamed_body_that_comes_too_slowly_is_given_up() {
    let timeouts = Timeouts { body: Some(Duration::from_millis(50)), ..Timeouts::default() };
    let (errors, seen) = mpsc::channel();
    let errors = Mutex::new(errors);
    let handler = move |request: &Request<'_>| {
        let read = request.bytes().map(|bytes| bytes.len());
        let _ = errors.lock().expect("lock").send(read);
        read.map(|len| len.to_string())
    };
    let settings = HttpSettings::default().timeouts(timeouts);
    let router = Router::new().route("/", post(handler).streamed()).settings(settings);
    let service = start(server(Model::Adaptive).http(ANY, router));
    let mut client = Client::to(&service);
    client.send(upload("/", 1_000_000));
    assert_eq!(client.reply().status, 408);
    assert_eq!(seen.recv().expect("called"), Err(threadline::http::BodyError::TimedOut));
}

#[test]
fn a_large_body_that_has_come_needs_no_other_thread() {
    let len = |request: &Request<'_>| request.bytes().map(|body| body.len().to_string());
    let router = Router::new().route("/len", post(len).hint(Hint::Inline));
    let service = start(server(Model::Adaptive).http(ANY, router));
    let mut client = Client::to(&service);
    let message = [upload("/len", 100_000).into_bytes(), vec![1; 100_000]].concat();
    eventually("all of it is there when the head is read", || {
        client.send(&message);
        assert_eq!(client.reply(), ok("100000"));
        service.counts().calls_inline > 0
    });
}

#[test]
fn streamed_bodies_do_not_hold_up_anybody_else() {
    let gate = Arc::new(Gate::default());
    let reached = Arc::clone(&gate);
    let handler = move |request: &Request<'_>| {
        reached.wait();
        summed(request)
    };
    let router = Router::new().route("/sum", post(handler).streamed()).get("/", || "fast");
    let service = start(server(Model::Adaptive).http(ANY, router));
    let mut uploads: Vec<_> = (0..8).map(|_| Client::to(&service)).collect();
    uploads.iter_mut().for_each(|client| client.send(upload("/sum", 100_000)));
    gate.await_arrivals(8);
    assert_eq!(Client::to(&service).get("/"), ok("fast"));
    gate.open();
    for client in &mut uploads {
        client.send(vec![1; 100_000]);
        assert_eq!(client.reply(), ok("100000 bytes, 100000"));
    }
}
