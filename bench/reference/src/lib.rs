//! What all reference servers have in common: the workload, and a cached Date.
//!
//! They parse each request's head, as anything must that calls itself an HTTP server, with the usual
//! parser (`httparse`), compare the path with those they know, and answer with the header fields that
//! threadline sends. No router, no checks beyond the parser's, no limits, no timers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use threadline_bench_workload::{Order, User};

/// What a reference server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1 keep-alive, with pipelining.
    Http,
    /// Whatever comes goes back.
    Echo,
}

/// The command line: `--addr ADDRESS --proto http|echo --threads N`.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Where to listen.
    pub address: SocketAddr,
    /// What to speak.
    pub speaks: Speaks,
    /// Threads, where the server has a number of them.
    pub threads: usize,
}

impl Options {
    /// Reads the command line; a mistake ends the program.
    pub fn parse() -> Options {
        let mut options =
            Options { address: ([127, 0, 0, 1], 0).into(), speaks: Speaks::Http, threads: 16 };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
            match name.as_str() {
                "--addr" => options.address = value.parse().expect("--addr IP:PORT"),
                "--proto" if value == "http" => options.speaks = Speaks::Http,
                "--proto" if value == "echo" => options.speaks = Speaks::Echo,
                "--threads" => options.threads = value.parse().expect("--threads N"),
                _ => panic!("unknown: {name} {value}"),
            }
        }
        options
    }
}

/// Writes replies.
#[derive(Debug)]
pub struct Replies {
    head: Vec<u8>,
    json_head: Vec<u8>,
    second: u64,
}

static CALLS: AtomicU64 = AtomicU64::new(0);

impl Default for Replies {
    fn default() -> Self {
        Replies { head: Vec::new(), json_head: Vec::new(), second: u64::MAX }
    }
}

impl Replies {
    /// Looks at the clock; once a batch is enough.
    pub fn tick(&mut self) {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second {
            self.second = second;
            let head = |media| {
                format!(
                    "HTTP/1.1 200 OK\r\ndate: {}\r\ncontent-type: {media}\r\ncontent-length: ",
                    httpdate::fmt_http_date(now)
                )
                .into_bytes()
            };
            self.head = head("text/plain; charset=utf-8");
            self.json_head = head("application/json");
        }
    }

    /// Answers the requests that `input` holds whole. Says how many bytes they had.
    pub fn answer(&self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut used = 0;
        while used < input.len() {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut request = httparse::Request::new(&mut headers);
            let length = match request.parse(&input[used..]) {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) => break,
                Err(error) => panic!("the generator sends valid requests: {error}"),
            };
            let path = request.path.unwrap_or_default();
            if let Some(id) = path.strip_prefix("/users/") {
                self.json(&User::of(id.parse().expect("a number")), out);
            } else if path == "/orders" {
                let body_len = content_length(&request);
                let body = &input[used + length..];
                let Some(body) = body.get(..body_len) else { break };
                let order: Order = serde_json::from_slice(body).expect("an order");
                self.json(&order, out);
                used += body_len;
            } else {
                out.extend_from_slice(&self.head);
                out.extend_from_slice(match path {
                    "/" => b"13\r\n\r\nHello, World!",
                    path => work(path),
                });
            }
            used += length;
        }
        used
    }

    fn json(&self, value: &impl Serialize, out: &mut Vec<u8>) {
        let body = serde_json::to_vec(value).expect("plain data");
        out.extend_from_slice(&self.json_head);
        out.extend_from_slice(body.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&body);
    }
}

fn content_length(request: &httparse::Request<'_, '_>) -> usize {
    let field =
        request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let value = field.and_then(|field| std::str::from_utf8(field.value).ok());
    value.and_then(|value| value.parse().ok()).expect("the generator says how long a body is")
}

/// The routes that do something.
#[inline(never)]
fn work(path: &str) -> &'static [u8] {
    if path == "/sleep" {
        std::thread::sleep(Duration::from_millis(50));
        b"5\r\n\r\nslept"
    } else if path == "/mixed" {
        if CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(100) {
            std::thread::sleep(Duration::from_millis(5));
        }
        b"5\r\n\r\nmixed"
    } else if path == "/cpu" {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        b"4\r\n\r\nspun"
    } else {
        b"0\r\n\r\n"
    }
}
