//! One connection: requests out, replies checked.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use threadline_bench_workload as workload;

use crate::arguments::{Arguments, Proto};

/// Connections from one source address, to stay below the number of its ports.
const PER_SOURCE: usize = 15_000;

/// What is sent, and what must come back.
#[derive(Debug, Clone)]
pub struct Script {
    proto: Proto,
    request: Vec<u8>,
    /// Length of the last reply's head: the next one's is most likely the same.
    head_len: usize,
    body: Vec<u8>,
}

impl Script {
    /// For a path of the workload.
    pub fn new(arguments: &Arguments, path: &str) -> Script {
        let (request, body) = match arguments.proto {
            Proto::Http => http(arguments, path),
            Proto::Echo => {
                let mut line = vec![b'x'; arguments.size.saturating_sub(1)];
                line.push(b'\n');
                (line.clone(), line)
            }
        };
        Script { proto: arguments.proto, request, head_len: 0, body }
    }

    /// The request's bytes.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Length of the head of the reply at the start of `input`; `None` if it is not whole.
    fn head(&mut self, input: &[u8]) -> io::Result<Option<usize>> {
        if self.proto == Proto::Echo {
            return Ok(Some(0));
        }
        // The same length as last time ends in the same way: no need to read it all.
        let guess = self.head_len;
        if guess > 4
            && input.len() >= guess
            && input.starts_with(b"HTTP/1.1 200")
            && &input[guess - 4..guess] == b"\r\n\r\n"
        {
            return Ok(Some(guess));
        }
        let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&input[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse().ok());
        if !head.starts_with("http/1.1 200") || length != Some(self.body.len()) {
            return Err(wrong(&head));
        }
        self.head_len = end + 4;
        Ok(Some(end + 4))
    }

    /// How much of `input` goes on with a body of which `at` bytes have come.
    fn body(&self, at: usize, input: &[u8]) -> io::Result<usize> {
        let length = input.len().min(self.body.len() - at);
        if input[..length] == self.body[at..at + length] {
            return Ok(length);
        }
        Err(wrong(&format!("body {:?}", String::from_utf8_lossy(&input[..length.min(200)]))))
    }
}

/// A request to a path of the workload, and the body of its answer.
fn http(arguments: &Arguments, path: &str) -> (Vec<u8>, Vec<u8>) {
    let plain = "User-Agent: lg\r\nAccept: */*\r\n";
    let json = "Content-Type: application/json\r\n";
    let (method, fields, content, answer) = match path {
        "/" => ("GET", plain, None, b"Hello, World!".to_vec()),
        "/sleep" => ("GET", plain, None, b"slept".to_vec()),
        "/mixed" => ("GET", plain, None, b"mixed".to_vec()),
        "/cpu" => ("GET", plain, None, b"spun".to_vec()),
        "/argon2" => ("GET", plain, None, workload::ARGON2_ANSWER.into()),
        "/file" => ("GET", plain, None, workload::file()),
        "/orders" => ("POST", json, Some(workload::order()), workload::order()),
        "/upload" => {
            let content = vec![b'u'; workload::UPLOAD_LEN];
            ("POST", plain, Some(content), workload::UPLOAD_LEN.to_string().into_bytes())
        }
        _ => {
            let id = path.strip_prefix("/users/").and_then(|id| id.parse().ok());
            let answer =
                id.map(|id| serde_json::to_vec(&workload::User::of(id)).expect("plain data"));
            ("GET", workload::FIELDS, None, answer.unwrap_or_default())
        }
    };
    let length = content.as_ref().map(|content| format!("Content-Length: {}\r\n", content.len()));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\n{fields}{}\r\n",
        arguments.addr,
        length.unwrap_or_default()
    );
    ([head.into_bytes(), content.unwrap_or_default()].concat(), answer)
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("wrong reply: {what}"))
}

/// A non-blocking connection to the server.
#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    /// Of a head that is not whole.
    partial: Vec<u8>,
    /// How much of the body has come, behind a head that is whole.
    body_at: Option<usize>,
    /// When each request under way was sent or scheduled, oldest first; nanoseconds.
    pub under_way: std::collections::VecDeque<u64>,
}

impl Connection {
    /// Connects, from one of several loopback addresses if there are many connections.
    pub fn open(server: SocketAddr, number: usize) -> io::Result<Connection> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        if number >= PER_SOURCE {
            let host = 1 + (number / PER_SOURCE) as u8;
            socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)).into())?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.connect_timeout(&server.into(), Duration::from_secs(10))?;
        socket.set_nonblocking(true)?;
        let under_way = std::collections::VecDeque::new();
        Ok(Connection { stream: socket.into(), partial: Vec::new(), body_at: None, under_way })
    }

    /// Sends requests that fit any socket buffer.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once, and counts the replies that are whole now.
    pub fn receive(&mut self, script: &mut Script, input: &mut [u8]) -> io::Result<usize> {
        let count = match self.stream.read(input) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed by the server")),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let joined;
        let bytes = if self.partial.is_empty() {
            &input[..count]
        } else {
            self.partial.extend_from_slice(&input[..count]);
            joined = std::mem::take(&mut self.partial);
            &joined[..]
        };
        let (mut used, mut replies) = (0, 0);
        while used < bytes.len() {
            let at = match self.body_at {
                Some(at) => at,
                None => match script.head(&bytes[used..])? {
                    Some(length) => {
                        used += length;
                        0
                    }
                    None => break,
                },
            };
            let length = script.body(at, &bytes[used..])?;
            used += length;
            if at + length == script.body.len() {
                self.body_at = None;
                replies += 1;
            } else {
                self.body_at = Some(at + length);
            }
        }
        if used < bytes.len() {
            self.partial = bytes[used..].to_vec();
        }
        Ok(replies)
    }
}
