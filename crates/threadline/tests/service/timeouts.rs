//! Deadlines: each phase has its own, and the counter says which one came.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{ANY, Client, Gate, eventually, every_model, server, start};
use threadline::{Frames, Lines, Model, Running, StreamOptions, Timeouts};

const SHORT: Duration = Duration::from_millis(60);

fn echo(timeouts: Timeouts) -> Lines {
    Lines::new(|line, _| Some(line.to_owned())).timeouts(timeouts)
}

every_model! {
    fn an_idle_connection_is_closed(model) {
        let timeouts = Timeouts { idle: Some(SHORT), ..Timeouts::default() };
        let service = start(server(model).lines(ANY, echo(timeouts)));
        let mut silent = Client::to(&service);
        silent.assert_closed();
        let mut client = Client::to(&service);
        assert_eq!(client.ask("x"), "x");
        client.assert_closed();
        eventually("both are counted", || service.counts().timeouts_idle == 2);
    }

    fn half_a_line_is_not_waited_for_longer_than_a_head_may_take(model) {
        let timeouts = Timeouts { head: Some(SHORT), ..Timeouts::default() };
        let service = start(server(model).lines(ANY, echo(timeouts)));
        let mut client = Client::to(&service);
        client.send("whole\nhal");
        assert_eq!(client.line().as_deref(), Some("whole"));
        assert_eq!(client.line().as_deref(), Some("error: timed out"));
        client.assert_closed();
        assert_eq!(service.counts().timeouts_head, 1);
    }

    fn a_client_that_drips_bytes_does_not_move_its_deadline(model) {
        let timeouts = Timeouts { head: Some(SHORT * 2), ..Timeouts::default() };
        let service = start(server(model).lines(ANY, echo(timeouts)));
        let mut client = Client::to(&service);
        let mut writer = client.stream().try_clone().expect("clone");
        // A slowloris: a byte now and then, never a whole line.
        let dripping = std::thread::spawn(move || {
            use std::io::Write;
            while writer.write_all(b"x").is_ok() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        assert_eq!(client.line().as_deref(), Some("error: timed out"));
        drop(client);
        dripping.join().expect("the service closes on it");
        assert_eq!(service.counts().timeouts_head, 1);
    }

    fn half_a_body_is_not_waited_for(model) {
        let timeouts = Timeouts { body: Some(SHORT), ..Timeouts::default() };
        let echo = Frames::new(|frame, _| Some(frame.to_vec())).timeouts(timeouts);
        let service = start(server(model).frames(ANY, echo));
        let mut client = Client::to(&service);
        client.send([0, 0, 0, 10, 1, 2, 3]);
        assert_eq!(client.rest(), [0, 0, 0, 0]);
        assert_eq!(service.counts().timeouts_body, 1);
    }

    fn a_client_that_never_reads_is_closed_and_hurts_nobody(model) {
        let timeouts = Timeouts { write: Some(SHORT), ..Timeouts::default() };
        let lines = Lines::new(|line, _| Some(line.repeat(1_000_000))).timeouts(timeouts);
        let service = start(server(model).lines(ANY, lines));
        let mut deaf = Client::to(&service);
        deaf.send("0123456789\n".repeat(5));
        let mut other = Client::to(&service);
        assert_eq!(other.ask("x").len(), 1_000_000);
        eventually("the deaf one is closed", || service.counts().timeouts_write == 1);
        eventually("it is gone", || service.counts().closed == 1);
        assert_eq!(other.ask("y").len(), 1_000_000);
    }

    fn a_frame_that_does_not_come_to_its_end_is_refused(model) {
        let timeouts = Timeouts { body: Some(SHORT), ..Timeouts::default() };
        let echo = Frames::new(|frame, _| Some(frame.to_vec())).timeouts(timeouts);
        let service = start(server(model).frames(ANY, echo));
        let mut client = Client::to(&service);
        client.send([0, 0, 1, 0, 1, 2, 3]);
        assert_eq!(client.rest(), [0, 0, 0, 0]);
        assert_eq!(service.counts().timeouts_body, 1);
    }
}

every_model! {
    fn a_deadline_is_that_of_what_is_waited_for_now(model) {
        // The start of a line that fills the first read to its last byte; and one behind a whole line.
        for start in ["x".repeat(16 * 1024), format!("{}\n{}", "x".repeat(16 * 1024 - 1), "half")] {
            let timeouts = Timeouts { head: Some(SHORT), idle: None, ..Timeouts::default() };
            let lines = echo(timeouts).length_max(1 << 20);
            let service = start_and_send(model, lines, &start);
            eventually("the half line has timed out", || service.0.counts().timeouts_head == 1);
        }
    }

    fn the_idle_deadline_is_not_that_of_output_which_has_waited(model) {
        let timeouts = Timeouts { write: Some(SHORT), idle: None, ..Timeouts::default() };
        let lines = Lines::new(|line, _| Some(line.repeat(1_000_000))).timeouts(timeouts);
        let (service, mut client) = start_and_send(model, lines, "0123456789\n");
        assert_eq!(client.line().map(|line| line.len()), Some(10_000_000));
        std::thread::sleep(SHORT * 5);
        assert_eq!(client.ask("x").len(), 1_000_000);
        assert_eq!(service.counts().closed, 0);
    }
}

fn start_and_send(model: Model, lines: Lines, bytes: &str) -> (Running, Client) {
    let service = start(server(model).lines(ANY, lines));
    let mut client = Client::to(&service);
    client.send(bytes);
    (service, client)
}

/// The event loop is held up by its handlers. Nobody else's deadlines come early by that.
#[test]
fn an_event_loop_that_was_held_up_closes_nobody_as_idle_who_was_not() {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let idle = Duration::from_millis(500);
    let timeouts = Timeouts { idle: Some(idle), ..Timeouts::default() };
    let lines = Lines::new(move |line, _| {
        if line == "hold" {
            wait.wait();
        }
        Some(line.to_owned())
    });
    let service = start(server(Model::EventLoop).shards(1).lines(ANY, lines.timeouts(timeouts)));
    let (mut one, mut two) = (Client::to(&service), Client::to(&service));
    assert_eq!((one.ask("1"), two.ask("2")), ("1".into(), "2".into()));
    one.send("hold\n");
    gate.await_arrivals(1);
    std::thread::sleep(idle * 2);
    two.send("here in time, for all that the service could tell\n");
    gate.open();
    assert!(two.line().is_some_and(|line| line.starts_with("here in time")));
    assert_eq!(one.line().as_deref(), Some("hold"));
    // Their next deadlines are counted from here.
    assert_eq!(one.ask("still here"), "still here");
    assert_eq!(service.counts().timeouts_idle, 0);
}

#[test]
fn a_stream_connection_without_a_first_byte_is_closed() {
    let options = StreamOptions::new().first_byte_timeout(Some(SHORT));
    let service = start(server(Model::Adaptive).stream_with(ANY, options, |_| Ok(())));
    Client::to(&service).assert_closed();
    assert_eq!(service.counts().timeouts_idle, 1);
}
