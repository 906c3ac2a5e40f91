//! Content of messages that is received while the connection is parked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use threadline_engine::{Endpoint, Model, Settings, Timeouts};

use crate::common::{Fixture, SECOND, eventually, every_model, messages, settings, start};
use crate::toy::{Toy, message, reply};

fn toy(model: Model) -> Fixture {
    messages(settings(model), Toy::new().receiving())
}

/// Settings with files from 100 bytes on.
fn with_files(model: Model, dir: &Path) -> Settings {
    let mut settings = settings(model);
    (settings.body_memory_len_max, settings.body_dir) = (100, dir.to_owned());
    settings
}

/// Timeouts for content alone.
fn only_body(limit: Duration, rate: u32) -> Timeouts {
    Timeouts { head: None, body: Some(limit), body_rate: rate, idle: None, ..Timeouts::default() }
}

/// Content goes to files in memory, and 100 KB may wait. `None` on a system without such a file system.
fn with_files_in_memory(model: Model) -> Option<Fixture> {
    let dir = Path::new("/dev/shm");
    if !dir.is_dir() {
        return None;
    }
    let mut settings = with_files(model, dir);
    (settings.shards, settings.waiting_bytes_max) = (1, 100_000);
    Some(messages(settings, Toy::new().receiving()))
}

