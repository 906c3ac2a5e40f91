//! HTTP over real sockets: the first connection, under every model. The protocol's rules are tested
//! in `threadline-proto`; here is what needs an engine.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{ANY, Client, Gate, PATIENCE, eventually, every_model, server, start};
use crate::http_client::{Reply, ok};
use threadline::http::{HttpSettings, Path, Request, Router, get};
use threadline::{Hint, Model, Running, Timeouts};

fn router() -> Router {
    Router::new()
        .get("/", || "Hello, World!")
        .get("/hello/{name}", |Path(name): Path<String>| format!("hello, {name}\n"))
        .post("/echo", |body: Vec<u8>| body)
        .get("/panic", || -> &'static str { panic!("as asked") })
}

fn web(model: Model) -> Running {
    start(server(model).http(ANY, router()))
}

every_model! {
    fn rfc9110_5_5_values_that_are_not_utf8_come_and_go_as_they_are(model) {
        let router = Router::new().get("/", |request: &Request<'_>| {
            let raw = request.header_bytes("x-raw").unwrap_or_default().to_vec();
            ([("x-raw", raw)], "copied")
        });
        let service = start(server(model).http(ANY, router));
        let mut client = Client::to(&service);
        let raw = b"na\xefve \xff\x80";
        let fields = [&b"X-Raw: "[..], raw, b"\r\nConnection: close\r\n\r\n"].concat();
        client.send([b"GET / HTTP/1.1\r\nHost: t\r\n", &fields[..]].concat());
        let response = client.rest();
        let line = [&b"\r\nx-raw: "[..], raw, b"\r\n"].concat();
        assert!(response.windows(line.len()).any(|window| window == line), "{}", response.escape_ascii());
        assert!(response.starts_with(b"HTTP/1.1 200") && response.ends_with(b"copied"));
    }

    fn requests_are_answered_on_one_connection(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        for number in 0..100 {
            assert_eq!(client.get("/"), ok("Hello, World!"));
            assert_eq!(client.get(&format!("/hello/{number}")), ok(&format!("hello, {number}\n")));
        }
        assert_eq!(client.get("/nothing").status, 404);
        assert_eq!(client.get("/echo").status, 405);
        assert_eq!(client.get("/"), ok("Hello, World!"), "errors of that kind close nothing");
    }

    fn pipelined_requests_are_answered_in_order(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        let requests = (0..300).map(|n| format!("GET /hello/{n} HTTP/1.1\r\nHost: t\r\n\r\n"));
        client.send(requests.collect::<String>());
        for number in 0..300 {
            assert_eq!(client.reply(), ok(&format!("hello, {number}\n")));
        }
    }

    fn a_valid_request_is_answered_before_the_bad_one_behind_it(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\nNONSENSE\r\n\r\nGET / HTTP/1.1\r\n");
        assert_eq!(client.reply(), ok("Hello, World!"));
        let bad = client.reply();
        assert_eq!((bad.status, bad.closes), (400, true));
        client.assert_closed();
    }

    fn a_request_may_come_byte_by_byte(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        for byte in b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nsnail" {
            client.send([*byte]);
        }
        assert_eq!(client.reply(), ok("snail"));
    }

    fn a_malformed_head_is_refused_before_its_line_ends(model) {
        let service = web(model);
        for head in ["GET / HTTP/1.1\r\nHost ", "GET / HTTP/1.1\r\nHost: t\r\nA: b\0", "GET / HTTX", "G("] {
            let mut client = Client::to(&service);
            for byte in head.bytes() {
                client.send([byte]);
            }
            let refused = client.reply();
            assert_eq!((refused.status, refused.closes), (400, true), "{head:?}");
            client.assert_closed();
        }
        assert_eq!(service.counts().malformed, 4);
        assert_eq!(service.counts().timeouts_head, 0);
    }

    fn rfc9112_8_a_request_that_is_cut_off_is_a_400(model) {
        let service = web(model);
        for cut_off in [
            "GET /hello/x HTT",
            "GET /hello/x HTTP/1.1\r\nHost: t\r\n",
            "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhell",
            "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ] {
            let mut client = Client::to(&service);
            client.send(format!("GET / HTTP/1.1\r\nHost: t\r\n\r\n{cut_off}"));
            client.stream().shutdown(std::net::Shutdown::Write).expect("half-closes");
            assert_eq!(client.reply(), ok("Hello, World!"));
            let refused = client.reply();
            assert_eq!((refused.status, refused.closes), (400, true), "{cut_off:?}");
            client.assert_closed();
        }
        assert_eq!(service.counts().malformed, 4);
    }

    fn a_client_that_half_closes_gets_its_answer(model) {
        let gate = Arc::new(Gate::default());
        let at_gate = Arc::clone(&gate);
        let slow = move || {
            at_gate.wait();
            "x".repeat(4_000_000)
        };
        let service = start(server(model).http(ANY, Router::new().get("/slow", slow)));
        let mut client = Client::to(&service);
        client.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
        client.stream().shutdown(std::net::Shutdown::Write).expect("half-closes");
        gate.await_arrivals(1);
        gate.open();
        assert_eq!(client.reply().body.len(), 4_000_000);
        client.assert_closed();
    }

    fn bodies_of_any_allowed_size_come_back(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        for size in [0, 1, 1000, 100_000, 2 << 20] {
            let body = "b".repeat(size);
            client.send(format!("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n"));
            client.send(&body);
            assert!(client.reply() == ok(&body), "{size} bytes");
        }
        client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2097153\r\n\r\n");
        let refused = client.reply();
        assert_eq!((refused.status, refused.closes), (413, true));
        client.assert_closed();
        assert_eq!(service.counts().too_large_bodies, 1);
    }

    fn head_is_get_without_the_body(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        client.send("HEAD / HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(client.reply_to(true), ok(""));
        assert_eq!(client.get("/"), ok("Hello, World!"));
    }

    fn a_client_can_ask_for_a_close(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        client.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        assert!(client.reply().closes);
        client.assert_closed();
        let mut client = Client::to(&service);
        client.send("GET / HTTP/1.0\r\n\r\n");
        assert_eq!(client.reply().body, "Hello, World!");
        client.assert_closed();
    }

    fn a_head_that_is_too_large_is_refused(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        client.send(format!("GET / HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n", "x".repeat(20_000)));
        assert_eq!(client.reply().status, 431);
        client.assert_closed();
        let mut client = Client::to(&service);
        let headers: String = (0..101).map(|n| format!("X{n}: y\r\n")).collect();
        client.send(format!("GET / HTTP/1.1\r\nHost: t\r\n{headers}\r\n"));
        assert_eq!(client.reply().status, 431);
        assert_eq!(service.counts().too_large_heads, 2);
    }

    fn a_target_that_is_too_long_is_refused(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        client.send(format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(8_000)));
        assert_eq!(client.reply().status, 414);
        assert_eq!(service.counts().too_long_targets, 1);
    }

    fn a_request_that_breaks_the_rules_is_counted(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        client.send("GET / HTTP/1.1\r\nHost : t\r\n\r\n");
        assert_eq!(client.reply().status, 400);
        assert_eq!(service.counts().malformed, 1);
    }

    fn a_panic_is_a_500_and_closes_its_own_connection(model) {
        let service = web(model);
        let mut other = Client::to(&service);
        assert_eq!(other.get("/"), ok("Hello, World!"));
        let mut client = Client::to(&service);
        let reply = client.get("/panic");
        assert_eq!((reply.status, reply.closes), (500, true));
        client.assert_closed();
        assert_eq!(other.get("/"), ok("Hello, World!"));
    }

    fn a_slow_head_is_a_408(model) {
        let timeouts =
            Timeouts { head: Some(Duration::from_millis(60)), ..Timeouts::default() };
        let settings = HttpSettings::default().timeouts(timeouts);
        let service = start(server(model).http(ANY, router().settings(settings)));
        let mut client = Client::to(&service);
        client.send("GET / HTTP/1.1\r\nHos");
        assert_eq!(client.reply().status, 408);
        client.assert_closed();
    }

    fn expect_100_continue_is_answered_before_the_body_is_sent(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        client.send(
            "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        );
        assert_eq!(client.line().as_deref(), Some("HTTP/1.1 100 Continue"));
        assert_eq!(client.line().as_deref(), Some(""));
        client.send("body");
        assert_eq!(client.reply(), ok("body"));
    }

    fn a_draining_service_says_so_and_closes(model) {
        let gate = Arc::new(Gate::default());
        let wait = Arc::clone(&gate);
        let router = Router::new().get("/wait", move || {
            wait.wait();
            "waited"
        });
        let service = start(server(model).drain_timeout(PATIENCE).http(ANY, router));
        let address = crate::common::address(&service);
        let mut client = Client::to(&service);
        client.send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n".repeat(2));
        gate.await_arrivals(1);
        let draining = std::thread::spawn(move || service.drain());
        if model == Model::EventLoop {
            // The only shard that could learn of the drain stands at the gate.
            gate.open();
            assert_eq!(client.reply().body, "waited");
            return assert!(draining.join().expect("drain").complete);
        }
        eventually("it refuses new clients", || std::net::TcpStream::connect(address).is_err());
        gate.open();
        assert_eq!(client.reply().body, "waited");
        assert_eq!(client.reply(), Reply { status: 200, body: "waited".into(), closes: true });
        client.assert_closed();
        assert!(draining.join().expect("drain").complete);
    }
}

#[test]
fn an_overloaded_pool_is_a_503_with_retry_after_and_no_close() {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let waited = move || {
        wait.wait();
        "waited"
    };
    let router = Router::new().route("/wait", get(waited).hint(Hint::Blocking));
    let service = start(
        server(Model::Adaptive)
            .settings(|settings| {
                settings.pool_threads_max = 1;
                settings.pool_queue_max = 1;
            })
            .http(ANY, router),
    );
    let mut busy: Vec<_> = (0..2).map(|_| Client::to(&service)).collect();
    busy[0].send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n");
    gate.await_arrivals(1);
    busy[1].send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("one is queued", || service.gauges().pool_queue == 1);
    let mut refused = Client::to(&service);
    let reply = refused.get("/wait");
    assert_eq!((reply.status, reply.closes), (503, false));
    gate.open();
    busy.iter_mut().for_each(|client| assert_eq!(client.reply(), ok("waited")));
    assert_eq!(refused.get("/wait"), ok("waited"));
}
