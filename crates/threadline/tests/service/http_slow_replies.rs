//! Replies whose clients are slow to read, of every kind: they arrive whole, hold no thread meanwhile, and those that
//! are never read end by the deadline.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{ANY, Client, PATIENCE, address, eventually, every_model, server, start};
use socket2::{Domain, SockRef, Socket, Type};
#[cfg(feature = "gzip")]
use threadline::http::middleware::Compression;
use threadline::http::{Body, HttpSettings, Response, Router};
use threadline::{Model, Running, Timeouts};

/// More than the sockets of both sides hold.
const LEN: usize = 4 << 20;

/// The kinds of content: their path, and what frames them on HTTP/1.1.
const KINDS: [&str; 7] = ["static", "owned", "shared", "file", "reader", "sized", "iterator"];

/// One that is compressed while it is sent.
const CODED: Option<&str> = if cfg!(feature = "gzip") { Some("coded") } else { None };

/// The content of every reply. Its bytes differ from piece to piece of any size.
fn content() -> &'static [u8] {
    static CONTENT: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let mut all = Vec::with_capacity(LEN + 16);
        for number in 0_u32.. {
            if all.len() >= LEN {
                break;
            }
            all.extend_from_slice(format!("{number:x} ").as_bytes());
        }
        all.truncate(LEN);
        all
    });
    &CONTENT
}

/// Counts the readers that are alive.
struct Counted<R>(R, Arc<AtomicUsize>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R> Drop for Counted<R> {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Service {
    running: Running,
    readers: Arc<AtomicUsize>,
}

fn text(body: Body) -> Response {
    Response::text("").with_body(body)
}

impl Service {
    fn new(model: Model, timeouts: Timeouts) -> Service {
        Service::with_budget(model, timeouts, usize::MAX)
    }

    fn with_budget(model: Model, timeouts: Timeouts, waiting_bytes_max: usize) -> Service {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(content()).expect("written");
        let file = Arc::new(file);
        let shared: Arc<[u8]> = content().into();
        let readers = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&readers);
        let counted = move || {
            count.fetch_add(1, Ordering::Relaxed);
            Counted(content(), Arc::clone(&count))
        };
        let (reader, sized, breaks) = (counted.clone(), counted.clone(), counted.clone());
        let plain = Router::new()
            .get("/static", content)
            .get("/owned", || content().to_vec())
            .get("/shared", move || text(Body::shared(Arc::clone(&shared))))
            .get("/file", move || {
                let copy: File = file.try_clone().expect("a descriptor");
                text(Body::file(copy).expect("a file"))
            })
            .get("/reader", move || text(Body::reader(reader())))
            .get("/sized", move || text(Body::sized_reader(sized(), LEN as u64)))
            .get("/iterator", || text(Body::chunks(content().chunks(100_000).map(<[u8]>::to_vec))))
            .get("/panics", move || {
                let mut left = 3 << 20;
                let mut inner = breaks();
                text(Body::chunks(std::iter::from_fn(move || {
                    assert!(left > 0, "as the test wants");
                    let mut piece = vec![0; 1 << 16];
                    inner.read_exact(&mut piece).expect("bytes");
                    left -= piece.len();
                    Some(piece)
                })))
            })
            .get("/pieces", || text(Body::chunks(content().chunks(1 << 20).map(<[u8]>::to_vec))))
            .get("/cursor", || text(Body::reader(io::Cursor::new(content().to_vec()))))
            .get("/made", || {
                let pieces: Vec<_> = content().chunks(100_000).map(<[u8]>::to_vec).collect();
                text(Body::chunks(pieces))
            })
            .get("/holding", || text(Body::reader(content()).holding(5 << 20)))
            .get("/next", || "next");
        #[cfg(feature = "gzip")]
        let plain = plain.nest(
            "/coded",
            Router::new()
                .get("/", || text(Body::chunks(content().chunks(50_000).map(<[u8]>::to_vec))))
                .layer(Compression::new()),
        );
        let router = plain.settings(HttpSettings::default().timeouts(timeouts));
        let server = server(model).settings(|to| to.waiting_bytes_max = waiting_bytes_max);
        Service { running: start(server.http(ANY, router)), readers }
    }

    /// A client with a small receive buffer that has asked for these paths, and reads nothing yet.
    fn ask(&self, version: &str, paths: &[&str]) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(64 * 1024).expect("a buffer");
        socket.connect(&address(&self.running).into()).expect("connects");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        for path in paths {
            let coding = "Accept-Encoding: gzip\r\n";
            let request = format!("GET /{path} HTTP/{version}\r\nHost: t\r\n{coding}\r\n");
            stream.write_all(request.as_bytes()).expect("writes");
        }
        stream
    }

    /// Waits until a reply has begun, and no thread is held by it: one that waited for the client would be held for
    /// as long as the client likes.
    fn await_stall(&self, stream: &TcpStream) {
        assert!(stream.peek(&mut [0; 1]).expect("an open connection") > 0);
        eventually("no pool thread is held", || self.running.gauges().pool_busy == 0);
    }

    fn assert_over(&self) {
        eventually("readers are dropped", || self.readers.load(Ordering::Relaxed) == 0);
        eventually("nothing waits", || self.running.gauges().waiting_bytes == 0);
    }
}

