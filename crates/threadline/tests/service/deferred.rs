//! Replies that come later, from any thread, while the connection is parked.

use std::net::Shutdown;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::{ANY, Client, address, eventually, every_model, server, start};
use socket2::SockRef;
use threadline::{Deferred, Frames, Lines, Model, Running, Server, Timeouts};

/// A call that waits for its answer, and what was asked.
type Job = (String, Deferred<String>);

/// Lines that begin with `later` are left to the test, all others are echoed.
fn lines(queue: Sender<Job>) -> Lines {
    let queue = Mutex::new(queue);
    Lines::new(move |line, session| {
        if !line.starts_with("later") {
            return Some(line.to_owned());
        }
        let job = (line.to_owned(), session.defer());
        queue.lock().expect("no panic").send(job).expect("the test listens");
        None
    })
}

fn service_of(server: Server, lines: impl FnOnce(Lines) -> Lines) -> (Running, Receiver<Job>) {
    let (queue, jobs) = mpsc::channel();
    let service = start(server.lines(ANY, lines(self::lines(queue))));
    (service, jobs)
}

fn service(model: Model) -> (Running, Receiver<Job>) {
    service_of(server(model), |lines| lines)
}

fn next(jobs: &Receiver<Job>) -> Job {
    jobs.recv_timeout(crate::common::PATIENCE).expect("a call")
}

