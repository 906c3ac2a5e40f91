//! Connections that become another message protocol, and stay parked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{ANY, Client, eventually, every_model, server, start};
use threadline::http::{Path, Response, Router};
use threadline::protocol::Protocol;
use threadline::{Frames, Lines, MessageService, Model, Running, Sender, Timeouts};

type Log = Arc<Mutex<Vec<String>>>;

fn note(log: &Log, what: impl Into<String>) {
    log.lock().expect("no panic").push(what.into());
}

fn of(protocol: impl Protocol) -> MessageService {
    MessageService::new(Arc::new(protocol))
}

/// Lines that are shouted back.
fn shout() -> Lines {
    Lines::new(|line, _| Some(line.to_uppercase()))
}

/// Lines that are echoed; `up` goes on in the other protocol, `large` has a reply that no socket holds.
fn up_to(other: MessageService) -> Lines {
    Lines::new(move |line, session| match line {
        "large" => Some("x".repeat(3_000_000)),
        "up" => {
            session.upgrade(other.clone());
            Some("now".to_owned())
        }
        line => Some(line.to_owned()),
    })
}

fn serve(model: Model, lines: Lines) -> Running {
    start(server(model).lines(ANY, lines))
}

/// Says when it is dropped.
struct Kept(Log, &'static str);

impl Drop for Kept {
    fn drop(&mut self) {
        note(&self.0, format!("{} dropped", self.1));
    }
}

every_model! {
    fn what_has_come_behind_the_last_message_is_for_the_new_protocol(model) {
        let service = serve(model, up_to(of(shout())));
        let mut client = Client::to(&service);
        client.send("one\nup\nand ");
        assert_eq!(client.line().as_deref(), Some("one"));
        assert_eq!(client.line().as_deref(), Some("now"));
        client.send("this\nand that\n");
        assert_eq!(client.line().as_deref(), Some("AND THIS"));
        assert_eq!(client.line().as_deref(), Some("AND THAT"));
        assert_eq!(client.ask("up"), "UP");
    }

    fn the_framing_changes_with_it(model) {
        let frames = Frames::new(|frame, _| Some(frame.to_vec()));
        let service = serve(model, up_to(of(frames)));
        let mut client = Client::to(&service);
        client.send(b"up\n\0\0\0\x03a\nb\0\0\0\0\0\0\0");
        assert_eq!(client.line().as_deref(), Some("now"));
        assert_eq!(client.exactly(11), b"\0\0\0\x03a\nb\0\0\0\0");
        client.send(b"\x01z");
        assert_eq!(client.exactly(5), b"\0\0\0\x01z");
    }

    fn the_replies_before_it_go_out_first(model) {
        let service = serve(model, up_to(of(shout().on_open(|_| Some("welcome".to_owned())))));
        let mut client = Client::to(&service);
        client.send("large\nup\nloud\n");
        assert_eq!(client.line().map(|line| line.len()), Some(3_000_000));
        assert_eq!(client.line().as_deref(), Some("now"));
        assert_eq!(client.line().as_deref(), Some("welcome"));
        assert_eq!(client.line().as_deref(), Some("LOUD"));
    }

    fn hooks_and_values_change_in_order(model) {
        let log = Log::default();
        let [open, closed, kept] = [(); 3].map(|()| Arc::clone(&log));
        let new = shout()
            .on_open(move |session| {
                let given = session.get::<u32>().is_some_and(|given| *given == 7);
                session.insert(Kept(Arc::clone(&open), "new"));
                note(&open, format!("new opened, given {given}"));
                None
            })
            .on_close(move |_| note(&closed, "new closed"));
        let (new, closed, open) = (of(new), Arc::clone(&log), Arc::clone(&log));
        let old = Lines::new(move |_, session| {
            session.upgrade_with(new.clone(), 7u32);
            Some("now".to_owned())
        })
        .on_open(move |session| {
            session.insert(Kept(Arc::clone(&kept), "old"));
            note(&open, "old opened");
            None
        })
        .on_close(move |session| {
            let kept = session.get::<Kept>().is_some();
            note(&closed, format!("old closed, kept {kept}"));
        });
        let service = serve(model, old);
        let mut client = Client::to(&service);
        assert_eq!(client.ask("up"), "now");
        assert_eq!(client.ask("a"), "A");
        drop(client);
        eventually("the connection ends", || service.gauges().connections == 0);
        let expected = [
            "old opened",
            "old closed, kept true",
            "old dropped",
            "new opened, given true",
            "new closed",
            "new dropped",
        ];
        // What is kept with a session is dropped behind its end.
        eventually("all of it has happened", || log.lock().expect("no panic").len() >= expected.len());
        assert_eq!(*log.lock().expect("no panic"), expected);
    }

    fn peer_number_and_senders_stay(model) {
        let seen = Arc::new(Mutex::new(Vec::<Sender>::new()));
        let (new_seen, old_seen) = (Arc::clone(&seen), Arc::clone(&seen));
        let new = of(Lines::new(move |_, session| {
            new_seen.lock().expect("no panic").push(session.sender());
            session.peer_addr().map(|peer| peer.to_string())
        }));
        let old = Lines::new(move |_, session| {
            old_seen.lock().expect("no panic").push(session.sender());
            session.upgrade(new.clone());
            None
        });
        let service = serve(model, old);
        let mut client = Client::to(&service);
        client.send("up\n");
        let here = client.stream().local_addr().expect("bound").to_string();
        assert_eq!(client.ask("who"), here);
        let senders = seen.lock().expect("no panic");
        assert_eq!(senders[0], senders[1]);
        senders[0].send("pushed\n").expect("a peer");
        assert_eq!(client.line().as_deref(), Some("pushed"));
    }

    fn the_deadlines_are_those_of_the_new_protocol(model) {
        let idle = Some(Duration::from_millis(100));
        let impatient = Timeouts { idle, ..Timeouts::default() };
        let service = serve(model, up_to(of(shout().timeouts(impatient))));
        let (mut patient, mut client) = (Client::to(&service), Client::to(&service));
        assert_eq!(patient.ask("a"), "a");
        assert_eq!(client.ask("up"), "now");
        client.assert_closed();
        assert_eq!(service.counts().timeouts_idle, 1);
        assert_eq!(patient.ask("b"), "b");
    }

    fn a_hook_may_go_on_at_once(model) {
        let log = Log::default();
        let closed = Arc::clone(&log);
        let last = of(shout().on_open(|_| Some("third".to_owned())));
        let second = shout()
            .on_open(move |session| {
                session.upgrade(last.clone());
                Some("second".to_owned())
            })
            .on_close(move |_| note(&closed, "second closed"));
        let second = of(second);
        let first = shout().on_open(move |session| {
            session.upgrade(second.clone());
            Some("first".to_owned())
        });
        let service = serve(model, first);
        let mut client = Client::to(&service);
        for greeting in ["first", "second", "third"] {
            assert_eq!(client.line().as_deref(), Some(greeting));
        }
        assert_eq!(client.ask("a"), "A");
        assert_eq!(*log.lock().expect("no panic"), ["second closed"]);
    }

    fn a_protocol_of_one_connection_is_dropped_with_it(model) {
        let log = Log::default();
        let kept = Arc::clone(&log);
        let old = Lines::new(move |_, session| {
            let kept = Kept(Arc::clone(&kept), "captured");
            session.upgrade(of(Lines::new(move |line, _| Some(format!("{line} {}", kept.1)))));
            Some("now".to_owned())
        });
        let service = serve(model, old);
        let mut client = Client::to(&service);
        assert_eq!(client.ask("up"), "now");
        assert_eq!(client.ask("a"), "a captured");
        drop(client);
        eventually("it is dropped", || *log.lock().expect("no panic") == ["captured dropped"]);
    }

    fn a_drain_closes_it_when_it_is_idle(model) {
        let service = serve(model, up_to(of(shout())));
        let mut client = Client::to(&service);
        assert_eq!(client.ask("up"), "now");
        let drained = service.drain();
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
        client.assert_closed();
    }

    fn http_goes_on_in_messages_and_stays_parked(model) {
        let lines = Lines::new(|line, session| {
            let name = session.get::<String>().cloned().unwrap_or_default();
            Some(format!("{name}{line}"))
        });
        let lines = of(lines);
        let named = lines.clone();
        let router = Router::new()
            .get("/lines", move || Response::upgrade_to("lines", lines.clone()))
            .get("/lines/{name}", move |Path(name): Path<String>| {
                Response::upgrade_with("lines", named.clone(), format!("{name}: "))
            });
        let service = start(server(model).http(ANY, router));
        let ask = "Host: t\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\n";
        let mut clients: Vec<_> = ["/lines", "/lines/ann"]
            .iter()
            .map(|path| {
                let mut client = Client::to(&service);
                client.send(format!("GET {path} HTTP/1.1\r\n{ask}one\ntwo\n"));
                assert_eq!(client.line().as_deref(), Some("HTTP/1.1 101 Switching Protocols"));
                while client.line().is_some_and(|line| !line.is_empty()) {}
                client
            })
            .collect();
        for line in ["one", "two"] {
            assert_eq!(clients[0].line().as_deref(), Some(line));
            assert_eq!(clients[1].line(), Some(format!("ann: {line}")));
        }
        eventually("no thread is held", || service.gauges().pool_busy == 0);
        assert_eq!(clients[1].ask("three"), "ann: three");
        // A client that does not ask for it is told to.
        assert_eq!(Client::to(&service).get("/lines").status, 426);
        let drained = service.drain();
        assert!(drained.is_clean(), "{drained:?}");
    }

    fn a_call_that_is_deferred_may_be_the_last_of_its_protocol(model) {
        let new = of(shout());
        let old = Lines::new(move |line, session| {
            let reply = session.defer();
            session.upgrade(new.clone());
            reply.answer(line.to_owned()).expect("awaited");
            None
        });
        let service = serve(model, old);
        let mut client = Client::to(&service);
        client.send("a\nb\n");
        assert_eq!(client.line().as_deref(), Some("a"));
        assert_eq!(client.line().as_deref(), Some("B"));
    }
}