/// The content of a response, without its framing, and what came behind it.
fn split(all: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let end = all.windows(4).position(|at| at == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
    let mut rest = &all[end..];
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    if let Some(len) = len.map(|len| len.parse::<usize>().expect("a number")) {
        return (rest[..len].to_vec(), rest[len..].to_vec());
    }
    if !head.contains("transfer-encoding: chunked") {
        return (rest.to_vec(), Vec::new());
    }
    let mut content = Vec::new();
    loop {
        let line = rest.windows(2).position(|at| at == b"\r\n").expect("a chunk");
        let size = std::str::from_utf8(&rest[..line]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        let chunk = &rest[line + 2..];
        if size == 0 {
            return (content, chunk[2..].to_vec());
        }
        content.extend_from_slice(&chunk[..size]);
        rest = &chunk[size + 2..];
    }
}

every_model! {
    fn a_client_that_stalls_and_then_reads_gets_all_of_it(model) {
        let service = Service::new(model, Timeouts::default());
        for kind in KINDS.into_iter().chain(CODED) {
            let mut stream = service.ask("1.1", &[kind, "next"]);
            service.await_stall(&stream);
            // It stalls once more in the middle.
            let mut all = vec![0; 1 << 20];
            stream.read_exact(&mut all).expect("bytes");
            service.await_stall(&stream);
            stream.shutdown(std::net::Shutdown::Write).expect("open");
            stream.read_to_end(&mut all).expect("the rest");
            #[cfg_attr(not(feature = "gzip"), expect(unused_mut))]
            let (mut got, behind) = split(&all);
            #[cfg(feature = "gzip")]
            if CODED == Some(kind) {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(&*got).read_to_end(&mut plain).expect("gzip");
                got = plain;
            }
            assert!(got == content(), "{kind}: {} bytes", got.len());
            let behind = String::from_utf8(behind).expect("text");
            assert!(behind.starts_with("HTTP/1.1 200 ") && behind.ends_with("next"), "{kind}: {behind}");
        }
        service.assert_over();
    }

    fn a_client_of_http_1_0_gets_all_of_it(model) {
        let service = Service::new(model, Timeouts::default());
        for kind in KINDS {
            let mut stream = service.ask("1.0", &[kind]);
            service.await_stall(&stream);
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("no reset");
            assert!(split(&all).0 == content(), "{kind}: {} bytes", all.len());
        }
        service.assert_over();
    }

    fn a_client_that_never_reads_is_closed_by_the_deadline(model) {
        let write = Some(Duration::from_millis(300));
        let service = Service::new(model, Timeouts { write, ..Timeouts::default() });
        let clients: Vec<_> = KINDS.map(|kind| service.ask("1.1", &[kind, "next"])).into();
        let count = clients.len() as u64;
        eventually("all are closed", || service.running.counts().timeouts_write == count);
        service.assert_over();
        assert_eq!(Client::to(&service.running).get("/next").body, "next");
        for mut client in clients {
            let mut got = Vec::new();
            let _ = client.read_to_end(&mut got);
            assert!(got.len() < LEN);
        }
    }

    fn a_client_that_reads_more_slowly_than_the_rate_is_closed(model) {
        // It takes bytes all the time, 640 KB a second at most.
        let read_slowly = |rate: u32| {
            let write = Some(Duration::from_secs(2));
            let service = Service::new(model, Timeouts { write, reply_rate: rate, ..Timeouts::default() });
            let mut stream = service.ask("1.1", &["owned"]);
            let (mut all, mut piece) = (Vec::new(), vec![0; 32 * 1024]);
            stream.shutdown(std::net::Shutdown::Write).expect("open");
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                all.extend_from_slice(&piece[..count]);
                std::thread::sleep(Duration::from_millis(50));
            }
            (all, service.running.counts().timeouts_write)
        };
        std::thread::scope(|scope| {
            let fast_enough = scope.spawn(|| read_slowly(100_000));
            let (all, timeouts) = read_slowly(20_000_000);
            assert_eq!(timeouts, 1);
            assert!(all.len() < LEN, "{} bytes came", all.len());
            let (all, timeouts) = fast_enough.join().expect("no panic");
            assert_eq!(timeouts, 0);
            assert!(split(&all).0 == content(), "{} bytes came", all.len());
        });
    }

    fn clients_that_never_read_are_closed_when_too_many_bytes_wait(model) {
        let budget = 10 << 20;
        let service = Service::with_budget(model, Timeouts::default(), budget);
        let mut reading = service.ask("1.1", &["static"]);
        let mut clients = Vec::new();
        for _ in 0..6 {
            let client = service.ask("1.1", &["owned"]);
            service.await_stall(&client);
            eventually("the budget is kept", || service.running.gauges().waiting_bytes <= budget);
            clients.push(client);
        }
        // Two fit.
        eventually("four are closed", || service.running.counts().closed_over_budget == 4);
        let mut resets = 0;
        for client in &mut clients {
            client.shutdown(std::net::Shutdown::Write).ok();
            let mut got = Vec::new();
            match client.read_to_end(&mut got) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => resets += 1,
                _ => assert!(split(&got).0 == content()),
            }
        }
        assert_eq!(resets, 4);
        assert_eq!(Client::to(&service.running).get("/next").body, "next");
        let mut all = vec![0; LEN];
        reading.read_exact(&mut all).expect("what is static waits for as long as it may");
        service.assert_over();
    }

    fn a_panic_in_the_middle_cuts_the_reply_off(model) {
        let service = Service::new(model, Timeouts::default());
        for version in ["1.1", "1.0"] {
            let mut stream = service.ask(version, &["panics", "next"]);
            service.await_stall(&stream);
            let mut all = Vec::new();
            let ended = stream.read_to_end(&mut all);
            let is_reset = ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
            assert_eq!(is_reset, version == "1.0", "only a reset tells a client of HTTP/1.0");
            if version == "1.1" {
                assert!(all.len() > 3 << 20 && !all.ends_with(b"0\r\n\r\n"));
            }
        }
        service.assert_over();
    }

    fn a_drain_waits_for_a_client_that_reads_again(model) {
        let service = Service::new(model, Timeouts::default());
        let mut streams = ["owned", "reader"].map(|kind| service.ask("1.1", &[kind]));
        streams.iter().for_each(|stream| service.await_stall(stream));
        let Service { running, .. } = service;
        let draining = std::thread::spawn(move || running.drain());
        for stream in &mut streams {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("the rest");
            assert!(split(&all).0 == content());
        }
        assert_eq!(draining.join().expect("drained").aborted, 0);
    }

    fn head_sends_no_content_and_makes_none(model) {
        let service = Service::new(model, Timeouts::default());
        let mut client = Client::to(&service.running);
        for kind in KINDS {
            client.send(format!("HEAD /{kind} HTTP/1.1\r\nHost: t\r\n\r\n"));
            assert_eq!(client.line().as_deref(), Some("HTTP/1.1 200 OK"), "{kind}");
            while !client.line().expect("a head").is_empty() {}
        }
        service.assert_over();
    }
}