every_model! {
    fn content_is_decoded_as_it_comes(model) {
        let fixture = toy(model);
        let peer = fixture.connect();
        peer.send("?:3abc");
        peer.send_pieces(["1", "d2", "e", "f", "0", "1:x"]);
        peer.expect(reply("abcdef") + &reply("x"));
    }

    fn what_comes_behind_is_the_next_message(model) {
        let fixture = toy(model);
        let peer = fixture.connect();
        peer.send("10:01234");
        fixture.engine.settle();
        peer.send("567892:ab10:abc");
        peer.expect(reply("0123456789") + &reply("ab"));
        peer.send("defghij");
        peer.expect(reply("abcdefghij"));
    }

    fn a_peer_is_invited_once_if_nothing_has_come(model) {
        let fixture = toy(model);
        let peer = fixture.connect();
        peer.send(message("first") + "4:");
        peer.expect(reply("first") + "go on ");
        peer.send("ab");
        fixture.engine.settle();
        peer.send("cd");
        peer.expect(reply("abcd"));
        peer.send("4:a");
        fixture.engine.settle();
        assert_eq!(peer.untaken_len(), 0);
        peer.send("bcd");
        peer.expect(reply("abcd"));
    }

    fn content_that_is_refused_is_answered_at_once(model) {
        let fixture = toy(model);
        let peer = fixture.connect();
        peer.send("?:2ab");
        fixture.engine.settle();
        peer.send("x");
        peer.expect("Refused");
        peer.expect_end();
    }

    fn content_that_ends_early_is_told_to_the_protocol(model) {
        let fixture = toy(model);
        let peer = fixture.connect();
        peer.send("10:abc");
        peer.close_write();
        peer.expect("Ended");
        peer.expect_closed();
    }

    fn content_has_its_time_and_that_of_what_has_come(model) {
        let limit = 20 * SECOND;
        let fixture = messages(settings(model), Toy::new().receiving().timeouts(only_body(limit, 10)));
        let (slow, quick) = (fixture.connect(), fixture.connect());
        slow.send("1000:");
        slow.expect("go on ");
        quick.send("1000:".to_owned() + &"x".repeat(400));
        fixture.pass_nearly(limit);
        assert!(!slow.has_ended());
        fixture.pass_over(limit);
        slow.expect("late body");
        slow.expect_end();
        // Some 27 s of 60 have gone.
        assert_eq!(quick.untaken_len(), 0);
        fixture.pass(30 * SECOND);
        assert_eq!(quick.untaken_len(), 0);
        fixture.pass(15 * SECOND);
        quick.expect("late body");
        assert_eq!(fixture.counts().timeouts_body, 2);
        eventually("nothing waits", || fixture.engine.gauges().waiting_bytes == 0);
    }

    fn content_in_files_has_the_same_deadline(model) {
        let dir = tempfile::tempdir().expect("a directory");
        let limit = 20 * SECOND;
        let protocol = Toy::new().receiving().timeouts(only_body(limit, 0));
        let fixture = messages(with_files(model, dir.path()), protocol);
        let peer = fixture.connect();
        peer.send("1000:".to_owned() + &"x".repeat(500));
        eventually("it is in a file", || fixture.engine.gauges().body_files == 1);
        fixture.engine.settle();
        fixture.pass_nearly(limit);
        assert!(!peer.has_ended());
        fixture.pass_over(limit);
        peer.expect("late body");
        eventually("the file is gone", || fixture.engine.gauges().body_files == 0);
    }

    fn parked_content_holds_no_thread_and_is_counted(model) {
        let fixture = toy(model);
        let peers: Vec<_> = (0..5).map(|_| fixture.connect()).collect();
        for peer in &peers {
            peer.send("10000:".to_owned() + &"x".repeat(5000));
        }
        eventually("all of it waits", || fixture.engine.gauges().waiting_bytes >= 25_000);
        fixture.engine.settle();
        let gauges = fixture.engine.gauges();
        assert_eq!((gauges.pool_busy, gauges.pool_queue), (0, 0));
        for peer in &peers {
            peer.send("x".repeat(5000));
            peer.expect(reply(&"x".repeat(10_000)));
        }
        eventually("nothing waits", || fixture.engine.gauges().waiting_bytes == 0);
    }

    fn a_long_message_does_not_hold_up_others(model) {
        let fixture = toy(model);
        let (long, other) = (fixture.connect(), fixture.connect());
        let piece = "x".repeat(64 * 1024);
        // All of it is there at once.
        long.send_pieces([&["1000000:"][..], &[&*piece; 10]].concat());
        other.send(message("other"));
        other.expect(reply("other"));
        fixture.engine.settle();
        assert_eq!(long.unread_len(), 0);
        assert!(fixture.counts().yields >= 2, "others have their turn after 256 KB each time");
        long.send("x".repeat(1_000_000 - 10 * piece.len()));
        let mut got = long.take(6);
        let whole = reply(&"x".repeat(1_000_000));
        if got == b"go on " {
            got.clear();
        }
        got.extend(long.take(whole.len() - got.len()));
        assert!(got == whole.as_bytes());
    }

    fn a_missing_directory_refuses_what_needs_it(model) {
        let fixture = messages(with_files(model, Path::new("/nowhere")), Toy::new().receiving());
        let (long, short) = (fixture.connect(), fixture.connect());
        long.send("1000:".to_owned() + &"x".repeat(500));
        long.expect("NotStored");
        long.expect_end();
        short.send("100:".to_owned() + &"x".repeat(50));
        fixture.engine.settle();
        short.send("x".repeat(50));
        short.expect(reply(&"x".repeat(100)));
        assert_eq!(fixture.counts().body_file_errors, 1);
    }

    fn content_of_unknown_length_gets_a_file_only_when_it_is_too_long(model) {
        let dir = tempfile::tempdir().expect("a directory");
        let fixture = messages(with_files(model, dir.path()), Toy::new().receiving());
        let peer = fixture.connect();
        let groups = "5abcde".repeat(20);
        peer.send("?:5");
        fixture.engine.settle();
        peer.send("abcde");
        fixture.engine.settle();
        peer.send(&groups[6..]);
        fixture.engine.settle();
        peer.send("0");
        peer.expect(reply(&"abcde".repeat(20)));
        assert_eq!(fixture.counts().bodies_in_files, 0, "just what memory has room for");
        peer.send("?:".to_owned() + &groups);
        fixture.engine.settle();
        peer.send("1x");
        eventually("it is in a file", || fixture.engine.gauges().body_files == 1);
        peer.send("0");
        peer.expect(reply(&("abcde".repeat(20) + "x")));
        assert_eq!(fixture.counts().bodies_in_files, 1);
    }

    fn isolated_content_is_refused_only_when_it_is_too_long(model) {
        let mut settings = settings(model);
        settings.body_memory_len_max = 100;
        let protocol = Arc::new(Toy::new().receiving());
        let fixture =
            start(settings, |address| Endpoint::messages(address, protocol).isolated());
        let groups = "5abcde".repeat(20);
        for split in [3, 4, 50, groups.len() + 1] {
            let peer = fixture.connect();
            let message = "?:".to_owned() + &groups + "0";
            let (first, rest) = message.split_at(split);
            peer.send(first);
            eventually("it is read", || peer.unread_len() == 0);
            peer.send(rest);
            peer.expect(reply(&"abcde".repeat(20)));
            for end in ["1x", "1x0"] {
                let peer = fixture.connect();
                let message = "?:".to_owned() + &groups + end;
                let (first, rest) = message.split_at(split);
                peer.send(first);
                eventually("it is read", || peer.unread_len() == 0);
                peer.send(rest);
                peer.expect("TooLong { max: 100 }");
                peer.expect_end();
            }
        }
    }

    fn files_in_memory_are_kept_within_the_budget(model) {
        let Some(fixture) = with_files_in_memory(model) else { return };
        let (slowest, slow) = (fixture.connect(), fixture.connect());
        slowest.send("90000:".to_owned() + &"x".repeat(40_000));
        slow.send("90000:".to_owned() + &"x".repeat(50_000));
        eventually("they wait", || fixture.engine.gauges().waiting_bytes == 90_000);
        fixture.engine.settle();
        fixture.pass(5 * SECOND);
        let quick = fixture.connect();
        quick.send("30000:".to_owned() + &"x".repeat(20_000));
        // A connection's own thread looks now and then.
        eventually("it waits", || quick.unread_len() == 0);
        fixture.pass(SECOND);
        slowest.expect("late body");
        eventually("there is room", || fixture.engine.gauges().waiting_bytes <= 100_000);
        quick.send("x".repeat(10_000));
        quick.expect(reply(&"x".repeat(30_000)));
        slow.send("x".repeat(40_000));
        slow.expect(reply(&"x".repeat(90_000)));
        assert_eq!(fixture.counts().bodies_over_budget, 1);
    }

    fn content_that_becomes_slow_is_ended_without_another_message(model) {
        let Some(fixture) = with_files_in_memory(model) else { return };
        let (slowest, slow) = (fixture.connect(), fixture.connect());
        slowest.send("90000:".to_owned() + &"x".repeat(50_000));
        slow.send("90000:".to_owned() + &"x".repeat(60_000));
        eventually("the budget is exceeded", || fixture.engine.gauges().waiting_bytes == 110_000);
        fixture.engine.settle();
        assert_eq!(fixture.counts().bodies_over_budget, 0, "none of them is slow yet");
        fixture.pass(5 * SECOND);
        slowest.expect("late body");
        eventually("there is room", || fixture.engine.gauges().waiting_bytes == 60_000);
        slow.send("x".repeat(30_000));
        slow.expect(reply(&"x".repeat(90_000)));
        assert_eq!(fixture.counts().bodies_over_budget, 1);
    }

    fn a_drain_waits_for_content(model) {
        let fixture = toy(model);
        let peer = fixture.connect();
        peer.send("10:abc");
        fixture.engine.settle();
        fixture.engine.stop_listening();
        fixture.pass(2 * SECOND);
        assert!(!peer.has_ended());
        peer.send("defghij");
        peer.expect(reply("abcdefghij"));
    }
}
