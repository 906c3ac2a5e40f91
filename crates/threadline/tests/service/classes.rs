//! Routes by what is known of them: an unknown one waits for nobody, one that is found to block or to compute
//! goes where it belongs while its first call still runs, and few calls compute at a time.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::{ANY, Client, Gate, PATIENCE, eventually, server, start};
use crate::http_client::ok;
use threadline::http::{Deferred, Next, Request, Router, get};
use threadline::{Address, Class, Frames, Hint, Lines, Model, Running};

fn class(service: &Running, name: &str) -> Class {
    let routes = service.routes();
    let route = routes.iter().find(|route| route.name() == name);
    route.unwrap_or_else(|| panic!("no route {name}")).class()
}

/// An address of the service, by its number.
fn address(service: &Running, number: usize) -> std::net::SocketAddr {
    match service.addresses()[number] {
        Address::Ip(address) => address,
        ref other => panic!("not an IP address: {other}"),
    }
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")
}

/// A service with that many pool threads, all of them stuck in one route and more of its calls waiting; three
/// kinds of messages and a datagram service beside it have not been called yet.
fn stuck(threads: usize, hint: Hint) -> (Running, Arc<Gate>, Vec<Client>) {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let stick = move || {
        wait.wait();
        "stuck"
    };
    let router = Router::new()
        .route("/stuck", get(stick).hint(hint))
        .get("/cold", || "cold")
        .get("/colder", || "colder");
    let service = start(
        server(Model::Adaptive)
            .pool_threads(threads)
            .http(ANY, router)
            .lines(ANY, Lines::new(|line, _| Some(line.to_uppercase())))
            .frames(ANY, Frames::new(|frame: &[u8], _| Some(frame.to_vec())))
            .datagrams(ANY, |datagram, _| Some(datagram.to_vec())),
    );
    let clients = (0..threads + 4).map(|_| {
        let mut client = Client::to(&service);
        client.send(request("/stuck"));
        client
    });
    let clients = clients.collect();
    gate.await_arrivals(threads);
    eventually("every pool thread is stuck, and calls wait", || {
        let gauges = service.gauges();
        gauges.pool_busy == threads && gauges.pool_queue > 0
    });
    (service, gate, clients)
}

fn unknown_routes_are_answered(service: &Running) {
    assert_eq!(Client::to(service).get("/cold"), ok("cold"));
    // Again and again, up to its proof and beyond.
    let mut client = Client::to(service);
    (0..100).for_each(|_| assert_eq!(client.get("/colder"), ok("colder")));
    assert_eq!(Client::connect(address(service, 1)).ask("line"), "LINE");
    let mut frames = Client::connect(address(service, 2));
    frames.send(b"\0\0\0\x05frame");
    assert_eq!(frames.exactly(9), b"\0\0\0\x05frame");
    let socket = UdpSocket::bind(ANY).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket.send_to(b"datagram", address(service, 3)).expect("it is sent");
    let mut buffer = [0; 64];
    let (len, _) = socket.recv_from(&mut buffer).expect("an answer");
    assert_eq!(&buffer[..len], b"datagram");
}

#[test]
fn unknown_routes_are_answered_while_every_pool_thread_is_stuck() {
    for threads in [1, 4, 512] {
        let (service, gate, mut clients) = stuck(threads, Hint::Blocking);
        unknown_routes_are_answered(&service);
        gate.open();
        clients.iter_mut().for_each(|client| assert_eq!(client.reply(), ok("stuck")));
    }
}

#[test]
fn unknown_routes_are_answered_while_another_that_was_unknown_is_stuck() {
    let (service, gate, mut clients) = stuck(4, Hint::Prove);
    assert_eq!(class(&service, "GET /stuck"), Class::Blocking);
    // Two of its calls were trials, and have not taken anything that others need.
    gate.await_arrivals(6);
    unknown_routes_are_answered(&service);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.reply(), ok("stuck")));
}

/// The name and the nice value of this thread.
fn this_thread() -> (String, String) {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("/proc");
    let (head, tail) = stat.rsplit_once(')').expect("a name");
    let name = head.split_once('(').expect("a name").1;
    // The 19th field of all, of which the first two are before.
    (name.to_owned(), tail.split_whitespace().nth(16).expect("a nice value").to_owned())
}

