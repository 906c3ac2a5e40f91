//! Pushing to parked connections from anywhere.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::{ANY, Client, eventually, every_model, server, start};
use threadline::http::{Body, Response, Router};
use threadline::protocol::{AfterRefusal, Protocol, Refusal, Step, Turn};
use threadline::{
    Frames, Hint, Lines, Model, Route, Running, SendError, Sender, SlowReceiver, Timeouts,
};

/// A service whose handler gives each asker's sender away.
fn subscribers(model: Model) -> (Running, Receiver<Sender>) {
    let (lines, take) = subscribing_lines();
    let timeouts = Timeouts { idle: Some(Duration::from_millis(100)), ..Timeouts::default() };
    (start(server(model).lines(ANY, lines.timeouts(timeouts))), take)
}

fn subscribing_lines() -> (Lines, Receiver<Sender>) {
    let (give, take) = channel();
    let give = Mutex::new(give);
    let lines = Lines::new(move |line, session| {
        if line == "subscribe" {
            let give = give.lock().expect("lock");
            give.send(session.sender()).expect("the test waits");
        }
        Some(line.to_owned())
    });
    (lines, take)
}

fn subscribe(service: &Running, senders: &Receiver<Sender>) -> (Client, Sender) {
    let mut client = Client::to(service);
    assert_eq!(client.ask("subscribe"), "subscribe");
    (client, senders.recv().expect("a sender"))
}

