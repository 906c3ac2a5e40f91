//! The write deadline: output of which the peer takes no byte for `Timeouts::write` ends its connection,
//! and is counted once, however the output was made and whatever the connection is doing meanwhile.
//!
//! The pauses here are the client's behaviour under test, not a way to wait for the service.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{ANY, Gate, PATIENCE, eventually, every_model, server, start};
use socket2::{Domain, Socket, Type};
use threadline::http::{Body, BodySender, HttpSettings, Response, Router};
use threadline::{
    Address, Connection, Lines, Model, Running, Sender, Server, StreamOptions, Timeouts,
};

/// More than the sockets of both sides hold.
const LARGE: usize = 16 << 20;
const LIMIT: Duration = Duration::from_millis(300);

fn timeouts(write: Option<Duration>, idle: Option<Duration>) -> Timeouts {
    Timeouts { write, idle, ..Timeouts::default() }
}

/// A client with a small receive buffer, so that the service's output soon waits.
fn connect(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("a buffer");
    socket.connect(&address.into()).expect("connects");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream
}

fn ip(service: &Running, number: usize) -> SocketAddr {
    match service.addresses()[number] {
        Address::Ip(address) => address,
        ref other => panic!("not an IP address: {other}"),
    }
}

/// How many bytes come until the service closes, and whether it does that by a reset.
fn read_to_close(stream: &mut TcpStream) -> (usize, bool) {
    let (mut buffer, mut all) = (vec![0; 1 << 16], 0);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (all, false),
            Ok(count) => all += count,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return (all, true),
            Err(error) => panic!("the service did not close: {error}"),
        }
    }
}

/// How many bytes come until the service closes.
fn read_all(stream: &mut TcpStream) -> usize {
    read_to_close(stream).0
}

/// Every way in which output is made: one service each on ports of their own.
struct Ways {
    service: Running,
    senders: Receiver<Sender>,
    bodies: Receiver<BodySender>,
    /// Held so that only a deadline ends what they push to.
    kept: (Vec<Sender>, Vec<BodySender>),
}

/// Port 0 has lines, port 1 HTTP, port 2 streams.
const OF_LINES: [&str; 4] = ["reply", "push", "bye", "over"];
const OF_HTTP: [&str; 4] = ["bytes", "file", "event", "reader"];

impl Ways {
    fn new(model: Model, timeouts: Timeouts) -> Ways {
        let (give, senders) = channel();
        let give = Mutex::new(give);
        let lines = Lines::new(move |line, session| match line {
            "reply" => Some("x".repeat(LARGE)),
            "bye" => {
                session.close_after_reply();
                Some("x".repeat(LARGE))
            }
            "over" => {
                session.upgrade_to_stream(|_| Ok(()));
                Some("x".repeat(LARGE))
            }
            "push" => {
                give.lock().expect("lock").send(session.sender()).expect("the test waits");
                None
            }
            other => Some(other.to_owned()),
        });
        let (give, bodies) = channel();
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(LARGE as u64).expect("a sparse file");
        let file = Arc::new(file);
        let router = Router::new()
            .get("/bytes", || vec![b'x'; LARGE])
            .get("/file", move || {
                let file = File::open(file.path()).expect("a file");
                Response::text("").with_body(Body::file(file).expect("a file"))
            })
            .get("/reader", || {
                Response::text("").with_body(Body::reader(io::repeat(b'x').take(LARGE as u64)))
            })
            .get("/event", move || {
                let give = give.clone();
                Response::text("").with_body(Body::push(move |body| {
                    give.send(body).expect("the test waits");
                }))
            })
            .settings(HttpSettings::default().timeouts(timeouts));
        let options = StreamOptions::new().write_timeout(timeouts.write);
        let stream = |mut connection: Connection| {
            connection.write_all(&vec![b'x'; LARGE])?;
            // Reads on, so that only the deadline can end it.
            io::copy(&mut connection, &mut io::sink()).map(drop)
        };
        let server = server(model)
            .lines(ANY, lines.timeouts(timeouts))
            .http(ANY, router)
            .stream_with(ANY, options, stream);
        Ways { service: start(server), senders, bodies, kept: (Vec::new(), Vec::new()) }
    }

