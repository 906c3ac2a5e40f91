//! Deadlines: each phase has its own, and the counter says which one came.

use std::time::Duration;

use crate::common::{ANY, Client, eventually, every_model, server, start};
use threadline::{Frames, Lines, StreamOptions, Timeouts};

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

    fn one_byte_a_second_is_slower_than_the_minimum_rate(model) {
        let timeouts =
            Timeouts { body_grace: SHORT, body_rate_min: 1_000_000, ..Timeouts::default() };
        let echo = Frames::new(|frame, _| Some(frame.to_vec())).timeouts(timeouts);
        let service = start(server(model).frames(ANY, echo));
        let mut client = Client::to(&service);
        client.send([0, 0, 1, 0, 1, 2, 3]);
        assert_eq!(client.rest(), [0, 0, 0, 0]);
        assert_eq!(service.counts().timeouts_body, 1);
    }
}

#[test]
fn a_stream_connection_without_a_first_byte_is_closed() {
    let options = StreamOptions::new().first_byte_timeout(Some(SHORT));
    let service = start(server(threadline::Model::Adaptive).stream_with(ANY, options, |_| Ok(())));
    Client::to(&service).assert_closed();
    assert_eq!(service.counts().timeouts_idle, 1);
}