every_model! {
    fn a_connection_has_a_number_that_no_other_has_or_had(model) {
        let lines = || Lines::new(|_, session| Some(session.id().to_string()));
        let number = |client: &mut Client| {
            client.ask("who am I").parse::<u64>().expect("a number")
        };
        let (one, two) = (server(model).lines(ANY, lines()), server(model).lines(ANY, lines()));
        let services = [start(one), start(two)];
        let mut stay: Vec<_> = services.iter().map(Client::to).collect();
        let theirs: Vec<_> = stay.iter_mut().map(number).collect();
        assert_ne!(theirs[0], theirs[1]);
        // One after the other, in the same slots again and again, on all shards of two services.
        let mut last = theirs[0].max(theirs[1]);
        for round in 0..1_000 {
            let next = number(&mut Client::to(&services[round % 2]));
            assert!(next > last, "number {next} came after {last}");
            last = next;
        }
        assert_eq!(stay.iter_mut().map(number).collect::<Vec<_>>(), theirs, "as long as they live");
    }

    fn senders_are_equal_if_they_are_of_one_connection(model) {
        let (service, senders) = subscribers(model);
        let (mut one, sender) = subscribe(&service, &senders);
        let (two, other) = subscribe(&service, &senders);
        assert_eq!(one.ask("subscribe"), "subscribe");
        let again = senders.recv().expect("a sender");
        assert_eq!((&sender, sender.id()), (&again, again.id()));
        assert_ne!((&sender, sender.id()), (&other, other.id()));
        let members = HashSet::from([sender.clone(), again, other.clone()]);
        assert_eq!(members.len(), 2);
        // Whatever becomes of the connections, and of those after them in their slots.
        drop((one, two));
        eventually("both are closed", || sender.is_closed() && other.is_closed());
        let (_three, third) = subscribe(&service, &senders);
        assert!(!members.contains(&third));
        assert!(members.contains(&sender) && members.contains(&other));
        assert_ne!(sender, other);
    }

    fn a_connection_that_is_handed_over_is_known_by_its_sender_still(model) {
        let (give, take) = channel();
        let closed = give.clone();
        let lines = Lines::new(move |_, session| {
            session.upgrade_to_stream(|_connection| Ok(()));
            give.send((session.id(), session.sender())).expect("the test waits");
            None
        });
        let lines = lines.on_close(move |session| {
            closed.send((session.id(), session.sender())).expect("the test waits");
        });
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        client.send("go on\n");
        let (before, after) = (take.recv().expect("a sender"), take.recv().expect("a sender"));
        assert_eq!(before, after);
        assert_eq!(after.1.id(), after.0);
        assert_eq!(after.1.send("x"), Err(SendError::Closed));
    }

    fn a_parked_connection_can_be_pushed_to_from_any_thread(model) {
        let (service, senders) = subscribers(model);
        let (mut client, sender) = subscribe(&service, &senders);
        let pushers: Vec<_> = (0..4)
            .map(|thread| {
                let sender = sender.clone();
                thread::spawn(move || {
                    for number in 0..100 {
                        sender.send(format!("{thread} {number}\n")).expect("open");
                    }
                })
            })
            .collect();
        let mut next = [0; 4];
        for _ in 0..400 {
            let line = client.line().expect("a pushed line");
            let (thread, number) = line.split_once(' ').expect("whole lines");
            let thread: usize = thread.parse().expect("a number");
            assert_eq!(number, next[thread].to_string(), "each thread's lines are in order");
            next[thread] += 1;
        }
        pushers.into_iter().for_each(|pusher| pusher.join().expect("pusher"));
        assert_eq!(client.ask("still here"), "still here");
    }

    fn a_frame_can_be_pushed(model) {
        let (give, take) = channel();
        let give = Mutex::new(give);
        let frames = Frames::new(move |frame, session| {
            give.lock().expect("lock").send(session.sender()).expect("the test waits");
            Some(frame.to_vec())
        });
        let service = start(server(model).frames(ANY, frames));
        let mut client = Client::to(&service);
        client.send(b"\0\0\0\x03ask");
        assert_eq!(client.exactly(7), b"\0\0\0\x03ask");
        take.recv().expect("a sender").send(Frames::encode(b"news")).expect("open");
        assert_eq!(client.exactly(8), b"\0\0\0\x04news");
    }

    fn an_open_push_connection_costs_no_idle_timeout(model) {
        let (service, senders) = subscribers(model);
        let (mut client, sender) = subscribe(&service, &senders);
        let mut other = Client::to(&service);
        assert_eq!(other.ask("x"), "x");
        // The other connection, without a sender, meets the idle timeout...
        other.assert_closed();
        // ...which this one has outlived.
        sender.send("pushed\n").expect("open");
        assert_eq!(client.line().as_deref(), Some("pushed"));
        drop(sender);
        client.assert_closed();
    }

    fn a_slow_receiver_is_closed_at_its_bound(model) {
        let (service, senders) = subscribers(model);
        let (_client, sender) = subscribe(&service, &senders);
        sender.limit(100_000, SlowReceiver::Close);
        let message = [b'x'; 10_000];
        let error = loop {
            if let Err(error) = sender.send(message) {
                break error;
            }
        };
        assert_eq!(error, SendError::TooSlow);
        assert_eq!(service.counts().slow_receivers_closed, 1);
        assert_eq!(sender.send("more"), Err(SendError::Closed));
        eventually("the connection is gone", || service.gauges().connections == 0);
        assert!(sender.is_closed());
    }

    fn the_oldest_messages_can_be_dropped_instead(model) {
        let (service, senders) = subscribers(model);
        let (mut client, sender) = subscribe(&service, &senders);
        sender.limit(100_000, SlowReceiver::DropOldest);
        let message = |number: u32| format!("{number:0>9999}\n");
        let mut sent = 0;
        while sender.dropped() < 20 {
            sender.send(message(sent)).expect("open");
            sent += 1;
            assert!(sender.waiting() <= 100_000);
        }
        let mut got = Vec::new();
        while got.last() != Some(&(sent - 1)) {
            got.push(client.line().expect("a line").parse::<u32>().expect("a whole message"));
        }
        assert!(got.is_sorted(), "in order");
        assert_eq!(got.len() as u64 + sender.dropped(), u64::from(sent), "each once or dropped");
        assert_eq!(service.counts().pushes_dropped, sender.dropped());
        assert_eq!(client.ask("next"), "next");
    }

    fn half_a_line_of_a_client_that_was_cut_off_is_not_taken_for_a_whole_one(model) {
        let (give, take) = channel();
        let give = Mutex::new(give);
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let hears = Arc::clone(&heard);
        let lines = Lines::new(move |line, session| {
            hears.lock().expect("lock").push(line.to_owned());
            give.lock().expect("lock").send(session.sender()).expect("the test waits");
            Some(line.to_owned())
        });
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        assert_eq!(client.ask("hello"), "hello");
        let sender = take.recv().expect("a sender");
        client.send("delete 1");
        sender.close();
        client.assert_closed();
        eventually("it is gone", || service.gauges().connections == 0);
        assert_eq!(*heard.lock().expect("lock"), ["hello"]);
    }

    fn a_message_larger_than_the_queue_is_refused_while_others_wait(model) {
        let (service, senders) = subscribers(model);
        let (_client, sender) = subscribe(&service, &senders);
        sender.limit(50_000, SlowReceiver::DropOldest);
        while sender.waiting() == 0 {
            sender.send([b'x'; 10_000]).expect("open");
        }
        assert_eq!(sender.send([b'y'; 50_001]), Err(SendError::TooLarge));
        assert!(!sender.is_closed());
        drop(service);
    }

    fn a_sender_learns_that_its_client_has_gone(model) {
        let (service, senders) = subscribers(model);
        let (client, sender) = subscribe(&service, &senders);
        drop(client);
        eventually("the connection is gone", || service.gauges().connections == 0);
        assert_eq!(sender.send("anybody?"), Err(SendError::Closed));
    }

    fn a_sender_can_close(model) {
        let (service, senders) = subscribers(model);
        let (mut client, sender) = subscribe(&service, &senders);
        sender.close();
        client.assert_closed();
        eventually("the connection is gone", || service.gauges().connections == 0);
    }

    fn pushes_and_replies_do_not_mix(model) {
        let (service, senders) = subscribers(model);
        let (mut client, sender) = subscribe(&service, &senders);
        let pusher = thread::spawn(move || {
            for _ in 0..500 {
                sender.send("push push push push\n").expect("open");
            }
        });
        let mut pushed = 0;
        for number in 0..500 {
            client.send(format!("reply {number}\n"));
            while let Some(line) = client.line() {
                if line == format!("reply {number}") {
                    break;
                }
                assert_eq!(line, "push push push push");
                pushed += 1;
            }
        }
        pusher.join().expect("pusher");
        while pushed < 500 {
            assert_eq!(client.line().as_deref(), Some("push push push push"));
            pushed += 1;
        }
    }
}