/// A first call is not slower than others beside a busy machine.
#[test]
fn trials_run_on_threads_of_their_own_without_a_nice_value() {
    let who = || this_thread().0 + " " + &this_thread().1;
    let router = Router::new().get("/trial", who).route("/blocking", get(who).hint(Hint::Blocking));
    let server = server(Model::Adaptive).settings(|settings| settings.pool_nice = 19);
    let service = start(server.http(ANY, router));
    let mut client = Client::to(&service);
    let trial = client.get("/trial").body;
    let (name, nice) = trial.split_once(' ').expect("two words");
    assert!(name.starts_with("tl-trial"), "{trial}");
    assert_eq!(nice, this_thread().1);
    let blocking = client.get("/blocking").body;
    assert!(blocking.starts_with("tl-pool") && blocking.ends_with(" 19"), "{blocking}");
}

/// All calls come before any thread has begun with one.
#[test]
fn trials_of_a_burst_that_hang_hold_up_no_other_trial() {
    let gate = Arc::new(Gate::default());
    let mut router = Router::new().get("/cold", || "cold");
    for number in 0..20 {
        let wait = Arc::clone(&gate);
        router = router.get(&format!("/hangs/{number}"), move || {
            wait.wait();
            "late"
        });
    }
    let server = server(Model::Adaptive).settings(|settings| {
        settings.trial_threads_max = 5;
        settings.queue_wait_max = None;
    });
    let service = start(server.pool_threads(60).http(ANY, router));
    let mut clients: Vec<_> = (0..42).map(|_| Client::to(&service)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let path = if number < 40 { format!("/hangs/{}", number % 20) } else { "/cold".to_owned() };
        client.send(request(&path));
    }
    gate.await_arrivals(40);
    for client in clients.iter_mut().skip(40) {
        assert_eq!(client.reply(), ok("cold"));
    }
    gate.open();
    clients.iter_mut().take(40).for_each(|client| assert_eq!(client.reply(), ok("late")));
}

/// Connections whose last messages belonged on the pool are passed to it unread, but only as many as it has
/// threads for: what they ask for next may be answered elsewhere.
#[test]
fn a_burst_of_messages_that_nobody_has_read_does_not_fill_the_pools_queue() {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let router = Router::new()
        .route("/stuck", get(move || wait.wait()).hint(Hint::Blocking))
        .route("/slow", get(|| "slow").hint(Hint::Blocking))
        .route("/fast", get(|| "fast").hint(Hint::Inline))
        .get("/cold", || "cold");
    let server = server(Model::Adaptive).shards(1).pool_threads(4);
    let service =
        start(server.settings(|settings| settings.queue_wait_max = None).http(ANY, router));
    let mut clients: Vec<_> = (0..12).map(|_| Client::to(&service)).collect();
    for client in &mut clients {
        (0..4).for_each(|_| assert_eq!(client.get("/slow"), ok("slow")));
    }
    let mut others = clients.split_off(10);
    clients.iter_mut().for_each(|client| client.send(request("/stuck")));
    others[0].send(request("/fast"));
    others[1].send(request("/cold"));
    assert_eq!(others[0].reply(), ok("fast"));
    assert_eq!(others[1].reply(), ok("cold"));
    gate.open();
}

#[test]
fn a_route_that_blocks_at_first_is_classified_while_it_runs_and_its_other_calls_go_to_the_pool() {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let lines = Lines::new(move |line, _| {
        wait.wait();
        Some(line.to_owned())
    });
    let service = start(server(Model::Adaptive).lines(ANY, lines.name("all stuck")));
    let mut clients: Vec<_> = (0..20).map(|_| Client::to(&service)).collect();
    for client in &mut clients {
        client.send("x\n");
    }
    gate.await_arrivals(20);
    assert_eq!(class(&service, "all stuck"), Class::Blocking);
    let (counts, gauges) = (service.counts(), service.gauges());
    assert_eq!(counts.calls_tried, 2);
    assert_eq!((gauges.trial_busy, gauges.pool_busy, gauges.calls_parked), (2, 18, 0));
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.line().as_deref(), Some("x")));
}