#[test]
fn large_pieces_of_iterators_are_kept_within_the_budget() {
    let budget = 16 << 20;
    let service = Service::with_budget(Model::Adaptive, Timeouts::default(), budget);
    let clients: Vec<_> = (0..40).map(|_| service.ask("1.1", &["pieces"])).collect();
    for client in &clients {
        // The end, or a reset, if it is closed already.
        let _ = client.peek(&mut [0; 1]);
    }
    eventually("most are closed", || service.running.counts().closed_over_budget >= 24);
    eventually("the budget is kept", || service.running.gauges().waiting_bytes <= budget);
    drop(clients);
    service.assert_over();
    eventually("memory goes back", || service.running.counts().memory_releases >= 1);
}

/// What the program keeps anyway, and the constants of it, do not count.
#[test]
fn only_memory_that_is_held_for_the_client_counts() {
    let service = Service::new(Model::Adaptive, Timeouts::default());
    const MB: usize = 1 << 20;
    for (kind, least, most) in [
        ("static", 0, 4096),
        ("shared", 0, 4096),
        ("file", 0, 4096),
        ("owned", LEN, LEN + 4096),
        ("reader", 0, MB / 2),
        // The piece that is being sent.
        ("pieces", MB, MB + MB / 2),
        ("cursor", LEN, LEN + MB / 2),
        ("made", 2 * MB, LEN + MB / 2),
        ("holding", 5 * MB, 6 * MB),
    ] {
        let stream = service.ask("1.1", &[kind]);
        service.await_stall(&stream);
        eventually(kind, || (least..=most).contains(&service.running.gauges().waiting_bytes));
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
        drop(stream);
        service.assert_over();
    }
}
