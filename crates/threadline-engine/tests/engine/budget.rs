//! The budget of waiting bytes: whose connections are closed when it is exceeded.

use threadline_engine::testing::Peer;
use threadline_engine::{Lines, Model, Settings};

use crate::common::{Fixture, SECOND, eventually, every_model, messages, settings};

fn with_budget(model: Model, waiting_bytes_max: usize) -> Settings {
    let mut settings = settings(model);
    settings.waiting_bytes_max = waiting_bytes_max;
    settings
}

/// Answers each line with as many bytes as it says.
fn filling() -> Lines {
    Lines::new(|line, _| Some("x".repeat(line.parse().expect("a number"))))
}

/// A peer that has asked for that many bytes, and takes none of them.
fn stalled(fixture: &Fixture, len: usize) -> Peer {
    let peer = fixture.connect();
    peer.room(0);
    peer.send(format!("{len}\n"));
    fixture.engine.settle();
    peer
}

every_model! {
    fn the_longest_stalled_is_closed_and_its_memory_is_free(model) {
        let fixture = messages(with_budget(model, 3500), filling());
        let waiting = || fixture.engine.gauges().waiting_bytes;
        let first = stalled(&fixture, 1000);
        assert_eq!(waiting(), 1001, "a line and its end");
        fixture.pass(SECOND * 5);
        let second = stalled(&fixture, 1000);
        fixture.pass(SECOND * 5);
        // The first reads a little: it is not the one that has stalled for longest any more.
        first.room(1);
        first.expect("x");
        fixture.pass(SECOND * 2);
        let third = stalled(&fixture, 1000);
        assert_eq!((waiting(), fixture.counts().closed_over_budget), (3003, 0));
        let fourth = stalled(&fixture, 1000);
        second.expect_closed();
        assert!(second.was_reset());
        fixture.engine.settle();
        assert_eq!((waiting(), fixture.counts().closed_over_budget), (3003, 1));
        for (peer, len) in [(first, 999), (third, 1000), (fourth, 1000)] {
            peer.room(usize::MAX);
            peer.expect("x".repeat(len) + "\n");
        }
        fixture.engine.settle();
        assert_eq!(waiting(), 0);
    }

    fn those_that_never_read_are_closed_in_the_order_in_which_they_stalled(model) {
        let fixture = messages(with_budget(model, 4500), filling());
        let mut stalled_ones = std::collections::VecDeque::new();
        for _ in 0..4 {
            stalled_ones.push_back(stalled(&fixture, 1000));
            // Longer than until the first look, from which on a stall is measured.
            fixture.pass(SECOND * 6);
        }
        for closed in 1..=3 {
            stalled_ones.push_back(stalled(&fixture, 1000));
            let oldest = stalled_ones.pop_front().expect("a peer");
            oldest.expect_closed();
            fixture.engine.settle();
            assert_eq!(fixture.counts().closed_over_budget, closed);
            assert!(stalled_ones.iter().all(|peer| !peer.has_ended()));
        }
    }

    fn one_that_exceeds_the_budget_alone_is_closed(model) {
        let fixture = messages(with_budget(model, 500), filling());
        let small = stalled(&fixture, 100);
        let large = stalled(&fixture, 1000);
        small.expect_closed();
        large.expect_closed();
        fixture.engine.settle();
        assert_eq!(fixture.counts().closed_over_budget, 2);
        assert_eq!(fixture.engine.gauges().waiting_bytes, 0);
        // What does not wait is not limited.
        let peer = fixture.connect();
        peer.send("5000\n");
        peer.expect("x".repeat(5000) + "\n");
    }

    fn memory_that_is_free_again_goes_back_to_the_system(model) {
        let fixture = messages(settings(model), filling());
        let peer = stalled(&fixture, 16 << 20);
        fixture.pass(SECOND * 10);
        assert_eq!(fixture.counts().memory_releases, 0);
        peer.reset();
        fixture.engine.settle();
        assert_eq!(fixture.counts().memory_releases, 0, "more may follow");
        fixture.pass(SECOND * 10);
        eventually("it is released once", || fixture.counts().memory_releases == 1);
        fixture.pass(SECOND * 10);
        assert_eq!(fixture.counts().memory_releases, 1);
    }
}