/// As many routes as after a restart with a database that hangs.
#[test]
fn many_routes_that_block_at_first_hold_up_no_other() {
    let gate = Arc::new(Gate::default());
    let mut router = Router::new().get("/fine", || "fine");
    for number in 0..20 {
        let wait = Arc::clone(&gate);
        let stick = move || {
            wait.wait();
            "stuck"
        };
        router = router.get(&format!("/stuck/{number}"), stick);
    }
    let service = start(server(Model::Adaptive).pool_threads(2).http(ANY, router));
    let mut clients: Vec<_> = (0..60).map(|_| Client::to(&service)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(request(&format!("/stuck/{}", number % 20)));
    }
    gate.await_arrivals(42);
    assert_eq!(Client::to(&service).get("/fine"), ok("fine"));
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.reply(), ok("stuck")));
}

/// Handlers that say how many of them run at a time.
#[derive(Default)]
struct Crowd {
    running: AtomicUsize,
    peak: AtomicUsize,
    calls: AtomicUsize,
    gate: Gate,
}

impl Crowd {
    fn compute(&self) -> &'static str {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(running, Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.gate.wait();
        self.running.fetch_sub(1, Ordering::SeqCst);
        "computed"
    }
}

/// A service of which at most two calls may compute; `/compute` waits at the gate of the crowd.
fn computing(change: impl FnOnce(&mut threadline::Settings)) -> (Running, Arc<Crowd>) {
    let crowd = Arc::<Crowd>::default();
    let of_handler = Arc::clone(&crowd);
    let router = Router::new()
        .route("/compute", get(move || of_handler.compute()).hint(Hint::Computing))
        .get("/other", || "other");
    let server = server(Model::Adaptive).settings(|settings| settings.computing_max = Some(2));
    (start(server.settings(change).http(ANY, router)), crowd)
}

#[test]
fn few_calls_compute_at_a_time_and_the_others_wait_without_a_thread() {
    let (service, crowd) = computing(|_| {});
    let mut clients: Vec<_> = (0..16).map(|_| Client::to(&service)).collect();
    // Two each, one after the other.
    clients.iter_mut().for_each(|client| client.send(request("/compute").repeat(2)));
    crowd.gate.await_arrivals(2);
    eventually("the others wait", || {
        let gauges = service.gauges();
        (gauges.computing, gauges.computing_waiting, gauges.calls_parked) == (2, 14, 14)
    });
    assert_eq!(service.gauges().computing_threads, 2);
    assert_eq!(Client::to(&service).get("/other"), ok("other"));
    crowd.gate.open();
    for client in &mut clients {
        assert_eq!(client.reply(), ok("computed"));
        assert_eq!(client.reply(), ok("computed"));
    }
    assert_eq!(crowd.peak.load(Ordering::SeqCst), 2);
    eventually("nothing computes", || service.gauges().computing == 0);
    assert!(service.counts().calls_parked >= 14);
}

#[test]
fn calls_that_wait_to_compute_are_bounded_as_those_of_the_pool() {
    let (service, crowd) = computing(|settings| settings.pool_queue_max = 3);
    let mut clients: Vec<_> = (0..5).map(|_| Client::to(&service)).collect();
    clients.iter_mut().for_each(|client| client.send(request("/compute")));
    eventually("three wait", || service.gauges().computing_waiting == 3);
    let mut refused = Client::to(&service);
    let reply = refused.get("/compute");
    assert_eq!((reply.status, reply.closes), (503, false));
    assert_eq!(service.counts().refused_overload, 1);
    assert_eq!(refused.get("/other"), ok("other"), "others are not refused");
    crowd.gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.reply(), ok("computed")));
    assert_eq!(refused.get("/compute"), ok("computed"));
}