every_model! {
    fn a_reply_comes_from_another_thread(model) {
        let (service, jobs) = service(model);
        let mut client = Client::to(&service);
        for round in 0..3 {
            client.send(format!("later {round}\n"));
            let (line, reply) = next(&jobs);
            assert!(!reply.is_closed());
            thread::spawn(move || reply.answer(line.to_uppercase()).expect("awaited")).join().expect("thread");
            assert_eq!(client.line(), Some(format!("LATER {round}")));
            assert_eq!(client.ask("echo"), "echo");
        }
        assert_eq!(service.counts().calls_deferred, 3);
    }

    fn it_may_come_before_the_handler_returns(model) {
        let lines = Lines::new(|line, session| {
            session.defer().answer(line.to_uppercase()).expect("awaited");
            None
        });
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        client.send("a\nb\nc\n");
        let lines: Vec<_> = (0..3).map(|_| client.line()).collect();
        assert_eq!(lines, ["A", "B", "C"].map(|line| Some(line.to_owned())));
    }

    fn pipelined_replies_keep_their_order(model) {
        let (service, jobs) = service(model);
        let mut client = Client::to(&service);
        client.send("one\nlater two\nthree\nlater four\nfive\n");
        assert_eq!(client.line().as_deref(), Some("one"));
        let (_, two) = next(&jobs);
        assert!(jobs.try_recv().is_err(), "the next message waits for this one");
        two.answer("two".to_owned()).expect("awaited");
        assert_eq!(client.line().as_deref(), Some("two"));
        assert_eq!(client.line().as_deref(), Some("three"));
        let (_, four) = next(&jobs);
        four.answer("four".to_owned()).expect("awaited");
        assert_eq!(client.line().as_deref(), Some("four"));
        assert_eq!(client.line().as_deref(), Some("five"));
    }

    fn large_replies_before_it_do_not_get_behind_it(model) {
        let (queue, jobs) = mpsc::channel();
        let queue = Mutex::new(queue);
        let lines = Lines::new(move |line, session| {
            if line == "large" {
                return Some("x".repeat(3_000_000));
            }
            queue.lock().expect("no panic").send(session.defer::<String>()).expect("the test listens");
            None
        });
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        client.send("large\nlater\n");
        // Nobody reads yet, so that the call may come before the large reply is out, or after.
        let answers = thread::spawn(move || jobs.recv().expect("a call").answer("y".repeat(3_000_000)));
        assert_eq!(client.line().map(|line| line.starts_with('x')), Some(true));
        assert_eq!(client.line().map(|line| line.len()), Some(3_000_000));
        answers.join().expect("thread").expect("awaited");
    }

    fn what_is_never_answered_is_said(model) {
        let (service, jobs) = service(model);
        let mut client = Client::to(&service);
        client.send("later\necho\n");
        drop(next(&jobs));
        assert_eq!(client.line().as_deref(), Some("error: no reply"));
        assert_eq!(client.line().as_deref(), Some("echo"));
        assert_eq!(service.counts().deferred_dropped, 1);
    }

    fn what_takes_too_long_is_said(model) {
        let timeouts = Timeouts { deferred: Some(Duration::from_millis(50)), ..Timeouts::default() };
        let (service, jobs) = service_of(server(model), |lines| lines.timeouts(timeouts));
        let mut client = Client::to(&service);
        client.send("later\necho\n");
        let (_, late) = next(&jobs);
        assert_eq!(client.line().as_deref(), Some("error: timed out"));
        assert_eq!(client.line().as_deref(), Some("echo"));
        assert!(late.is_closed());
        assert_eq!(late.answer("late".to_owned()).map_err(|error| error.0), Err("late".to_owned()));
        assert_eq!(service.counts().timeouts_deferred, 1);
        assert_eq!(client.ask("more"), "more");
    }

    fn without_a_deadline_an_answer_may_take_longer_than_a_client_may_be_idle(model) {
        let idle = Some(Duration::from_millis(50));
        let timeouts = Timeouts { deferred: None, idle, ..Timeouts::default() };
        let (service, jobs) = service_of(server(model), |lines| lines.timeouts(timeouts));
        let mut client = Client::to(&service);
        client.send("later\n");
        let (_, reply) = next(&jobs);
        // Others are closed meanwhile.
        Client::to(&service).assert_closed();
        reply.answer("here".to_owned()).expect("awaited");
        assert_eq!(client.line().as_deref(), Some("here"));
        client.assert_closed();
    }

    fn a_client_that_sends_no_more_gets_its_reply(model) {
        let (service, jobs) = service(model);
        for line in ["later\n", "later"] {
            let mut client = Client::to(&service);
            client.send(line);
            client.stream().shutdown(Shutdown::Write).expect("shut down");
            let (_, reply) = next(&jobs);
            reply.answer("here".to_owned()).expect("awaited");
            assert_eq!(client.line().as_deref(), Some("here"));
            client.assert_closed();
        }
    }

    fn a_client_that_is_gone_is_noticed(model) {
        let (service, jobs) = service(model);
        let mut client = Client::to(&service);
        client.send("later\n");
        let (_, reply) = next(&jobs);
        // A reset.
        SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).expect("set");
        drop(client);
        eventually("the connection ends", || reply.is_closed());
        assert!(reply.answer("to nobody".to_owned()).is_err());
        eventually("its slot is free", || service.gauges().connections == 0);
    }

    fn a_drain_waits_for_it(model) {
        let (service, jobs) = service(model);
        let mut client = Client::to(&service);
        client.send("later\n");
        let (_, reply) = next(&jobs);
        let monitor = address(&service);
        let draining = thread::spawn(move || service.drain());
        eventually("the drain has begun", || std::net::TcpStream::connect(monitor).is_err());
        assert!(!reply.is_closed());
        reply.answer("just in time".to_owned()).expect("awaited");
        assert_eq!(client.line().as_deref(), Some("just in time"));
        let drained = draining.join().expect("thread");
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
        client.assert_closed();
    }

    fn a_drains_deadline_cuts_it_off_and_counts_it(model) {
        let server = server(model).drain_timeout(Duration::from_secs(3));
        let (service, jobs) = service_of(server, |lines| lines);
        let mut client = Client::to(&service);
        client.send("later\n");
        let (_, reply) = next(&jobs);
        let drained = service.drain();
        assert_eq!(drained.aborted, 1, "{drained:?}");
        assert!(drained.complete, "{drained:?}");
        assert!(reply.is_closed());
        client.assert_closed();
    }

    fn a_reply_that_is_the_last_may_come_later(model) {
        let (queue, replies) = mpsc::channel();
        let queue = Mutex::new(queue);
        let lines = Lines::new(move |_, session| {
            let reply: Deferred<String> = session.defer();
            session.close_after_reply();
            queue.lock().expect("no panic").send(reply).expect("the test listens");
            None
        });
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        client.send("a\nnot looked at\n");
        let reply = replies.recv_timeout(crate::common::PATIENCE).expect("a call");
        reply.answer("the last".to_owned()).expect("awaited");
        assert_eq!(client.line().as_deref(), Some("the last"));
        client.assert_closed();
        assert!(replies.try_recv().is_err(), "there is no other message");
    }

    fn idle_connections_make_room_however_many_wait_for_replies(model) {
        const ALL: usize = 60;
        let server = server(model).shards(1).settings(|settings| settings.connections_max = ALL);
        let (service, jobs) = service_of(server, |lines| lines);
        let mut waiting: Vec<_> = (0..ALL - 10).map(|_| Client::to(&service)).collect();
        waiting.iter_mut().for_each(|client| client.send("later\n"));
        let replies: Vec<_> = waiting.iter().map(|_| next(&jobs)).collect();
        let mut idle: Vec<_> = (0..10).map(|_| Client::to(&service)).collect();
        idle.iter_mut().for_each(|client| assert_eq!(client.ask("echo"), "echo"));
        // Room is made by those that have been idle for a second; until then new clients wait.
        assert_eq!(Client::to(&service).ask("new"), "new");
        assert!(service.counts().evicted > 0);
        for (line, reply) in replies {
            reply.answer(line).expect("awaited: it was in the middle of something");
        }
        waiting.iter_mut().for_each(|client| assert_eq!(client.line().as_deref(), Some("later")));
    }

    fn a_panic_of_the_handler_ends_it(model) {
        let held = Arc::new(Mutex::new(None));
        let hold = Arc::clone(&held);
        let lines = Lines::new(move |_, session| {
            *hold.lock().expect("no panic") = Some(session.defer::<String>());
            panic!("as the test wants");
        });
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        assert_eq!(client.ask("later"), "error: internal error");
        client.assert_closed();
        let reply = held.lock().expect("no panic").take().expect("deferred");
        eventually("the connection ends", || reply.is_closed());
    }

    fn frames_come_later_too(model) {
        let frames = Frames::new(|frame, session| {
            let (reply, frame) = (session.defer(), frame.to_vec());
            thread::spawn(move || if frame.is_empty() { Ok(()) } else { reply.answer(frame) });
            None
        });
        let service = start(server(model).frames(ANY, frames));
        let mut client = Client::to(&service);
        client.send(b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d");
        assert_eq!(client.exactly(16), b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d");
    }

    fn a_thousand_calls_in_flight_hold_no_thread_of_the_pool(model) {
        const CALLS: usize = 1000;
        let (service, jobs) = service_of(server(model).pool_threads(4), |lines| lines);
        let mut clients: Vec<_> = (0..CALLS).map(|_| Client::to(&service)).collect();
        clients.iter_mut().enumerate().for_each(|(n, client)| client.send(format!("later {n}\n")));
        let waiting: Vec<_> = (0..CALLS).map(|_| next(&jobs)).collect();
        let gauges = service.gauges();
        assert!(gauges.pool_threads <= 4, "{gauges:?}");
        eventually("no thread is held", || service.gauges().pool_busy == 0);
        // Another client is served meanwhile.
        assert_eq!(Client::to(&service).ask("echo"), "echo");
        let waiting = Arc::new(Mutex::new(waiting));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let waiting = Arc::clone(&waiting);
                let next = move || waiting.lock().expect("no panic").pop();
                thread::spawn(move || {
                    while let Some((line, reply)) = next() {
                        reply.answer(line.to_uppercase()).expect("awaited");
                    }
                })
            })
            .collect();
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.line(), Some(format!("LATER {n}")));
        }
        threads.into_iter().for_each(|thread| thread.join().expect("thread"));
    }
}
