//! Random requests of every kind of body, pipelined: each is answered once, whole, in order.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use crate::common::{ANY, Client, address, eventually, every_model, server, start};
use crate::http_client::{Reply, ok};
use crate::stress::Random;
use threadline::http::{Body, Path, Request, Response, Router};

/// Beyond what the engine writes of a reply at one go.
const MUCH: usize = 5 << 20;

/// One request, and what it must be answered.
enum Order {
    Go(u64),
    Sleep(u64),
    /// A text of so many bytes.
    Text(usize),
    /// Of a file, as much from its start.
    File(usize),
    /// So many chunks.
    Chunks(usize),
    /// A body of so many bytes.
    Upload(usize),
}

impl Order {
    fn random(random: &mut Random) -> Order {
        let number = random.below(1 << 20);
        match random.below(100) {
            0..6 => Order::Sleep(number),
            6..10 => Order::Upload(number as usize % 300_000),
            10..18 => Order::File(number as usize),
            18..22 => Order::Chunks(number as usize % 20),
            22..24 => Order::Text(number as usize),
            24 => Order::Text(MUCH),
            _ => Order::Go(number),
        }
    }

    fn request(&self) -> Vec<u8> {
        let get = |path: String| format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").into_bytes();
        match *self {
            Order::Go(number) => get(format!("/go/{number}")),
            Order::Sleep(number) => get(format!("/sleep/{number}")),
            Order::Text(len) => get(format!("/text/{len}")),
            Order::File(len) => get(format!("/file/{len}")),
            Order::Chunks(count) => get(format!("/chunks/{count}")),
            Order::Upload(len) => {
                let head =
                    format!("POST /sum HTTP/1.1\r\nHost: t\r\nContent-Length: {len}\r\n\r\n");
                [head.as_bytes(), &vec![1; len]].concat()
            }
        }
    }

    fn is_answered_by(&self, reply: &Reply) -> bool {
        match *self {
            Order::Go(number) => *reply == ok(&format!("go {number}")),
            Order::Sleep(number) => *reply == ok(&format!("slept {number}")),
            Order::Text(len) | Order::File(len) => *reply == ok(&CONTENT[..len]),
            Order::Chunks(count) => *reply == ok(&chunks(count).collect::<String>()),
            Order::Upload(len) => *reply == ok(&format!("{len} bytes")),
        }
    }
}

/// Text in which it shows if a part is missing or comes twice.
static CONTENT: LazyLock<String> =
    LazyLock::new(|| (0..=MUCH / 10).map(|n| format!("{n:09}\n")).collect());

fn chunks(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("{n};"))
}

fn router(file: File) -> Router {
    let part = move |Path(len): Path<u64>| {
        file.try_clone().map(|file| Response::bytes(Body::file_range(file, 0..len)))
    };
    let sum = |request: &Request<'_>| {
        io::copy(&mut request.reader(), &mut io::sink()).map(|count| format!("{count} bytes"))
    };
    Router::new()
        .get("/go/{n}", |Path(n): Path<u64>| format!("go {n}"))
        .get("/sleep/{n}", |Path(n): Path<u64>| {
            thread::sleep(Duration::from_millis(2));
            format!("slept {n}")
        })
        .get("/text/{len}", |Path(len): Path<usize>| &CONTENT[..len])
        .get("/chunks/{n}", |Path(n): Path<usize>| {
            Response::bytes(Body::chunks(chunks(n).map(String::into_bytes)))
        })
        .get("/file/{len}", part)
        .post("/sum", sum)
        .get("/panic", || -> &str { panic!("as asked") })
}

/// One client: sends bursts and reads the answers, and again; sometimes leaves in the middle.
fn client(service: SocketAddr, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..5 {
        let mut client = Client::connect(service);
        for _ in 0..6 {
            let orders: Vec<_> =
                (0..=random.below(8)).map(|_| Order::random(&mut random)).collect();
            let requests: Vec<u8> = orders.iter().flat_map(Order::request).collect();
            // Leaves before so many answers.
            let leaves =
                (random.below(20) == 0).then(|| random.below(orders.len() as u64) as usize);
            let mut writer = client.stream().try_clone().expect("a descriptor");
            // Beside the reader: the service does not read on while its replies are not read.
            let writer = thread::spawn(move || writer.write_all(&requests));
            for order in orders.iter().take(leaves.unwrap_or(orders.len())) {
                let reply = client.reply();
                assert!(
                    order.is_answered_by(&reply),
                    "{} bytes of {}",
                    reply.body.len(),
                    reply.status
                );
            }
            if leaves.is_some() {
                let _ = client.stream().shutdown(Shutdown::Both);
                // It may have been written or not.
                let _ = writer.join().expect("the writer");
                client = Client::connect(service);
            } else {
                writer.join().expect("the writer").expect("written");
            }
        }
        if random.below(3) == 0 {
            let reply = client.get("/panic");
            assert!((reply.status, reply.closes) == (500, true), "{reply:?}");
            client.assert_closed();
        }
    }
}

every_model! {
    fn every_request_is_answered_once_whole_and_in_order(model) {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(CONTENT.as_bytes()).expect("written");
        let service = start(server(model).http(ANY, router(file)));
        let address = address(&service);
        let clients: Vec<_> =
            (1..=16).map(|seed| thread::spawn(move || client(address, seed))).collect();
        clients.into_iter().for_each(|client| client.join().expect("a client"));
        eventually("all are gone", || service.gauges().connections == 0);
        let drained = service.drain();
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
    }
}