/// Greets, and pushes from then on by a sender that it gives away.
struct Greeter {
    give: Mutex<Option<std::sync::mpsc::Sender<Sender>>>,
    timeouts: Timeouts,
}

impl Protocol for Greeter {
    fn name(&self) -> &'static str {
        "greeter"
    }

    fn step(&self, _: &[u8], turn: &mut Turn<'_>) -> Step {
        let route = Route::with_hint("greeter", Hint::Inline);
        let called = turn.call(&route, |session, out| {
            out.extend_from_slice(b"hello\n");
            let sender = session.sender();
            if let Some(give) = &*self.give.lock().expect("lock") {
                give.send(sender).expect("the test waits");
            }
        });
        if called.is_err() { Step::Offload { len: 1 } } else { Step::Push }
    }

    fn refuse(&self, _: Refusal, _: &[u8], _: &mut Vec<u8>) -> AfterRefusal {
        AfterRefusal::Close
    }

    fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }
}

fn greeter(model: Model, give: Option<std::sync::mpsc::Sender<Sender>>) -> Running {
    let timeouts = Timeouts { idle: None, ..Timeouts::default() };
    let greeter = Greeter { give: Mutex::new(give), timeouts };
    let linger = |settings: &mut threadline::Settings| settings.linger = Duration::from_millis(200);
    start(server(model).settings(linger).protocol(ANY, Arc::new(greeter)))
}

