//! TCP over IPv4 and IPv6, Unix sockets, inherited descriptors, datagrams.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::common::{ANY, Client, PATIENCE, eventually, every_model, server, start};
use socket2::SockRef;
use threadline::http::{PeerAddr, Router};
use threadline::{Address, Connection, Endpoint, Lines, Server, StreamOptions, TcpKeepAlive};

fn echo() -> Lines {
    Lines::new(|line, _| Some(line.to_owned()))
}

/// The answer to a line over a Unix socket.
fn ask_unix(client: std::io::Result<UnixStream>) -> String {
    let mut client = client.expect("connects");
    client.set_read_timeout(Some(PATIENCE)).expect("timeout");
    client.write_all(b"x\n").expect("writes");
    let mut reply = [0; 2];
    client.read_exact(&mut reply).expect("reads");
    String::from_utf8_lossy(&reply).into_owned()
}

/// A stream handler that says which options its connection has.
fn tell_keep_alive(mut connection: Connection) -> std::io::Result<()> {
    let _ = connection.read(&mut [0; 16])?;
    let socket = SockRef::from(&connection);
    let has = socket.keepalive()?.then(|| {
        let time = |time: std::io::Result<Duration>| time.unwrap_or_default();
        TcpKeepAlive {
            idle: time(socket.tcp_keepalive_time()),
            interval: time(socket.tcp_keepalive_interval()),
            probes: socket.tcp_keepalive_retries().unwrap_or_default(),
        }
    });
    writeln!(connection, "{has:?}")
}

/// A client that hears the address it asks, and no other.
fn datagram_client(asked: &str, port: u16) -> UdpSocket {
    let any = if asked.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let client = UdpSocket::bind(any).expect("binds");
    client.connect((asked, port)).expect("connects");
    client.set_read_timeout(Some(PATIENCE)).expect("timeout");
    client
}

fn assert_answered_from(asked: &str, port: u16, times: u32) {
    let client = datagram_client(asked, port);
    for number in 0..times {
        client.send(&number.to_be_bytes()).expect("sends");
        let mut reply = [0; 16];
        let count = client.recv(&mut reply).unwrap_or_else(|error| {
            panic!("no reply from {asked} to number {number}: {error}");
        });
        assert_eq!(reply[..count], number.to_be_bytes());
    }
}