#[test]
fn a_drain_waits_for_calls_that_wait_to_compute() {
    let (service, crowd) = computing(|_| {});
    let mut clients: Vec<_> = (0..6).map(|_| Client::to(&service)).collect();
    clients.iter_mut().for_each(|client| client.send(request("/compute")));
    eventually("four wait", || service.gauges().computing_waiting == 4);
    let at = address(&service, 0);
    let draining = std::thread::spawn(move || service.drain());
    eventually("it drains", || std::net::TcpStream::connect(at).is_err());
    crowd.gate.open();
    for client in &mut clients {
        let reply = client.reply();
        assert_eq!((reply.status, reply.body.as_str()), (200, "computed"));
    }
    let drained = draining.join().expect("drain");
    assert!(drained.complete && drained.aborted == 0, "{drained:?}");
}

#[test]
fn calls_of_clients_that_wait_to_compute_and_go_away_are_not_run() {
    let (service, crowd) = computing(|settings| settings.pool_queue_max = 8);
    let mut clients: Vec<_> = (0..10).map(|_| Client::to(&service)).collect();
    clients.iter_mut().for_each(|client| client.send(request("/compute")));
    eventually("eight wait", || service.gauges().computing_waiting == 8);
    drop(clients);
    // The two that have begun hang.
    eventually("the places of the others are free", || {
        let gauges = service.gauges();
        (gauges.computing, gauges.computing_waiting, gauges.calls_parked) == (2, 0, 0)
    });
    assert_eq!(service.counts().abandoned_calls, 8);
    let mut late = Client::to(&service);
    late.send(request("/compute"));
    eventually("it waits", || service.gauges().computing_waiting == 1);
    crowd.gate.open();
    assert_eq!(late.reply(), ok("computed"));
    crowd.gate.await_arrivals(3);
    eventually("all have gone", || service.gauges().computing == 0);
    assert_eq!(crowd.calls.load(Ordering::SeqCst), 3);
}

#[test]
fn a_call_that_waits_too_long_to_compute_is_refused() {
    let (service, crowd) =
        computing(|settings| settings.queue_wait_max = Some(std::time::Duration::from_millis(50)));
    let mut clients: Vec<_> = (0..3).map(|_| Client::to(&service)).collect();
    clients[0].send(request("/compute"));
    clients[1].send(request("/compute"));
    crowd.gate.await_arrivals(2);
    let reply = clients[2].get("/compute");
    assert_eq!((reply.status, reply.closes), (503, false));
    assert_eq!((service.counts().timeouts_queue, service.gauges().calls_parked), (1, 0));
    crowd.gate.open();
    (0..2).for_each(|number| assert_eq!(clients[number].reply(), ok("computed")));
}

/// The layers of a late reply run without a place to compute, or for one that waits for its peer.
#[test]
fn a_reply_that_is_made_already_waits_for_no_place() {
    for hint in [Hint::Computing, Hint::Streamed] {
        let (gate, replies) = (Arc::new(Gate::default()), Arc::new(Mutex::new(Vec::new())));
        let (wait, kept) = (Arc::clone(&gate), Arc::clone(&replies));
        let later = move || {
            let kept = Arc::clone(&kept);
            Deferred::new(move |reply| kept.lock().expect("the lock").push(reply))
        };
        let stuck = move || {
            wait.wait();
            "free"
        };
        let router = Router::new()
            .route("/later", get(later).hint(hint))
            .route("/stuck", get(stuck).hint(hint))
            .layer(|request: &Request<'_>, next: Next<'_>| next.run(request));
        let server = server(Model::Adaptive).settings(|settings| {
            settings.computing_max = Some(1);
            settings.streamed_max = Some(1);
        });
        let service = start(server.http(ANY, router));
        let (mut client, mut stuck) = (Client::to(&service), Client::to(&service));
        client.send(request("/later"));
        eventually("it is called", || replies.lock().expect("the lock").len() == 1);
        stuck.send(request("/stuck"));
        gate.await_arrivals(1);
        let reply = replies.lock().expect("the lock").pop().expect("one");
        reply.send("late").expect("it is awaited");
        assert_eq!(client.reply(), ok("late"));
        gate.open();
        assert_eq!(stuck.reply(), ok("free"));
    }
}