every_model! {
    fn a_pushed_reply_ends_with_its_last_sender(model) {
        let (give, take) = channel();
        let service = greeter(model, Some(give));
        let mut client = Client::to(&service);
        client.send("x");
        assert_eq!(client.line().as_deref(), Some("hello"));
        let sender = take.recv().expect("a sender");
        let other = sender.clone();
        sender.send("one\n").expect("open");
        drop(sender);
        other.send("two\n").expect("open");
        drop(other);
        assert_eq!(client.rest(), b"one\ntwo\n");
        drop(client);
        eventually("it is gone", || service.gauges().connections == 0);
        assert_eq!(service.counts().lingered_too_long, 0);
    }

    fn a_pushed_reply_without_a_sender_ends_at_once(model) {
        let service = greeter(model, None);
        let mut client = Client::to(&service);
        client.send("x");
        assert_eq!(client.rest(), b"hello\n");
    }

    fn a_client_that_stays_when_a_pushed_reply_has_ended_is_cut_off(model) {
        let (give, take) = channel();
        let service = greeter(model, Some(give));
        let mut client = Client::to(&service);
        client.send("x");
        // Once by dropping it, once by `finish`.
        drop(take.recv().expect("a sender"));
        assert_eq!(client.rest(), b"hello\n");
        eventually("it is cut off", || service.counts().closed == 1);
        let mut other = Client::to(&service);
        other.send("x");
        take.recv().expect("a sender").finish();
        assert_eq!(other.rest(), b"hello\n");
        eventually("it is cut off", || service.counts().closed == 2);
        assert_eq!(service.counts().lingered_too_long, 2);
    }
}

#[test]
fn a_hundred_members_hear_what_one_says_and_hold_no_thread() {
    let members: Arc<Mutex<Vec<Sender>>> = Arc::default();
    let (join, tell) = (Arc::clone(&members), Arc::clone(&members));
    let lines = Lines::new(move |line, _| {
        let line = format!("{line}\n");
        for member in tell.lock().expect("lock").iter() {
            member.send(&line).expect("open");
        }
        None
    })
    .on_open(move |session| {
        join.lock().expect("lock").push(session.sender());
        Some("in".into())
    });
    let service = start(server(Model::Adaptive).lines(ANY, lines));
    let mut clients: Vec<_> = (0..100).map(|_| Client::to(&service)).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.line().as_deref(), Some("in")));
    for round in 0..20 {
        clients[round].send(format!("round {round}\n"));
        for client in &mut clients {
            assert_eq!(client.line(), Some(format!("round {round}")));
        }
    }
    eventually("no thread is held", || service.gauges().pool_busy == 0);
}

every_model! {
    fn a_client_that_has_gone_is_seen_by_its_senders(model) {
        let (give, bodies) = channel();
        let give = Mutex::new(give);
        let push = move || {
            let give = give.lock().expect("lock").clone();
            let body = Body::push(move |client| give.send(client).expect("the test waits"));
            Response::text("").with_body(body)
        };
        let (lines, senders) = subscribing_lines();
        let service = start(server(model).http(ANY, Router::new().get("/", push)).lines(ANY, lines));
        let threadline::Address::Ip(lines) = service.addresses()[1] else { panic!("an IP address") };
        for closes in [true, false] {
            let (mut web, mut other) = (Client::to(&service), Client::connect(lines));
            web.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
            while web.line().is_some_and(|line| !line.is_empty()) {}
            assert_eq!(other.ask("subscribe"), "subscribe");
            let (body, sender) = (bodies.recv().expect("a body"), senders.recv().expect("a sender"));
            assert!(!body.is_closed() && !sender.is_closed());
            // By a plain end of its input, without a reset.
            if closes {
                drop((web, other));
            } else {
                for client in [&web, &other] {
                    client.stream().shutdown(std::net::Shutdown::Write).expect("half-closes");
                }
            }
            eventually("both are closed", || body.is_closed() && sender.is_closed());
            assert_eq!(body.send("x"), Err(SendError::Closed));
        }
    }
}
