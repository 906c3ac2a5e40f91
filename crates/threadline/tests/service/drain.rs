//! Going down: nothing that is in flight is lost, and nothing idle holds it up.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::{ANY, Client, Gate, PATIENCE, address, every_model, server, start};
use threadline::{Lines, Sender};

every_model! {
    fn idle_connections_do_not_hold_it_up(model) {
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        let stream = |mut connection: threadline::Connection| {
            connection.read_to_end(&mut Vec::new()).map(drop)
        };
        let service = start(
            server(model).drain_timeout(PATIENCE).lines(ANY, lines).stream(ANY, stream),
        );
        let mut spoke = Client::to(&service);
        assert_eq!(spoke.ask("x"), "x");
        let mut silent = Client::to(&service);
        let threadline::Address::Ip(stream) = service.addresses()[1] else { panic!("IP") };
        // A stream handler that sits in a read.
        let mut reading = Client::connect(stream);
        reading.send("some");
        let began = Instant::now();
        let drained = service.drain();
        assert!(began.elapsed() < PATIENCE / 2, "took {:?}", began.elapsed());
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
        spoke.assert_closed();
        silent.assert_closed();
        reading.assert_closed();
    }

    fn a_call_in_flight_is_finished(model) {
        let gate = Arc::new(Gate::default());
        let wait = Arc::clone(&gate);
        let lines = Lines::new(move |line, _| {
            if line == "wait" {
                wait.wait();
            }
            Some(line.to_owned())
        });
        let service = start(server(model).drain_timeout(PATIENCE).lines(ANY, lines));
        let mut client = Client::to(&service);
        client.send("wait\nand this\n");
        gate.await_arrivals(1);
        let address = address(&service);
        let draining = std::thread::spawn(move || service.drain());
        // Once nobody listens any more, the drain is on its way. A shard that must not be handed on
        // learns of it only when its handler returns.
        if model != threadline::Model::EventLoop {
            crate::common::eventually("it refuses new clients", || {
                std::net::TcpStream::connect(address).is_err()
            });
        }
        gate.open();
        assert_eq!(client.line().as_deref(), Some("wait"));
        assert_eq!(client.line().as_deref(), Some("and this"), "it had arrived before");
        let drained = draining.join().expect("drain");
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
    }

    fn under_load_no_reply_is_lost(model) {
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        let service = start(server(model).lines(ANY, lines));
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let (mut client, stop) = (Client::to(&service), Arc::clone(&stop));
                std::thread::spawn(move || {
                    let mut answered = 0u64;
                    // Each question is answered, until the client has stopped of its own accord.
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(client.ask(&answered.to_string()), answered.to_string());
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        crate::common::eventually("it is busy", || {
            service.counts().calls_inline + service.counts().calls_pooled > 2_000
        });
        let address = address(&service);
        let draining = std::thread::spawn(move || service.drain());
        crate::common::eventually("it refuses new clients", || {
            std::net::TcpStream::connect(address).is_err()
        });
        stop.store(true, Ordering::Relaxed);
        let answered: u64 = clients.into_iter().map(|c| c.join().expect("no reply lost")).sum();
        assert!(answered > 2_000 - 16, "{answered}");
        let drained = draining.join().expect("drain");
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
    }

    fn what_has_not_finished_at_the_deadline_is_cut_off(model) {
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        let service = start(server(model).drain_timeout(Duration::from_millis(200)).lines(ANY, lines));
        let mut client = Client::to(&service);
        client.send("half a li");
        crate::common::eventually("it is there", || service.gauges().connections == 1);
        let began = Instant::now();
        let drained = service.drain();
        assert!(began.elapsed() < PATIENCE / 2);
        // Under ThreadPerConnection the blocked read ends at once, and with it the connection.
        assert!(drained.aborted <= 1 && drained.complete, "{drained:?}");
        client.assert_closed();
    }

    fn open_push_connections_do_not_hold_it_up(model) {
        let senders = Arc::new(std::sync::Mutex::new(Vec::<Sender>::new()));
        let keep = Arc::clone(&senders);
        let lines = Lines::new(move |_, session| {
            keep.lock().expect("lock").push(session.sender());
            Some("subscribed".into())
        });
        let service = start(server(model).drain_timeout(PATIENCE).lines(ANY, lines));
        let mut client = Client::to(&service);
        assert_eq!(client.ask("x"), "subscribed");
        let began = Instant::now();
        let drained = service.drain();
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
        assert!(began.elapsed() < PATIENCE / 2);
        client.assert_closed();
        assert!(senders.lock().expect("lock")[0].is_closed());
    }
}

#[test]
fn dropping_a_service_ends_its_threads() {
    let service = start(
        server(threadline::Model::Adaptive).lines(ANY, Lines::new(|line, _| Some(line.into()))),
    );
    let mut client = Client::to(&service);
    assert_eq!(client.ask("x"), "x");
    drop(service);
    client.assert_closed();
}