/// Two trials that block for good, and others that wait for them until the route is classified.
#[test]
fn calls_that_wait_for_trials_are_withdrawn_when_their_clients_go() {
    for _ in 0..10 {
        let gate = Arc::new(Gate::default());
        let wait = Arc::clone(&gate);
        let lines = Lines::new(move |line, _| {
            wait.wait();
            Some(line.to_owned())
        });
        let service = start(server(Model::Adaptive).pool_threads(1).lines(ANY, lines));
        let mut clients: Vec<_> = (0..20).map(|_| Client::to(&service)).collect();
        clients.iter_mut().for_each(|client| client.send("x\n"));
        gate.await_arrivals(3);
        drop(clients);
        eventually("nothing waits", || {
            let gauges = service.gauges();
            (gauges.pool_queue, gauges.calls_parked) == (0, 0)
        });
        assert_eq!(service.counts().abandoned_calls, 17);
        gate.open();
        eventually("all have gone", || service.gauges().connections == 0);
    }
}

/// Computes until told to stop.
fn spin(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_route_that_computes_is_found_out_while_it_runs() {
    let stop = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&stop);
    let lines = Lines::new(move |line, _| {
        spin(&until);
        Some(line.to_owned())
    });
    let server = server(Model::Adaptive).settings(|settings| settings.computing_max = Some(1));
    let service = start(server.lines(ANY, lines.name("spins")));
    let mut clients: Vec<_> = (0..6).map(|_| Client::to(&service)).collect();
    clients.iter_mut().for_each(|client| client.send("x\n"));
    eventually("it is a computing one", || class(&service, "spins") == Class::Computing);
    eventually("the others wait for one that computes", || {
        let gauges = service.gauges();
        (gauges.computing, gauges.computing_waiting) == (1, 3)
    });
    stop.store(true, Ordering::Relaxed);
    clients.iter_mut().for_each(|client| assert_eq!(client.line().as_deref(), Some("x")));
}

/// A computing route whose call turns out to wait must not keep the place of others.
#[test]
fn a_computing_call_that_blocks_frees_its_place() {
    let (stop, gate) = (Arc::new(AtomicBool::new(false)), Arc::new(Gate::default()));
    let (until, wait) = (Arc::clone(&stop), Arc::clone(&gate));
    let lines = Lines::new(move |line, _| {
        match line {
            "spin" => spin(&until),
            _ => wait.wait(),
        }
        Some(line.to_owned())
    });
    let hash = Router::new().route("/hash", get(|| "hashed").hint(Hint::Computing));
    let server = server(Model::Adaptive).settings(|settings| settings.computing_max = Some(1));
    let service = start(server.lines(ANY, lines.name("both")).http(ANY, hash));
    let mut spins = Client::to(&service);
    spins.send("spin\n");
    eventually("it is a computing one", || class(&service, "both") == Class::Computing);
    let mut waits = Client::to(&service);
    waits.send("wait\n");
    gate.await_arrivals(1);
    let mut other = Client::connect(address(&service, 1));
    assert_eq!(other.get("/hash"), ok("hashed"), "its place is free at last");
    assert_eq!(class(&service, "both"), Class::Blocking);
    eventually("nothing computes", || service.gauges().computing == 0);
    gate.open();
    stop.store(true, Ordering::Relaxed);
    assert_eq!(waits.line().as_deref(), Some("wait"));
    assert_eq!(spins.line().as_deref(), Some("spin"));
}

/// What the pool is for under the other models, classes change nothing about.
#[test]
fn under_other_models_routes_are_not_classified() {
    for model in [Model::Pool, Model::EventLoop, Model::ThreadPerConnection] {
        let router = Router::new()
            .get("/plain", || "plain")
            .route("/computes", get(|| "computes").hint(Hint::Computing));
        let service = start(server(model).http(ANY, router));
        let mut client = Client::to(&service);
        for _ in 0..50 {
            assert_eq!(client.get("/plain"), ok("plain"));
            assert_eq!(client.get("/computes"), ok("computes"));
        }
        let gauges = service.gauges();
        assert_eq!((gauges.trial_threads, gauges.computing_threads), (0, 0), "{model}");
        assert_eq!(service.counts().calls_tried, 0);
    }
}