    /// A client to whom output waits soon.
    fn client(&mut self, way: &str) -> TcpStream {
        let http = OF_HTTP.contains(&way);
        let port = if http { 1 } else { usize::from(!OF_LINES.contains(&way)) * 2 };
        let mut client = connect(ip(&self.service, port));
        let request = if http {
            format!("GET /{way} HTTP/1.1\r\nHost: t\r\n\r\n")
        } else {
            format!("{way}\n")
        };
        client.write_all(request.as_bytes()).expect("writes");
        match way {
            "push" => {
                let sender = self.senders.recv_timeout(PATIENCE).expect("a sender");
                sender.send(vec![b'x'; LARGE]).expect("open");
                self.kept.0.push(sender);
            }
            "event" => {
                let body = self.bodies.recv_timeout(PATIENCE).expect("a sender");
                body.send(vec![b'x'; LARGE]).expect("open");
                self.kept.1.push(body);
            }
            _ => {}
        }
        client
    }

    fn all(&mut self, model: Model) -> Vec<(&'static str, TcpStream)> {
        OF_LINES
            .into_iter()
            .chain(OF_HTTP)
            .chain(["stream"])
            // A body that is read blocks the event loop, where nobody else is served then.
            .filter(|way| !(model == Model::EventLoop && *way == "reader"))
            .map(|way| (way, self.client(way)))
            .collect()
    }

    /// All of them are closed, each is counted once, and by nothing else.
    fn assert_closed_once(&self, clients: u64) {
        eventually("all are gone", || self.service.counts().closed == clients);
        let counts = self.service.counts();
        assert_eq!((counts.timeouts_write, counts.closed), (clients, clients), "{counts:?}");
        let others = counts.timeouts_idle + counts.timeouts_stream + counts.lingered_too_long;
        assert_eq!(others + counts.slow_receivers_closed + counts.vanished, 0, "{counts:?}");
    }
}

