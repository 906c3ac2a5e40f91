//! A slow handler never holds up anybody else's request.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{ANY, Client, Gate, eventually, every_model, server, start};
use threadline::http::{Router, get};
use threadline::{Endpoint, Hint, Lines, Model, Running};

/// A service that blocks at the gate when asked to.
fn gated(model: Model, hint: Hint, shards: usize) -> (Running, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let lines = Lines::new(move |line, _| {
        if line == "block" {
            wait.wait();
        }
        Some(line.to_owned())
    });
    (start(server(model).shards(shards).lines(ANY, lines.hint(hint))), gate)
}

#[test]
fn an_unproven_handler_that_blocks_holds_up_nobody() {
    for model in [Model::Adaptive, Model::Pool, Model::ThreadPerConnection] {
        let (service, gate) = gated(model, Hint::Prove, 1);
        let mut blocked: Vec<_> = (0..50).map(|_| Client::to(&service)).collect();
        blocked.iter_mut().for_each(|client| client.send("block\n"));
        gate.await_arrivals(50);
        let mut free = Client::to(&service);
        for _ in 0..1000 {
            assert_eq!(free.ask("x"), "x");
        }
        gate.open();
        blocked.iter_mut().for_each(|client| assert_eq!(client.line().as_deref(), Some("block")));
    }
}

/// The monitor takes the shard from a proven handler that blocks, again and again.
#[test]
fn a_proven_handler_that_blocks_loses_its_shard_to_a_spare() {
    let (service, gate) = gated(Model::Adaptive, Hint::Prove, 1);
    let mut prover = Client::to(&service);
    eventually("the route is proven", || {
        prover.ask("x");
        service.counts().calls_inline > 0
    });
    let mut blocked: Vec<_> = (0..3).map(|_| Client::to(&service)).collect();
    for (number, client) in blocked.iter_mut().enumerate() {
        client.send("block\n");
        gate.await_arrivals(number + 1);
        assert_eq!(prover.ask("others"), "others", "with {} blocked", number + 1);
    }
    assert!(service.counts().handoffs >= 1);
    gate.open();
    blocked.iter_mut().for_each(|client| assert_eq!(client.line().as_deref(), Some("block")));
    blocked.iter_mut().for_each(|client| assert_eq!(client.ask("after"), "after"));
}

/// Code that says that it is about to block loses its shard there and then: here the monitor never
/// looks.
#[test]
fn blocking_hands_the_shard_on_without_the_monitor() {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let lines = Lines::new(move |line, _| {
        if line == "block" {
            threadline::pool::blocking(|| wait.wait());
        }
        Some(line.to_owned())
    });
    let never = Duration::from_secs(3600);
    let server = server(Model::Adaptive).shards(1).settings(|settings| {
        settings.monitor_tick = never;
        settings.monitor_tick_after_stall = never;
    });
    let service = start(server.lines(ANY, lines.hint(Hint::Inline)));
    let mut blocked = Client::to(&service);
    let mut free = Client::to(&service);
    assert_eq!(free.ask("x"), "x");
    blocked.send("block\n");
    gate.await_arrivals(1);
    assert_eq!(free.ask("others"), "others");
    assert_eq!(service.counts().handoffs, 1);
    gate.open();
    assert_eq!(blocked.line().as_deref(), Some("block"));
}

/// Events that were taken from the kernel in one batch with the blocking one are served by the
/// successor: the batch belongs to the shard.
#[test]
fn the_rest_of_a_batch_is_served_by_the_successor() {
    let (service, gate) = gated(Model::Adaptive, Hint::Inline, 1);
    let mut clients: Vec<_> = (0..64).map(|_| Client::to(&service)).collect();
    for round in 0..20 {
        // Blocking and other messages arrive together, in whatever batches.
        for (number, client) in clients.iter_mut().enumerate() {
            let blocks = round == 0 && number % 16 == 7;
            client.send(if blocks { "block\n".into() } else { format!("{round} {number}\n") });
        }
        for (number, client) in clients.iter_mut().enumerate() {
            if round == 0 && number % 16 == 7 {
                continue;
            }
            // Those that block answer their later lines behind that one, once the gate is open.
            if number % 16 != 7 {
                assert_eq!(client.line(), Some(format!("{round} {number}")));
            }
        }
    }
    gate.open();
    for (number, client) in clients.iter_mut().enumerate().filter(|(n, _)| n % 16 == 7) {
        assert_eq!(client.line().as_deref(), Some("block"));
        for round in 1..20 {
            assert_eq!(client.line(), Some(format!("{round} {number}")));
        }
    }
}