every_model! {
    fn one_ipv6_listener_serves_ipv4_too(model) {
        let service = start(server(model).lines(":0", echo()));
        let Address::Ip(address) = service.addresses()[0] else { panic!("IP") };
        for ip in [SocketAddr::from(([127, 0, 0, 1], address.port())),
            SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()))] {
            assert_eq!(Client::connect(ip).ask("x"), "x", "over {ip}");
        }
    }

    fn a_unix_socket_is_served_and_removed(model) {
        let name = format!("threadline-test-{}-{model}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let service = start(server(model).lines(Address::Unix(path.clone()), echo()));
        for _ in 0..10 {
            let mut client = UnixStream::connect(&path).expect("connects");
            client.set_read_timeout(Some(PATIENCE)).expect("timeout");
            client.write_all(b"x\n").expect("writes");
            let mut reply = [0; 2];
            client.read_exact(&mut reply).expect("reads");
            assert_eq!(&reply, b"x\n");
        }
        service.drain();
        assert!(!path.exists());
    }

    fn a_unix_socket_has_the_permissions_that_its_endpoint_says(model) {
        let tree = tempfile::tempdir().expect("a directory");
        let path = |name: &str| Address::Unix(tree.path().join(name));
        let stream = |mut connection: Connection| {
            connection.read_exact(&mut [0; 2])?;
            connection.write_all(b"x\n")
        };
        let _service = start(
            server(model)
                .endpoint(Endpoint::lines(path("lines"), echo()).unix_mode(0o602))
                .endpoint(Endpoint::stream(path("stream"), stream).unix_mode(0o777))
                .endpoint(Endpoint::lines(path("isolated"), echo()).isolated().unix_mode(0o660)),
        );
        for (name, mode) in [("lines", 0o602), ("stream", 0o777), ("isolated", 0o660)] {
            let path = tree.path().join(name);
            let metadata = std::fs::metadata(&path).expect("a file");
            assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{name}");
            assert_eq!(ask_unix(UnixStream::connect(&path)), "x\n", "{name}");
        }
    }

    fn nobody_has_an_address_on_a_unix_socket(model) {
        let name = format!("threadline-test-{}-{model}-http.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let whose = |peer: Option<PeerAddr>| format!("{peer:?}");
        let router = Router::new().get("/", whose);
        let _service = start(server(model).http(Address::Unix(path.clone()), router));
        let mut client = UnixStream::connect(&path).expect("connects");
        client.set_read_timeout(Some(PATIENCE)).expect("timeout");
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("writes");
        let mut response = String::new();
        client.read_to_string(&mut response).expect("reads to the end");
        assert!(response.ends_with("\r\n\r\nNone"), "{response}");
    }

    fn an_inherited_listener_is_shared_by_all_shards(model) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("address");
        let service = start(server(model).lines(Address::Fd(listener.as_raw_fd()), echo()));
        drop(listener);
        assert_eq!(service.addresses(), [Address::Ip(address)]);
        let mut clients: Vec<_> = (0..50).map(|_| Client::connect(address)).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("x"), "x"));
    }

    fn a_listener_that_ends_leaves_what_is_at_its_path_now(model) {
        let tree = tempfile::tempdir().expect("a directory");
        let path = tree.path().join("socket");
        let serve = || start(server(model).lines(Address::Unix(path.clone()), echo()));
        let first = serve();
        std::fs::remove_file(&path).expect("makes room");
        let second = serve();
        first.drain();
        assert_eq!(ask_unix(UnixStream::connect(&path)), "x\n", "the successor's");
        std::fs::remove_file(&path).expect("removes");
        std::fs::write(&path, "precious").expect("writes");
        second.drain();
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), "precious");
        let error = server(model).lines(Address::Unix(path.clone()), echo()).start();
        let error = error.expect_err("a file is there").to_string();
        assert!(error.contains("a regular file is at this path and is left alone"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), "precious");
    }

    fn an_inherited_unix_socket_keeps_its_file(model) {
        let tree = tempfile::tempdir().expect("a directory");
        let path = tree.path().join("socket");
        let owner = UnixListener::bind(&path).expect("binds");
        for _ in 0..2 {
            let service = start(server(model).lines(Address::Fd(owner.as_raw_fd()), echo()));
            assert_eq!(service.addresses(), [Address::Unix(path.clone())]);
            assert_eq!(ask_unix(UnixStream::connect(&path)), "x\n");
            service.drain();
            assert!(path.exists(), "its owner's");
        }
    }

    fn an_abstract_name_is_served(model) {
        let name = format!("threadline-service-{model}-{}", std::process::id());
        let address = format!("unix:@{name}");
        let to = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
        let service = start(server(model).lines(&address, echo()));
        assert_eq!(service.addresses()[0].to_string(), address);
        for _ in 0..10 {
            assert_eq!(ask_unix(UnixStream::connect_addr(&to)), "x\n");
        }
        let error = server(model).lines(&address, echo()).start().expect_err("in use").to_string();
        assert!(error.contains(&format!("{address}: another program, or this one,")), "{error}");
        service.drain();
        assert!(UnixStream::connect_addr(&to).is_err(), "nobody has it any more");

        let inherited = UnixListener::bind_addr(&to).expect("binds");
        let service = start(server(model).lines(Address::Fd(inherited.as_raw_fd()), echo()));
        assert_eq!(service.addresses()[0].to_string(), address);
        assert_eq!(ask_unix(UnixStream::connect_addr(&to)), "x\n");
    }

    fn tcp_keep_alive_is_on_for_every_connection(model) {
        let short = TcpKeepAlive {
            idle: Duration::from_secs(7), interval: Duration::from_secs(3), probes: 2,
        };
        for wanted in [Some(TcpKeepAlive::default()), Some(short), None] {
            // Bound here, and inherited with connections that have come before.
            let inherited = TcpListener::bind("127.0.0.1:0").expect("binds");
            let early: Vec<_> = (0..3)
                .map(|_| Client::connect(inherited.local_addr().expect("bound")))
                .collect();
            let address = Address::Fd(inherited.as_raw_fd());
            let service = start(
                server(model)
                    .settings(|settings| settings.tcp_keep_alive = wanted)
                    .stream(ANY, tell_keep_alive)
                    .stream(address, tell_keep_alive),
            );
            let wanted = format!("{wanted:?}");
            for mut client in early {
                assert_eq!(client.ask("?"), wanted, "came early");
            }
            for number in 0..8 {
                let Address::Ip(to) = service.addresses()[number % 2] else { panic!("IP") };
                assert_eq!(Client::connect(to).ask("?"), wanted, "on {to}");
            }
        }
    }

    fn a_unix_connection_has_no_keep_alive(model) {
        let tree = tempfile::tempdir().expect("a directory");
        let path = tree.path().join("socket");
        let _service = start(server(model).stream(Address::Unix(path.clone()), tell_keep_alive));
        let mut client = UnixStream::connect(&path).expect("connects");
        client.write_all(b"?").expect("writes");
        let mut told = String::new();
        client.read_to_string(&mut told).expect("reads");
        assert_eq!(told, "None\n");
    }

    fn a_peer_that_vanishes_is_found(model) {
        let (give, take) = channel();
        let pushes = Lines::new(move |_, session| {
            // An open push: no deadline while it lives.
            give.send(session.sender()).expect("the test waits");
            Some("subscribed".into())
        });
        let keep_alive = TcpKeepAlive {
            idle: Duration::from_secs(1), interval: Duration::from_secs(1), probes: 1,
        };
        let waits = StreamOptions::new().read_timeout(None);
        let (told, tell) = channel();
        let service = start(
            server(model)
                .settings(|settings| settings.tcp_keep_alive = Some(keep_alive))
                .lines(ANY, pushes)
                .stream_with(ANY, waits, move |mut connection| {
                    connection.write_all(b"go\n")?;
                    let end = std::io::copy(&mut connection, &mut std::io::sink());
                    told.send(end.map_err(|error| error.kind())).expect("the test waits");
                    Ok(())
                }),
        );
        let mut vanish = Vec::new();
        for address in service.addresses() {
            let Address::Ip(to) = address else { panic!("IP") };
            let mut client = Client::connect(*to);
            client.ask("subscribe");
            // From here on its kernel answers nothing: every segment is thrown away.
            let nothing = socket2::SockFilter::new(0x06, 0, 0, 0); // BPF_RET | BPF_K, bpf(4)
            SockRef::from(client.stream()).attach_filter(&[nothing]).expect("a filter");
            vanish.push(client);
        }
        let sender = take.recv().expect("a sender");
        eventually("both are found", || service.counts().vanished == 2);
        eventually("both are closed", || service.gauges().connections == 0);
        assert!(sender.is_closed());
        let end = tell.recv_timeout(PATIENCE).expect("the handler has ended");
        assert_eq!(end, Err(std::io::ErrorKind::TimedOut));
    }

    fn a_listener_that_another_process_shuts_down_does_not_keep_its_shard_busy(model) {
        let inherited = TcpListener::bind("127.0.0.1:0").expect("binds");
        let service = start(
            server(model).lines(ANY, echo()).lines(Address::Fd(inherited.as_raw_fd()), echo()),
        );
        let mut client = Client::connect(inherited.local_addr().expect("bound"));
        assert_eq!(client.ask("x"), "x");
        SockRef::from(&inherited).shutdown(std::net::Shutdown::Both).expect("shuts down");
        eventually("it is noticed", || service.counts().accept_errors > 0);
        for _ in 0..100 {
            assert_eq!(Client::to(&service).ask("x"), "x", "the other one goes on");
        }
        assert_eq!(client.ask("x"), "x", "so do its connections");
        // One for each shard.
        assert!(service.counts().accept_errors <= 2, "{:?}", service.counts());
    }

    fn datagrams_are_answered_from_the_address_that_was_asked(model) {
        for (bind, all_asked) in [
            ("0.0.0.0:0", &["127.0.0.1", "127.0.0.2", "127.0.0.3"][..]),
            ("[::]:0", &["::1", "127.0.0.1", "127.0.0.2", "127.0.0.3"]),
            ("127.0.0.5:0", &["127.0.0.5"]),
        ] {
            let service = start(server(model).datagrams(bind, |datagram, _| Some(datagram.to_vec())));
            let Address::Ip(address) = service.addresses()[0] else { panic!("IP") };
            for asked in all_asked {
                // Enough to be answered on the pool and, once the route is proven, on the shard.
                assert_answered_from(asked, address.port(), 100);
            }
        }
    }

    fn an_inherited_datagram_socket_answers_from_the_address_that_was_asked(model) {
        for (bind, asked) in
            [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.2")]
        {
            let inherited = UdpSocket::bind(bind).expect("binds");
            let port = inherited.local_addr().expect("bound").port();
            // What has come before the service is answered in the same way.
            let early = datagram_client(asked, port);
            early.send(b"early").expect("sends");
            let address = Address::Fd(inherited.as_raw_fd());
            let _service = start(
                server(model).datagrams(address, |datagram, _| Some(datagram.to_vec())),
            );
            let mut reply = [0; 16];
            assert_eq!(early.recv(&mut reply).expect("a reply from there"), 5);
            assert_answered_from(asked, port, 20);
        }
    }

    fn datagrams_of_any_length_are_whole(model) {
        let service = start(server(model).datagrams("0.0.0.0:0", |datagram, _| {
            Some(format!("{} {}", datagram.len(), datagram.iter().all(|byte| *byte == 7)).into())
        }));
        let Address::Ip(address) = service.addresses()[0] else { panic!("IP") };
        let client = datagram_client("127.0.0.2", address.port());
        // The last is the longest that IPv4 can carry.
        for len in [0, 1, 1_500, 4_096, 4_097, 65_507] {
            client.send(&vec![7; len]).expect("sends");
            let mut reply = [0; 32];
            let count = client.recv(&mut reply).expect("a reply");
            assert_eq!(std::str::from_utf8(&reply[..count]), Ok(format!("{len} true").as_str()));
        }
        assert_eq!(service.counts().datagrams_dropped, 0);
    }

    fn datagrams_are_answered(model) {
        let service = start(server(model).datagrams("127.0.0.1:0", |datagram, _| {
            assert_ne!(datagram, b"panic", "as asked");
            (datagram != b"silence").then(|| datagram.iter().rev().copied().collect())
        }));
        let Address::Ip(address) = service.addresses()[0] else { panic!("IP") };
        let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
        socket.connect(address).expect("connects");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        for number in 0..100 {
            for noise in ["silence", "panic", ""] {
                socket.send(noise.as_bytes()).expect("sends");
            }
            socket.send(format!("{number:04}").as_bytes()).expect("sends");
            let mut reply = [0; 10];
            let expected: String = format!("{number:04}").chars().rev().collect();
            // The empty datagram's answer is empty.
            let mut counts = [socket.recv(&mut reply).expect("answer"), 0];
            if counts[0] == 0 {
                counts[1] = socket.recv(&mut reply).expect("answer");
            } else {
                let answer = reply;
                assert_eq!(socket.recv(&mut reply).expect("answer"), 0);
                reply = answer;
            }
            assert_eq!(counts.iter().sum::<usize>(), 4);
            assert_eq!(&reply[..4], expected.as_bytes());
        }
    }
}