every_model! {
    // Its replies fill all buffers, so that neither side can go on.
    fn a_client_that_only_sends_is_closed(model) {
        let timeouts = timeouts(Some(LIMIT), None);
        let lines = Lines::new(|line, _| Some(line.to_owned())).timeouts(timeouts);
        let service = start(server(model).lines(ANY, lines));
        let mut client = connect(ip(&service, 0));
        client.set_write_timeout(Some(PATIENCE)).expect("a limit");
        let line = ["x".repeat(1000), "\n".into()].concat();
        while client.write_all(line.as_bytes()).is_ok() {}
        eventually("it is closed", || service.gauges().connections == 0);
        assert_eq!(service.counts().timeouts_write, 1);
    }

    fn a_peer_that_reads_nothing_is_closed_however_output_was_made(model) {
        let mut ways = Ways::new(model, timeouts(Some(LIMIT), None));
        let mut clients = ways.all(model);
        ways.assert_closed_once(clients.len() as u64);
        assert!(ways.kept.0.iter().all(Sender::is_closed));
        assert!(ways.kept.1.iter().all(BodySender::is_closed));
        // The kernel holds nothing for them any more either.
        for (way, client) in &mut clients {
            assert!(read_to_close(client).1, "{way} gets an end, but no reset");
        }
    }

    fn the_idle_deadline_has_no_part_in_it(model) {
        let mut ways = Ways::new(model, timeouts(Some(LIMIT), Some(Duration::from_secs(60))));
        let clients = ways.all(model);
        ways.assert_closed_once(clients.len() as u64);
    }

    // Its buffer holds less than what is sent of a file at one go.
    fn a_file_on_a_socket_with_a_small_buffer_has_the_deadline_too(model) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let router = Router::new()
            .get("/", || {
                let file = tempfile::tempfile().expect("a file");
                file.set_len(LARGE as u64).expect("a sparse file");
                Response::text("").with_body(Body::file(file).expect("a file"))
            })
            .settings(HttpSettings::default().timeouts(timeouts(Some(LIMIT), None)));
        let service = start(server(model).http(format!("unix:{}", path.display()), router));
        let mut client = UnixStream::connect(&path).expect("connects");
        client.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").expect("writes");
        eventually("it is closed", || service.counts().closed == 1);
        assert_eq!(service.counts().timeouts_write, 1);
    }

    fn a_body_that_is_read_has_the_deadline_too(model) {
        let mut ways = Ways::new(model, timeouts(Some(LIMIT), None));
        let _client = ways.client("reader");
        ways.assert_closed_once(1);
    }

    fn a_peer_that_takes_a_little_now_and_then_is_not_closed(model) {
        let limit = Duration::from_secs(2);
        let mut ways = Ways::new(model, timeouts(Some(limit), Some(Duration::from_millis(100))));
        let mut clients = ways.all(model);
        let mut piece = vec![0; 32 * 1024];
        // Never enough at a time for the kernel to say that there is room.
        let until = Instant::now() + 3 * limit;
        while Instant::now() < until {
            for (way, client) in &mut clients {
                client.set_nonblocking(true).expect("a socket");
                match client.read(&mut piece) {
                    Ok(1..) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => panic!("{way}: {other:?}, {:?}", ways.service.counts()),
                }
            }
            thread::sleep(Duration::from_millis(100));
        }
        let counts = ways.service.counts();
        assert_eq!((counts.timeouts_write, counts.closed), (0, 0), "{counts:?}");
        // When they stop, they are.
        ways.assert_closed_once(clients.len() as u64);
    }

    fn a_peer_that_pauses_for_less_gets_everything(model) {
        let idle = Some(Duration::from_millis(60));
        let mut ways = Ways::new(model, timeouts(Some(PATIENCE), idle));
        let mut clients = ways.all(model);
        // Many times the idle deadline.
        thread::sleep(Duration::from_millis(600));
        for (way, client) in &mut clients {
            let mut left = LARGE;
            let mut piece = vec![0; 1 << 20];
            while left > 0 {
                let most = left.min(piece.len());
                match client.read(&mut piece[..most]) {
                    Ok(count @ 1..) => left -= count,
                    other => panic!("{way}: {left} bytes are missing: {other:?}"),
                }
            }
        }
        let counts = ways.service.counts();
        assert_eq!(counts.timeouts_write, 0, "{counts:?}");
    }

    fn without_a_deadline_output_waits_for_ever(model) {
        let idle = Some(Duration::from_millis(60));
        let mut ways = Ways::new(model, timeouts(None, idle));
        let mut client = ways.client("push");
        thread::sleep(Duration::from_millis(600));
        assert_eq!(ways.service.counts().closed, 0);
        ways.kept.0.clear();
        // The idle deadline comes when all is out.
        assert_eq!(read_all(&mut client), LARGE);
        assert_eq!(ways.service.counts().timeouts_idle, 1);
    }

    fn the_idle_deadline_comes_also_when_output_has_waited_for_longer(model) {
        let idle = Duration::from_millis(100);
        let mut ways = Ways::new(model, timeouts(Some(PATIENCE), Some(idle)));
        let mut client = ways.client("reply");
        thread::sleep(idle * 4);
        // The next message, which may be answered on another thread as soon as the reply is out.
        client.write_all(b"x\n").expect("writes");
        assert_eq!(read_all(&mut client), LARGE + 3);
        assert_eq!(ways.service.counts().timeouts_idle, 1);
        ways.kept.0.clear();
    }

    fn it_does_not_come_while_nothing_waits(model) {
        let short = Some(Duration::from_millis(60));
        let mut ways = Ways::new(model, timeouts(short, short));
        let mut client = connect(ip(&ways.service, 0));
        client.write_all(b"push\n").expect("writes");
        let sender = ways.senders.recv_timeout(PATIENCE).expect("a sender");
        for _ in 0..5 {
            sender.send("news\n").expect("open");
            client.read_exact(&mut [0; 5]).expect("news");
            thread::sleep(Duration::from_millis(200));
        }
        let counts = ways.service.counts();
        assert_eq!((counts.timeouts_write, counts.closed), (0, 0), "{counts:?}");
        ways.kept.0.push(sender);
    }

    fn messages_behind_those_that_wait_do_not_move_it(model) {
        let mut ways = Ways::new(model, timeouts(Some(LIMIT), None));
        let _client = ways.client("push");
        let sender = ways.kept.0[0].clone();
        sender.limit(usize::MAX, threadline::SlowReceiver::DropOldest);
        let until = Instant::now() + PATIENCE;
        while sender.send("more\n").is_ok() {
            assert!(Instant::now() < until, "the deadline never came");
            thread::sleep(Duration::from_millis(5));
        }
        ways.assert_closed_once(1);
    }
}