/// A handler that computes without sleeping is caught as well.
#[test]
fn a_handler_that_spins_loses_its_shard_too() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let stop = Arc::new(AtomicBool::new(false));
    let spin = Arc::clone(&stop);
    let lines = Lines::new(move |line, _| {
        while line == "spin" && !spin.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        Some(line.to_owned())
    });
    let service = start(server(Model::Adaptive).shards(1).lines(ANY, lines.hint(Hint::Inline)));
    let mut spinning = Client::to(&service);
    spinning.send("spin\n");
    assert_eq!(Client::to(&service).ask("x"), "x");
    assert!(service.counts().handoffs >= 1);
    stop.store(true, Ordering::Relaxed);
    assert_eq!(spinning.line().as_deref(), Some("spin"));
}

#[test]
fn a_route_that_stalls_again_and_again_goes_back_to_the_pool() {
    let lines = Lines::new(|line, _| {
        if line == "slow" {
            std::thread::sleep(Duration::from_millis(30));
        }
        Some(line.to_owned())
    });
    let service = start(server(Model::Adaptive).shards(1).lines(ANY, lines.hint(Hint::Inline)));
    let mut client = Client::to(&service);
    eventually("it is demoted", || {
        client.ask("slow");
        service.counts().calls_pooled > 0
    });
    assert!(service.counts().handoffs >= 2, "not after one stall");
}

/// Every pool thread is stuck, and the queue is full: what runs on the shards answers.
#[test]
fn a_status_page_answers_while_every_pool_thread_is_stuck() {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let work = Lines::new(move |_, _| {
        wait.wait();
        Some("done".into())
    });
    let status = Lines::new(|_, _| Some("fine".into())).hint(Hint::Inline);
    let service = start(
        server(Model::Adaptive)
            .settings(|settings| {
                settings.pool_threads_max = 2;
                settings.pool_queue_max = 2;
            })
            .lines(ANY, status)
            .lines(ANY, work.hint(Hint::Blocking)),
    );
    let threadline::Address::Ip(work) = service.addresses()[1] else { panic!("an IP address") };
    let mut stuck: Vec<_> = (0..4).map(|_| Client::connect(work)).collect();
    stuck.iter_mut().for_each(|client| client.send("x\n"));
    gate.await_arrivals(2);
    eventually("the queue is full", || service.gauges().pool_queue == 2);
    for _ in 0..100 {
        assert_eq!(Client::to(&service).ask("status"), "fine");
    }
    gate.open();
    stuck.iter_mut().for_each(|client| assert_eq!(client.line().as_deref(), Some("done")));
}

// Every thread and event loop of the service proper is stuck, and it has all the connections it may have:
// an isolated endpoint answers.
every_model! {
    fn an_isolated_endpoint_answers_while_all_the_rest_is_stuck(model) {
        let gate = Arc::new(Gate::default());
        let wait = Arc::clone(&gate);
        let work = Lines::new(move |_, _| {
            wait.wait();
            Some("done".into())
        });
        let server = server(model).shards(1).settings(|settings| {
            settings.pool_threads_max = 2;
            settings.connections_max = 2;
            settings.connections_isolated = 2;
        });
        let status = Lines::new(|_, _| Some("fine".into()));
        let service = start(server.endpoint(Endpoint::lines(ANY, status).isolated()).lines(ANY, work));
        let threadline::Address::Ip(work) = service.addresses()[1] else { panic!("an address") };
        let mut stuck: Vec<_> = (0..2).map(|_| Client::connect(work)).collect();
        eventually("it is full", || service.gauges().connections == 2);
        stuck.iter_mut().for_each(|client| client.send("x\n"));
        gate.await_arrivals(if model == Model::EventLoop { 1 } else { 2 });
        let mut waiting = Client::connect(work);
        waiting.send("x\n");
        for _ in 0..10 {
            assert_eq!(Client::to(&service).ask("status"), "fine");
        }
        let mut regular = Client::to(&service);
        (0..100).for_each(|_| assert_eq!(regular.ask("status"), "fine"));
        drop(regular);
        gate.open();
        stuck.iter_mut().for_each(|client| assert_eq!(client.line().as_deref(), Some("done")));
        drop(stuck);
        assert_eq!(waiting.line().as_deref(), Some("done"));
        assert!(service.drain().complete);
    }
}