#[test]
fn the_mistake_of_the_first_endpoint_is_reported_with_its_name() {
    let server = || server(threadline::Model::Adaptive);
    let error = |server: Server| server.start().expect_err("a mistake").to_string();
    let twice = || Router::new().get("/", || "").get("/", || "");
    let bad_router = || Endpoint::http("127.0.0.1:8080", twice());
    let bad_mode = || Endpoint::lines("127.0.0.1:9", echo()).unix_mode(0o600);
    let told =
        error(server().endpoint(bad_router()).endpoint(bad_mode()).lines("nonsense", echo()));
    assert_eq!(told, "http on 127.0.0.1:8080: the route `GET /` is there twice");
    let told = error(server().endpoint(bad_mode()).endpoint(bad_router()));
    assert_eq!(
        told,
        "bad settings: lines on 127.0.0.1:9 cannot have a unix_mode: it is not a Unix socket; expected the \
         address `unix:PATH`"
    );
    // The address comes before the router, and what is said of the endpoint afterwards changes nothing.
    let both = Endpoint::http("nonsense", twice()).isolated().unix_mode(0o600);
    let told = error(server().lines(ANY, echo()).endpoint(both));
    assert!(told.starts_with("bad address 'nonsense'"), "{told}");
}

#[test]
fn mistakes_are_reported_before_anything_is_served() {
    let start = |address: &str| server(threadline::Model::Adaptive).lines(address, echo()).start();
    let error = start("nonsense").expect_err("no address").to_string();
    assert!(error.contains("'nonsense'") && error.contains("use HOST:PORT"), "{error}");

    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("address").to_string();
    let error = start(&address).expect_err("taken").to_string();
    assert!(error.contains(&address) && error.contains("listens there already"), "{error}");

    let error = start("192.0.2.1:80").expect_err("not ours").to_string();
    assert!(error.contains("no such address"), "{error}");

    let options = StreamOptions::new().read_timeout(Some(Duration::ZERO));
    let stream = server(threadline::Model::Adaptive).stream_with(ANY, options, |_| Ok(()));
    let error = stream.start().expect_err("no time").to_string();
    assert!(error.contains("read_timeout of a stream is 0"), "{error}");

    let error = server(threadline::Model::Adaptive).start().expect_err("nothing").to_string();
    assert!(error.contains("nothing to serve"), "{error}");

    let zero = server(threadline::Model::Adaptive).shards(0).lines("127.0.0.1:0", echo());
    assert!(zero.start().expect_err("no shards").to_string().contains("shards is 0"));
    drop(TcpStream::connect(taken.local_addr().expect("address")));
}