/// A service whose handler holds its connection while others push to it.
fn held(model: Model, write: Duration) -> (Running, Receiver<Sender>, Arc<Gate>) {
    let (give, senders) = channel();
    let (give, gate) = (Mutex::new(give), Arc::new(Gate::default()));
    let wait = Arc::clone(&gate);
    let lines = Lines::new(move |_, session| {
        give.lock().expect("lock").send(session.sender()).expect("the test waits");
        wait.wait();
        Some("done".to_owned())
    });
    let lines = lines.timeouts(timeouts(Some(write), None));
    (start(server(model).lines(ANY, lines)), senders, gate)
}

/// An event loop is held up by its handlers, by definition.
const OTHERS: [Model; 3] = [Model::Adaptive, Model::Pool, Model::ThreadPerConnection];

#[test]
fn a_connection_that_is_being_served_is_closed_all_the_same() {
    for model in OTHERS {
        let (service, senders, gate) = held(model, LIMIT);
        let mut client = connect(ip(&service, 0));
        client.write_all(b"x\n").expect("writes");
        let sender = senders.recv_timeout(PATIENCE).expect("a sender");
        sender.send(vec![b'x'; LARGE]).expect("open");
        eventually("it is closed", || sender.is_closed());
        assert_eq!(service.counts().timeouts_write, 1, "{model}");
        gate.open();
        eventually("it is gone", || service.gauges().connections == 0);
        let counts = service.counts();
        assert_eq!((counts.timeouts_write, counts.closed), (1, 1), "{model}: {counts:?}");
    }
}

#[test]
fn a_peer_that_reads_while_its_connection_is_being_served_gets_what_is_pushed() {
    for model in OTHERS {
        let (service, senders, gate) = held(model, PATIENCE);
        let mut client = connect(ip(&service, 0));
        client.write_all(b"x\n").expect("writes");
        let sender = senders.recv_timeout(PATIENCE).expect("a sender");
        sender.send(vec![b'x'; LARGE]).expect("open");
        let mut all = vec![0; LARGE];
        client.read_exact(&mut all).unwrap_or_else(|error| panic!("{model}: {error}"));
        gate.open();
        client.read_exact(&mut all[..5]).expect("the reply");
        assert_eq!(&all[..5], b"done\n");
    }
}

every_model! {
    fn what_is_pushed_just_before_a_connection_is_handed_over_is_sent_first(model) {
        let lines = Lines::new(|_, session| {
            let sender = session.sender();
            sender.send(vec![b'x'; LARGE]).expect("open");
            session.upgrade_to_stream(move |mut connection: Connection| {
                assert!(sender.send("too late").is_err(), "the sender has come to its end");
                connection.write_all(b"over")
            });
            Some("r".into())
        });
        let service = start(Server::new().model(model).shards(1).lines(ANY, lines));
        let mut client = connect(ip(&service, 0));
        client.write_all(b"x\n").expect("writes");
        let mut all = vec![0; LARGE + 6];
        client.read_exact(&mut all).expect("everything");
        assert!(all[..LARGE].iter().all(|byte| *byte == b'x'));
        assert_eq!(&all[LARGE..], b"r\nover");
    }

    fn a_stream_handlers_write_that_times_out_ends_the_connection(model) {
        let (tell, told) = channel();
        let options = StreamOptions::new().write_timeout(Some(LIMIT)).read_timeout(None);
        let handler = move |mut connection: Connection| {
            let mut reader = connection.try_clone()?;
            let reading = thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
            let first = connection.write_all(&vec![b'x'; LARGE]).map_err(|error| error.kind());
            // The peer is gone for every handle to the connection.
            let second = connection.write_all(&vec![b'x'; LARGE]).map_err(|error| error.kind());
            let read = reading.join().expect("reader").map_err(|error| error.kind());
            tell.send((first, second, read)).map_err(io::Error::other)
        };
        let service = start(server(model).stream_with(ANY, options, handler));
        let mut client = connect(ip(&service, 0));
        client.write_all(b"x").expect("writes");
        let (first, second, read) = told.recv_timeout(PATIENCE).expect("a report");
        assert_eq!(first, Err(io::ErrorKind::TimedOut));
        assert_eq!((second, read), (Err(io::ErrorKind::BrokenPipe), Ok(1)));
        assert_eq!(service.counts().timeouts_write, 1);
        assert_eq!(service.counts().timeouts_stream, 0);
        eventually("it is closed", || service.counts().closed == 1);
        let (all, is_reset) = read_to_close(&mut client);
        assert!(all < LARGE && is_reset, "{all} bytes came");
    }
}