// A mistake is reported before anything is bound, whatever the model.
every_model! {
    fn what_needs_the_pool_cannot_be_isolated(model) {
        let lines = || Lines::new(|_, _| None);
        let mistake = |endpoint: Endpoint| {
            let started = server(model).lines(ANY, lines()).endpoint(endpoint.isolated()).start();
            started.expect_err("cannot be isolated").to_string()
        };
        assert_eq!(
            mistake(Endpoint::stream("127.0.0.1:9", |_| Ok(()))),
            "bad settings: stream on 127.0.0.1:9 cannot be isolated: a stream handler needs threads of the \
             pool"
        );
        assert_eq!(
            mistake(Endpoint::lines("127.0.0.1:9", lines().on_close(|_| ()))),
            "bad settings: lines on 127.0.0.1:9 cannot be isolated: the protocol's hooks need threads of \
             the pool"
        );
        let datagrams = Endpoint::datagrams(ANY, |_, _| None).isolated();
        start(server(model).endpoint(datagrams)).drain();
    }
}

/// A connection whose messages belong on the pool is read there in the end. One that comes in pieces is
/// the shard's again, whose deadlines wait for the rest.
#[test]
fn a_connection_whose_messages_belong_on_the_pool_is_read_there() {
    let lines = Lines::new(|line, _| Some(line.to_owned())).hint(Hint::Blocking);
    let service = start(server(Model::Adaptive).shards(1).lines(ANY, lines));
    let mut client = Client::to(&service);
    (0..2).for_each(|_| assert_eq!(client.ask("x"), "x"));
    assert_eq!(service.counts().passed_unread, 0);
    for round in 0..20 {
        let before = service.counts().passed_unread;
        eventually("it is passed on unread", || {
            assert_eq!(client.ask("x"), "x");
            service.counts().passed_unread > before
        });
        client.send("in ");
        client.send("pie");
        client.send("ces\n");
        assert_eq!(client.line().as_deref(), Some("in pieces"), "round {round}");
    }
}

/// A slow route's regular client asks something that is answered on the shard, while every pool thread is
/// stuck: its connection is not passed to the pool unread.
#[test]
fn a_regular_of_the_pool_still_gets_the_status_page_when_the_pool_is_stuck() {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let router = Router::new()
        .route("/work", get(|| "done").hint(Hint::Blocking))
        .route("/stick", get(move || wait.wait()).hint(Hint::Blocking))
        .route("/status", get(|| "fine").hint(Hint::Inline));
    let server = server(Model::Adaptive).shards(1).settings(|settings| {
        settings.pool_threads_max = 2;
    });
    let service = start(server.http(ANY, router));
    let mut regular = Client::to(&service);
    eventually("it is a regular of the pool", || {
        assert_eq!(regular.get("/work").body, "done");
        service.counts().passed_unread > 0
    });
    let mut stuck: Vec<_> = (0..2).map(|_| Client::to(&service)).collect();
    stuck.iter_mut().for_each(|client| client.send("GET /stick HTTP/1.1\r\nHost: x\r\n\r\n"));
    gate.await_arrivals(2);
    assert_eq!(regular.get("/status").body, "fine");
    gate.open();
}

/// A connection that pipelines without end yields to others.
#[test]
fn a_client_that_pipelines_without_end_does_not_starve_others() {
    use std::io::{Read, Write};
    for model in [Model::Adaptive, Model::EventLoop, Model::Pool] {
        let lines = Lines::new(|_, _| None).hint(Hint::Inline);
        let service = start(server(model).shards(1).lines(ANY, lines));
        let flood = Client::to(&service);
        let mut stream = flood.stream().try_clone().expect("clone");
        let flooding = std::thread::spawn(move || {
            let lines = "x\n".repeat(50_000);
            while stream.write_all(lines.as_bytes()).is_ok() {}
        });
        eventually("it yields", || service.counts().yields > 100);
        for _ in 0..20 {
            let mut other = Client::to(&service);
            other.send("y\n");
            other.stream().shutdown(std::net::Shutdown::Write).expect("half-closes");
            other.assert_closed();
        }
        let _ = flood.stream().shutdown(std::net::Shutdown::Both);
        let _ = flood.stream().read(&mut [0]);
        flooding.join().expect("flood");
    }
}
