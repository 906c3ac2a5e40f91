//! At the limits of connections and descriptors, existing clients go on, and new ones wait or are refused.

use std::sync::Arc;

use threadline_engine::{Endpoint, Model, Timeouts};

use crate::common::{Fixture, SECOND, eventually, every_model, messages, settings, start_all};
use crate::numbered::Numbered;
use crate::toy::{Toy, message, reply};

const ECONNABORTED: i32 = 103;
const EMFILE: i32 = 24;

every_model! {
    fn a_connection_that_fails_before_it_is_accepted_is_no_ones_loss(model) {
        let fixture = messages(settings(model), Toy::new());
        for _ in 0..5 {
            fixture.network.fail_accept(ECONNABORTED);
        }
        let peer = fixture.connect();
        peer.send(message("hello"));
        peer.expect(reply("hello"));
        eventually("each failure is counted", || fixture.counts().accept_errors == 5);
    }

    fn without_descriptors_clients_wait_until_there_are_some(model) {
        let mut settings = settings(model);
        settings.shards = 1;
        let fixture = messages(settings, Toy::new());
        let there = fixture.connect();
        there.send(message("one"));
        there.expect(reply("one"));
        fixture.network.fail_accept(EMFILE);
        let waits = fixture.connect();
        waits.send(message("two"));
        fixture.engine.settle();
        assert_eq!(waits.untaken_len(), 0);
        there.send(message("still"));
        there.expect(reply("still"));
        fixture.pass(SECOND / 2);
        waits.expect(reply("two"));
        assert_eq!(fixture.counts().paused_out_of_resources, 1);
    }

    fn at_the_limit_clients_wait_until_one_goes(model) {
        let mut settings = settings(model);
        (settings.shards, settings.connections_max) = (1, 2);
        let fixture = messages(settings, Toy::new());
        let (first, _second) = (fixture.connect(), fixture.connect());
        fixture.engine.settle();
        let waits = fixture.connect();
        waits.send(message("at last"));
        fixture.engine.settle();
        assert_eq!((waits.untaken_len(), fixture.connections()), (0, 2));
        first.close();
        waits.expect(reply("at last"));
        assert!(fixture.counts().paused_at_limit > 0);
    }

    fn a_connection_that_has_been_idle_for_long_makes_room(model) {
        let mut settings = settings(model);
        (settings.shards, settings.connections_max) = (1, 4);
        let fixture = messages(settings, Toy::new());
        let [busy, idle, used] = std::array::from_fn(|_| fixture.connect());
        busy.send("4:ab");
        fixture.pass(2 * SECOND);
        used.send(message("used"));
        used.expect(reply("used"));
        for content in ["fourth", "fifth"] {
            let new = fixture.connect();
            new.send(message(content));
            new.expect(reply(content));
            new.close_write();
            new.expect_closed();
        }
        idle.expect_closed();
        assert!(!used.is_closed() && !busy.is_closed());
        busy.send("cd");
        busy.expect("4:ABCD");
        assert_eq!(fixture.counts().evicted, 1);
    }

    fn an_open_call_is_not_closed_to_make_room(model) {
        for of_protocol in [1, 4] {
            let mut settings = settings(model);
            (settings.shards, settings.connections_max) = (1, 2);
            let (protocol, calls) = Numbered::new(of_protocol);
            let fixture = messages(settings, protocol);
            let waits = fixture.connect();
            waits.send("1\n");
            let call = calls.next("1");
            fixture.pass(SECOND);
            // Idle for less long.
            let idle = fixture.connect();
            fixture.pass(2 * SECOND);
            let new = fixture.connect();
            new.send("now here\n");
            new.expect("here\n");
            idle.expect_closed();
            fixture.engine.settle();
            assert!(!call.is_closed() && !waits.is_closed());
            call.answer("a".into()).expect("awaited");
            waits.expect("1=a\n");
            assert_eq!(fixture.counts().evicted, 1);
        }
    }

    fn one_idle_connection_among_many_busy_ones_makes_room(model) {
        // More than are looked at at once, and all of them parked for longer than the idle one.
        const BUSY: usize = 80;
        let mut settings = settings(model);
        (settings.shards, settings.connections_max) = (1, BUSY + 1);
        let (protocol, calls) = Numbered::new(4);
        let fixture = messages(settings, protocol.timeouts(Timeouts { head: None, ..Timeouts::default() }));
        let busy: Vec<_> = (0..BUSY).map(|_| fixture.connect()).collect();
        let (waiting, partial) = busy.split_at(BUSY / 2);
        waiting.iter().for_each(|peer| peer.send("1\n"));
        partial.iter().for_each(|peer| peer.send("now pa"));
        let open: Vec<_> = waiting.iter().map(|_| calls.next("1")).collect();
        fixture.pass(SECOND);
        let idle = fixture.connect();
        fixture.pass(2 * SECOND);
        let new = fixture.connect();
        new.send("now here\n");
        // It may take several looks to find the idle one.
        fixture.pass(SECOND);
        new.expect("here\n");
        idle.expect_closed();
        open.into_iter().for_each(|call| call.answer("a".into()).expect("awaited"));
        waiting.iter().for_each(|peer| peer.expect("1=a\n"));
        partial.iter().for_each(|peer| peer.send("rt\n"));
        partial.iter().for_each(|peer| peer.expect("part\n"));
        assert_eq!(fixture.counts().evicted, 1);
    }

    fn a_peer_with_too_many_connections_is_told(model) {
        let mut settings = settings(model);
        settings.connections_per_peer_max = Some(2);
        let fixture = messages(settings, Toy::new());
        let (first, second) = (fixture.connect(), fixture.connect());
        fixture.engine.settle();
        let third = fixture.connect();
        third.expect("too many");
        third.expect_end();
        third.close();
        third.expect_closed();
        first.close();
        first.expect_closed();
        fixture.engine.settle();
        let fourth = fixture.connect();
        for peer in [&second, &fourth] {
            peer.send(message("hello"));
            peer.expect(reply("hello"));
        }
        assert_eq!(fixture.counts().refused_per_peer, 1);
    }
}

#[test]
fn an_isolated_endpoint_answers_beyond_the_limit() {
    let mut settings = settings(Model::Adaptive);
    (settings.shards, settings.connections_max) = (1, 1);
    let endpoint = |is_isolated: bool| {
        move |address| {
            let endpoint = Endpoint::messages(address, Arc::new(Toy::new()));
            if is_isolated { endpoint.isolated() } else { endpoint }
        }
    };
    let fixture = start_all(settings, [endpoint(false), endpoint(true)]);
    let Fixture { engine, network, .. } = fixture;
    let usual = network.connect_to(1);
    usual.send(message("usual"));
    usual.expect(reply("usual"));
    let waits = network.connect_to(1);
    engine.settle();
    let isolated = network.connect_to(2);
    isolated.send(message("isolated"));
    isolated.expect(reply("isolated"));
    assert!(!waits.is_closed());
}
