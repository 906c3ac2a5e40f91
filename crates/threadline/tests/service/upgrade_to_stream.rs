//! Connections that go on in another way: handed over by a message handler, upgraded by HTTP.

use std::sync::mpsc;

use crate::common::{ANY, Client, every_model, server, start};
use crate::http_client::ok;
use crate::shout::shout;
use threadline::http::{Response, Router};
use threadline::{Lines, Model, Running, SendError};

fn lines(model: Model) -> Running {
    let lines = Lines::new(|line, session| match line {
        "large" => Some("x".repeat(3_000_000)),
        "shout" => {
            session.upgrade_to_stream(shout);
            Some("now".to_owned())
        }
        line => Some(line.to_owned()),
    });
    start(server(model).lines(ANY, lines))
}

fn web(model: Model) -> Running {
    let router = Router::new()
        .get("/shout", || Response::upgrade("shout/1", shout).with_header("x-volume", "11"))
        .get("/bad", || Response::upgrade("shout/1", shout).with_header("x", "a\r\nb: c"))
        .get("/hello", || "hello");
    start(server(model).http(ANY, router))
}

const ASK: &str = "Connection: Upgrade\r\nUpgrade: h2c, Shout/1\r\n";

fn request(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\n{fields}\r\n")
}

every_model! {
    fn what_has_come_behind_the_last_message_is_read_first(model) {
        let service = lines(model);
        let mut client = Client::to(&service);
        client.send("one\nshout\nand ");
        assert_eq!(client.line().as_deref(), Some("one"));
        assert_eq!(client.line().as_deref(), Some("now"));
        client.send("this\n");
        assert_eq!(client.line().as_deref(), Some("AND THIS"));
    }

    fn the_replies_before_it_go_out_first(model) {
        let service = lines(model);
        let mut client = Client::to(&service);
        // More than a socket holds, and nobody reads it yet.
        client.send("large\nshout\nloud\n");
        assert_eq!(client.line().map(|line| line.len()), Some(3_000_000));
        assert_eq!(client.line().as_deref(), Some("now"));
        assert_eq!(client.line().as_deref(), Some("LOUD"));
    }

    fn a_drain_reaches_it(model) {
        let service = lines(model);
        let mut client = Client::to(&service);
        assert_eq!(client.ask("shout"), "now");
        assert_eq!(client.ask("a"), "A");
        let drained = service.drain();
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
        client.assert_closed();
    }

    fn a_sender_from_before_does_not_end_it(model) {
        let (kept, senders) = mpsc::channel();
        let lines = Lines::new(move |_line, session| {
            for _ in 0..3 {
                kept.send(session.sender()).expect("the test listens");
            }
            session.upgrade_to_stream(shout);
            Some("now".to_owned())
        });
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        assert_eq!(client.ask("shout"), "now");
        assert_eq!(client.ask("a"), "A");
        let [closes, finishes, goes] = std::array::from_fn(|_| senders.recv().expect("a sender"));
        assert_eq!((closes.send("x\n"), closes.is_closed()), (Err(SendError::Closed), true));
        closes.close();
        finishes.finish();
        drop((closes, goes));
        assert_eq!(client.ask("b"), "B");
    }

    fn rfc9110_7_8_an_upgraded_connection_speaks_the_other_protocol(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        client.send(request("/hello", "") + &request("/shout", ASK) + "too soon\n");
        assert_eq!(client.reply(), ok("hello"));
        let head: Vec<_> = std::iter::from_fn(|| client.line()).take_while(|line| !line.is_empty()).collect();
        assert_eq!(head[0], "HTTP/1.1 101 Switching Protocols");
        assert!(head.iter().any(|line| line == "connection: upgrade"), "{head:?}");
        assert!(head.iter().any(|line| line == "upgrade: shout/1"), "{head:?}");
        assert!(head.iter().any(|line| line == "x-volume: 11"), "{head:?}");
        assert!(!head.iter().any(|line| line.contains("length")), "{head:?}");
        assert_eq!(client.line().as_deref(), Some("TOO SOON"));
        assert_eq!(client.ask("more"), "MORE");
    }

    fn rfc9110_15_5_22_a_client_that_does_not_ask_is_told_to(model) {
        let service = web(model);
        let mut client = Client::to(&service);
        for fields in ["", "Connection: upgrade\r\nUpgrade: h2c\r\n", "Upgrade: shout/1\r\n"] {
            client.send(request("/shout", fields));
            let reply = client.reply();
            assert_eq!((reply.status, reply.closes), (426, false), "{fields}");
        }
        client.send(request("/bad", ASK));
        assert_eq!(client.reply().status, 500);
        // An upgrade that nobody offers is ignored.
        client.send(request("/hello", ASK));
        assert_eq!(client.reply(), ok("hello"));
    }
}
