//! What a client does: its request, how fast it sends, whether it reads, which answers are right.
//!
//! A value that scenarios make by name (`Client::slow_body`) and clone; `member` carries it out on a
//! connection.

use std::time::Duration;

/// A client: its request, and how it behaves.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) method: &'static str,
    pub(super) path: String,
    /// What `Content-Length` says; `None` without a body.
    pub(super) body_len: Option<usize>,
    /// How much of the body is sent as fast as it is taken.
    pub(super) prompt_len: usize,
    /// Bytes a second of the rest of the body; 0 if it never comes.
    pub(super) rate: f64,
    pub(super) reads: bool,
    /// How long after an answer the same request comes again.
    pub(super) pause: Option<Duration>,
    /// The right answers, with what the body of a 200 has to be.
    pub(super) statuses: Vec<u16>,
    pub(super) answer: Vec<u8>,
}

impl Client {
    fn new(method: &'static str, path: &str, body_len: Option<usize>) -> Client {
        Client {
            method,
            path: path.to_owned(),
            body_len,
            prompt_len: 0,
            rate: 0.0,
            reads: true,
            pause: None,
            statuses: vec![200],
            answer: Vec::new(),
        }
    }

    /// One that asks, waits, and expects this body with status 200.
    pub fn get(path: &str, answer: &[u8]) -> Client {
        Client { answer: answer.to_vec(), ..Client::new("GET", path, None) }
    }

    /// One that sends a body at once, and expects to be told its length.
    pub fn post(path: &str, body_len: usize) -> Client {
        Client {
            prompt_len: body_len,
            answer: body_len.to_string().into_bytes(),
            ..Client::new("POST", path, Some(body_len))
        }
    }

    /// One whose body comes at `rate` bytes a second. It is refused, or told the length.
    pub fn slow_body(path: &str, body_len: usize, rate: f64) -> Client {
        let statuses = vec![200, 408, 503];
        Client { prompt_len: 0, rate, statuses, ..Client::post(path, body_len) }
    }

    /// One that sends this much of its body at once and then nothing.
    pub fn half_body(path: &str, body_len: usize, sent: usize) -> Client {
        Client {
            prompt_len: sent,
            statuses: vec![408, 413, 503],
            ..Client::new("POST", path, Some(body_len))
        }
    }

    /// One that sends a request and never reads any of the reply.
    pub fn non_reader(path: &str) -> Client {
        Client { reads: false, ..Client::new("GET", path, None) }
    }

    /// It asks again on the same connection, this long after each answer.
    pub fn again_after(mut self, pause: Duration) -> Client {
        self.pause = Some(pause);
        self
    }

    /// Other answers are right.
    pub fn expecting(mut self, statuses: &[u16]) -> Client {
        self.statuses = statuses.to_vec();
        self
    }

    /// The request, with as much of the body as is sent at once.
    pub(super) fn request(&self, host: &str) -> Vec<u8> {
        let length = self.body_len.map(|length| format!("Content-Length: {length}\r\n"));
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: crowd\r\nAccept-Encoding: gzip\r\n{}\r\n",
            self.method,
            self.path,
            length.unwrap_or_default()
        );
        let mut request = head.into_bytes();
        request.resize(request.len() + self.prompt_len, b'u');
        request
    }
}
