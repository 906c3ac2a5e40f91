//! Limits, and what happens at each.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{ANY, Client, Gate, eventually, every_model, server, start};
use threadline::{Hint, Lines, Model, Timeouts};

fn echo() -> Lines {
    Lines::new(|line, _| Some(line.to_owned()))
}

every_model! {
    fn one_peer_cannot_have_more_connections_than_allowed(model) {
        let service = start(
            server(model)
                .settings(|settings| settings.connections_per_peer_max = Some(2))
                .lines(ANY, echo()),
        );
        let (mut one, mut two) = (Client::to(&service), Client::to(&service));
        assert_eq!((one.ask("1"), two.ask("2")), ("1".into(), "2".into()));
        let mut three = Client::to(&service);
        assert_eq!(three.line().as_deref(), Some("error: too many connections"));
        three.assert_closed();
        assert_eq!(service.counts().refused_per_peer, 1);
        drop(one);
        eventually("there is room again", || service.gauges().connections == 1);
        assert_eq!(Client::to(&service).ask("4"), "4");
    }

    fn at_the_connection_limit_new_clients_wait_and_none_is_lost(model) {
        let service = start(
            server(model).settings(|settings| settings.connections_max = 4).lines(ANY, echo()),
        );
        // None of the four has been idle for long, so none is closed for the fifth.
        let mut clients: Vec<_> = (0..4).map(|_| Client::to(&service)).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("in"), "in"));
        let mut waiting = Client::to(&service);
        waiting.send("patience\n");
        eventually("accepting has paused", || service.counts().paused_at_limit >= 1);
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("busy"), "busy"));
        assert!(service.gauges().connections <= 4);
        clients.pop();
        assert_eq!(waiting.line().as_deref(), Some("patience"));
    }

    fn near_the_limit_the_longest_idle_connections_make_room(model) {
        let service = start(
            server(model).settings(|settings| settings.connections_max = 10).lines(ANY, echo()),
        );
        let mut idle: Vec<_> = (0..10).map(|_| Client::to(&service)).collect();
        idle.iter_mut().for_each(|client| assert_eq!(client.ask("in"), "in"));
        // The new clients wait until the others count as idle, and are served then.
        assert_eq!(Client::to(&service).ask("new"), "new");
        assert_eq!(Client::to(&service).ask("newer"), "newer");
        assert!(service.counts().evicted >= 1);
        assert!(service.gauges().connections <= 10);
    }
}

#[test]
fn when_the_pools_queue_is_full_a_call_is_refused_clearly() {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let lines = Lines::new(move |line, _| {
        if line == "block" {
            wait.wait();
        }
        Some(line.to_owned())
    });
    let service = start(
        server(Model::Pool)
            .settings(|settings| {
                settings.pool_threads_max = 1;
                settings.pool_queue_max = 1;
            })
            .lines(ANY, lines),
    );
    let mut blocked = Client::to(&service);
    blocked.send("block\n");
    gate.await_arrivals(1);
    let mut queued = Client::to(&service);
    queued.send("queued\n");
    eventually("it is queued", || service.gauges().pool_queue == 1);
    let mut refused = Client::to(&service);
    assert_eq!(refused.ask("refused"), "error: overloaded, try again later");
    assert_eq!(service.counts().refused_overload, 1);
    gate.open();
    assert_eq!(blocked.line().as_deref(), Some("block"), "what was accepted is not lost");
    assert_eq!(queued.line().as_deref(), Some("queued"));
    assert_eq!(refused.ask("again"), "again", "the refused connection goes on");
}

#[test]
fn without_a_spare_calls_go_to_the_pool_and_still_nobody_waits() {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let lines = Lines::new(move |line, _| {
        if line == "block" {
            wait.wait();
        }
        Some(line.to_owned())
    })
    .hint(Hint::Inline);
    let service = start(
        server(Model::Adaptive)
            .shards(1)
            // One shard's thread, and its one spare.
            .settings(|settings| settings.spare_threads_max = 0)
            .lines(ANY, lines),
    );
    let mut blocked: Vec<_> = (0..5).map(|_| Client::to(&service)).collect();
    for (number, client) in blocked.iter_mut().enumerate() {
        client.send("block\n");
        gate.await_arrivals(number + 1);
    }
    let mut free = Client::to(&service);
    assert_eq!(free.ask("free"), "free");
    assert!(service.counts().calls_without_spare >= 1);
    assert!(service.gauges().loop_threads <= 2);
    gate.open();
    blocked.iter_mut().for_each(|client| assert_eq!(client.line().as_deref(), Some("block")));
}

#[test]
fn a_client_that_keeps_sending_after_a_close_is_cut_off() {
    use std::io::Write;
    let lines = Lines::new(|_, session| {
        session.close_after_reply();
        Some("bye".into())
    });
    let service = start(
        server(Model::Adaptive)
            .settings(|settings| settings.linger_bytes_max = 10_000)
            .lines(ANY, lines),
    );
    let mut client = Client::to(&service);
    client.send("x\n");
    assert_eq!(client.line().as_deref(), Some("bye"));
    let mut stream = client.stream().try_clone().expect("clone");
    while stream.write_all(&[b'y'; 1000]).is_ok() {}
    assert_eq!(service.counts().lingered_too_long, 1);
}

every_model! {
    fn a_client_that_keeps_a_closed_connection_open_is_cut_off(model) {
        let lines = Lines::new(|_, session| {
            session.close_after_reply();
            Some("bye".into())
        });
        let timeouts = Timeouts { idle: None, ..Timeouts::default() };
        let service = start(
            server(model)
                .settings(|settings| settings.linger = Duration::from_millis(50))
                .lines(ANY, lines.timeouts(timeouts)),
        );
        let mut client = Client::to(&service);
        client.send("x\n");
        assert_eq!(client.line().as_deref(), Some("bye"));
        // It neither closes its side nor sends: only the time bounds it.
        eventually("it is cut off", || service.counts().closed == 1);
        assert_eq!(service.counts().lingered_too_long, 1);
    }
}

#[test]
fn a_service_whose_threads_cannot_be_started_says_so() {
    use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
    use rustix::thread::{Uid, set_thread_uid};

    if !geteuid().is_root() {
        return; // the limit would be that of all tests
    }
    let limit = getrlimit(Resource::Nproc);
    // Of a user who has nothing else, and is bound by the limit: this thread and the first one of the pool.
    setrlimit(Resource::Nproc, Rlimit { current: Some(2), ..limit }).expect("root may");
    let start = || {
        set_thread_uid(Uid::from_raw(1_982_364_501)).expect("root may");
        server(Model::Adaptive).lines(ANY, Lines::new(|_, _| None)).start().map(drop)
    };
    let started = std::thread::spawn(start).join().expect("no panic");
    setrlimit(Resource::Nproc, limit).expect("root may");
    let error = started.expect_err("two shards and a monitor need three").to_string();
    assert!(error.starts_with("no thread could be started: "), "{error}");
    assert!(error.ends_with("(tl-shard-0)"), "{error}");
}
