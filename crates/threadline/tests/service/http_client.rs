//! HTTP as a client sees it, for the modules that test it over sockets.

use crate::common::Client;

/// A response.
#[derive(Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) closes: bool,
}

/// What an ordinary response is.
pub(crate) fn ok(body: &str) -> Reply {
    Reply { status: 200, body: body.into(), closes: false }
}

/// How a response's content ends.
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Client {
    pub(crate) fn reply_to(&mut self, head_only: bool) -> Reply {
        let status = self.line().expect("a status line");
        let status = status.strip_prefix("HTTP/1.1 ").expect("HTTP/1.1")[..3].parse();
        let (mut framing, mut closes, mut dated) = (Framing::UntilClose, false, false);
        loop {
            let line = self.line().expect("a header").to_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => {
                    framing = Framing::Length(value.parse().expect("a length"));
                }
                Some(("transfer-encoding", "chunked")) => framing = Framing::Chunked,
                Some(("connection", value)) => closes = value == "close",
                Some(("date", _)) => dated = true,
                Some(_) => {}
                None => break,
            }
        }
        assert!(dated, "RFC 9110 §6.6.1: a server with a clock sends Date");
        let status = status.expect("a status");
        let body = match framing {
            _ if head_only || status == 204 || status == 304 => Vec::new(),
            Framing::Length(length) => self.exactly(length),
            Framing::Chunked => self.chunks(),
            Framing::UntilClose => self.rest(),
        };
        Reply { status, body: String::from_utf8(body).expect("text"), closes }
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        while let Some(chunk) = self.chunk() {
            content.extend(chunk);
        }
        content
    }

    /// The next chunk of a response; `None` after the last.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&self.line().expect("a chunk's head"), 16);
        let chunk = self.exactly(length.expect("a chunk's length"));
        assert_eq!(self.line().as_deref(), Some(""), "a chunk's end");
        (!chunk.is_empty()).then_some(chunk)
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.reply_to(false)
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.reply()
    }
}
