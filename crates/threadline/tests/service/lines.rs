//! Line handlers.

use crate::common::{ANY, Client, address, every_model, server, start};
use std::io::Write;
use std::net::TcpStream;
use threadline::{Invalid, Lines, Model, Running};

fn echo(model: Model) -> Running {
    start(server(model).lines(ANY, Lines::new(|line, _| Some(line.to_owned())).length_max(100)))
}

every_model! {
    fn each_line_is_answered_in_order(model) {
        let service = echo(model);
        let mut client = Client::to(&service);
        for number in 0..200 {
            assert_eq!(client.ask(&format!("line {number}")), format!("line {number}"));
        }
    }

    fn pipelined_lines_are_answered_in_order(model) {
        let service = echo(model);
        let mut client = Client::to(&service);
        let mut writer = client.stream().try_clone().expect("clone");
        let lines = (0..20_000).map(|number| format!("{number}\n")).collect::<String>();
        let sender = std::thread::spawn(move || writer.write_all(lines.as_bytes()));
        for number in 0..20_000 {
            assert_eq!(client.line(), Some(number.to_string()));
        }
        sender.join().expect("sender").expect("writes");
    }

    fn a_line_may_come_byte_by_byte_and_end_in_crlf(model) {
        let service = echo(model);
        let mut client = Client::to(&service);
        for byte in "snail\r\n".bytes() {
            client.send([byte]);
        }
        assert_eq!(client.line().as_deref(), Some("snail"));
    }

    fn a_line_at_the_limit_passes_and_a_longer_one_is_an_error(model) {
        let service = echo(model);
        let mut client = Client::to(&service);
        let longest = "x".repeat(100);
        assert_eq!(client.ask(&longest), longest);
        client.send("y".repeat(101));
        let error = client.line().expect("an error line");
        assert!(error.contains("longer than 100 bytes"), "{error}");
        client.assert_closed();
        assert_eq!(service.counts().too_long_messages, 1);
    }

    fn a_line_at_the_limit_may_have_its_end_in_two_packets(model) {
        let service = echo(model);
        let mut client = Client::to(&service);
        let longest = "x".repeat(100);
        for _ in 0..100 {
            client.send(format!("{longest}\r"));
            client.send("\n");
            assert_eq!(client.line().as_ref(), Some(&longest));
        }
        assert_eq!(service.counts().too_long_messages, 0);
    }

    fn a_last_line_without_its_end_is_answered(model) {
        let service = echo(model);
        // The first on the pool, where that is, and the last inline.
        for number in 0..100 {
            let mut client = Client::to(&service);
            client.send(format!("first\nlast {number}"));
            client.stream().shutdown(std::net::Shutdown::Write).expect("half-closes");
            assert_eq!(client.rest(), format!("first\nlast {number}\n").as_bytes());
        }
        let mut client = Client::to(&service);
        client.send(b"cut \xc3");
        client.stream().shutdown(std::net::Shutdown::Write).expect("half-closes");
        assert_eq!(client.rest(), b"error: the line is not UTF-8\n");
        assert_eq!(service.counts().malformed, 1);
    }

    fn a_last_line_without_its_end_may_be_slow_and_its_reply_large(model) {
        let gate = std::sync::Arc::new(crate::common::Gate::default());
        let at_gate = std::sync::Arc::clone(&gate);
        let lines = Lines::new(move |line, _| {
            at_gate.wait();
            Some(line.repeat(1_000_000))
        });
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        client.send("abcd");
        client.stream().shutdown(std::net::Shutdown::Write).expect("half-closes");
        gate.await_arrivals(1);
        gate.open();
        let reply = client.rest();
        assert_eq!((reply.len(), reply.last()), (4_000_001, Some(&b'\n')));
    }

    fn a_line_that_is_not_utf8_is_an_error_and_a_close(model) {
        let service = echo(model);
        let mut client = Client::to(&service);
        client.send(b"good\n\xff\xfe\nnever read\n");
        assert_eq!(client.line().as_deref(), Some("good"), "what came before is answered");
        assert!(client.line().expect("an error line").contains("not UTF-8"));
        client.assert_closed();
        assert_eq!(service.counts().malformed, 1);
    }

    fn bad_utf8_can_be_answered_or_replaced(model) {
        let lines = || Lines::new(|line, _| Some(line.to_owned()));
        let service = start(
            server(model)
                .lines(ANY, lines().on_invalid(Invalid::Answer)),
        );
        let mut client = Client::to(&service);
        client.send(b"\xff\nnext\n");
        assert!(client.line().expect("an error line").contains("not UTF-8"));
        assert_eq!(client.line().as_deref(), Some("next"));

        let service = start(server(model).lines(ANY, lines().on_invalid(Invalid::Replace)));
        let mut client = Client::to(&service);
        client.send(b"a\xffb\n");
        assert_eq!(client.line().as_deref(), Some("a\u{fffd}b"));
    }

    fn a_handler_need_not_answer_and_may_close(model) {
        let lines = Lines::new(|line, session| match line {
            "silence" => None,
            "bye" => {
                session.close_after_reply();
                Some("bye".into())
            }
            other => Some(other.into()),
        });
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        client.send("silence\nword\nbye\nnever read\n");
        assert_eq!(client.line().as_deref(), Some("word"));
        assert_eq!(client.line().as_deref(), Some("bye"));
        client.assert_closed();
    }

    fn a_session_keeps_what_the_handler_puts_there(model) {
        let lines = Lines::new(|_, session| {
            let count = session.get::<u32>().map_or(1, |count| *count + 1);
            session.insert(count);
            Some(count.to_string())
        });
        let service = start(server(model).lines(ANY, lines));
        let (mut one, mut two) = (Client::to(&service), Client::to(&service));
        for count in 1..100 {
            assert_eq!(one.ask(""), count.to_string());
        }
        assert_eq!(two.ask(""), "1", "each connection has its own");
        assert_eq!(one.ask(""), "100");
    }

    fn hooks_run_once_for_each_connection(model) {
        use std::sync::atomic::{AtomicUsize, Ordering};
        use std::sync::Arc;
        let (opened, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count_opened, count_closed) = (Arc::clone(&opened), Arc::clone(&closed));
        let lines = Lines::new(|line, _| Some(line.to_owned()))
            .on_open(move |_| {
                count_opened.fetch_add(1, Ordering::SeqCst);
                Some("hello".into())
            })
            .on_close(move |_| {
                count_closed.fetch_add(1, Ordering::SeqCst);
            });
        let service = start(server(model).lines(ANY, lines));
        for _ in 0..20 {
            let mut client = Client::to(&service);
            assert_eq!(client.line().as_deref(), Some("hello"));
            assert_eq!(client.ask("x"), "x");
        }
        crate::common::eventually("all are closed", || closed.load(Ordering::SeqCst) == 20);
        assert_eq!(opened.load(Ordering::SeqCst), 20);
    }

    fn addresses_are_told(model) {
        let lines = Lines::new(|_, session| {
            Some(format!("{:?} {:?}", session.peer_addr(), session.local_addr()))
        });
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        let local = client.stream().local_addr().expect("address");
        let expected = format!("{:?} {:?}", Some(local), Some(address(&service)));
        assert_eq!(client.ask("?"), expected);
    }

    fn a_client_that_half_closes_gets_its_answers(model) {
        let service = echo(model);
        let mut client = Client::to(&service);
        client.send("one\ntwo\n");
        client.stream().shutdown(std::net::Shutdown::Write).expect("half-closes");
        assert_eq!(client.rest(), b"one\ntwo\n");
    }

    fn a_reply_larger_than_the_sockets_buffers_arrives_whole(model) {
        let lines = Lines::new(|line, _| Some(line.repeat(100_000)));
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        // Ten replies of 10 MB are asked for before any is read.
        let word = "x".repeat(100);
        client.send(format!("{word}\n").repeat(10));
        for _ in 0..10 {
            assert_eq!(client.line().map(|line| line.len()), Some(10_000_000));
        }
        assert_eq!(client.ask("z").len(), 100_000, "and the connection goes on");
    }
}

#[test]
fn many_connections_are_served_at_once() {
    let service = echo(Model::Adaptive);
    let mut clients: Vec<_> = (0..500).map(|_| Client::to(&service)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("{number}\n"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.line(), Some(number.to_string()));
    }
    assert_eq!(service.gauges().connections, 500);
    drop(clients);
    crate::common::eventually("all are gone", || service.gauges().connections == 0);
    let _: TcpStream = TcpStream::connect(address(&service)).expect("still there");
}
