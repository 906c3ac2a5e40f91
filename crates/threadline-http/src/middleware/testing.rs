//! Drives one middleware in tests: bytes of a request in, a response out, no service and no engine.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use threadline_engine::Route;
use threadline_proto::request::{self, HeaderSlots, Limits, Parsed};

use crate::body::{BodyError, Incoming, Pieces, ReadBody};
use crate::extensions::{Extensions, States};
use crate::middleware::Deadline;
use crate::middleware::layer::{Last, Layers};
use crate::request::{PathParams, Request};
use crate::{IntoResponse, Middleware, Next, Response};

/// The limit on bodies of a test's route.
pub(crate) const BODY_MAX: u64 = 256 * 1024;

/// What is around the handler of a test, the innermost first.
#[derive(Default)]
pub(crate) struct Stack(Layers);

/// A request that begins with this line, `GET /path`, and has these fields, each with its line end.
pub(crate) fn request(line: &str, fields: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n").into_bytes()
}

/// The same with a body, and its length.
pub(crate) fn request_with(line: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let fields = format!("{fields}Content-Length: {}\r\n", body.len());
    [&request(line, &fields), body].concat()
}

impl Stack {
    pub(crate) fn of(layer: impl Middleware) -> Self {
        Stack::default().around(layer)
    }

    pub(crate) fn around(mut self, layer: impl Middleware) -> Self {
        self.0.add(layer);
        self
    }

    /// Answers a request whose body is here.
    pub(crate) fn run<R: IntoResponse>(
        &self,
        input: impl AsRef<[u8]>,
        handler: impl Fn(&Request<'_>) -> R + Sync,
    ) -> Response {
        self.run_with(input.as_ref(), None, &handler)
    }

    /// Answers a request whose body comes in pieces.
    pub(crate) fn run_arriving<R: IntoResponse>(
        &self,
        input: impl AsRef<[u8]>,
        pieces: &PieceByPiece,
        handler: impl Fn(&Request<'_>) -> R + Sync,
    ) -> Response {
        self.run_with(input.as_ref(), Some(pieces), &handler)
    }

    fn run_with<R: IntoResponse>(
        &self,
        input: &[u8],
        pieces: Option<&PieceByPiece>,
        handler: &(dyn Fn(&Request<'_>) -> R + Sync),
    ) -> Response {
        let mut slots = HeaderSlots::new();
        let parsed = request::parse(input, &mut slots, &Limits::default()).expect("a good request");
        let Parsed::Head(head) = parsed else { panic!("a whole head") };
        let body = match pieces {
            Some(pieces) => Incoming::Arriving(pieces),
            None => Incoming::Whole(&input[head.len..]),
        };
        let states = Arc::new(States::default());
        let (route, extensions) = (Route::new("GET /test"), Extensions::new());
        let request = Request {
            head: &head,
            method: None,
            params: PathParams::Found(None),
            body,
            is_decoded: false,
            peer_addr: Some(([192, 0, 2, 7], 4321).into()),
            deadline: Deadline::NEVER,
            route: &route,
            path: None,
            body_len_max: BODY_MAX,
            states: &states,
            extensions: &extensions,
        };
        let handler = |request: &Request<'_>| handler(request).into_response();
        Next::new(&self.0, Last::Code(&handler)).begin(&request)
    }
}

/// A body that comes in pieces, and counts how many have been fetched.
pub(crate) struct PieceByPiece {
    left: Mutex<VecDeque<Vec<u8>>>,
    touched: AtomicBool,
    fetched: AtomicUsize,
}

impl PieceByPiece {
    pub(crate) fn new<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let left = Mutex::new(pieces.into_iter().map(<[u8]>::to_vec).collect());
        PieceByPiece { left, touched: AtomicBool::new(false), fetched: AtomicUsize::new(0) }
    }

    pub(crate) fn fetched(&self) -> usize {
        self.fetched.load(Ordering::Relaxed)
    }
}

impl ReadBody for PieceByPiece {
    fn open(&self) -> Result<Box<dyn Pieces + '_>, BodyError> {
        if self.touched.swap(true, Ordering::Relaxed) {
            return Err(BodyError::Consumed);
        }
        Ok(Box::new(self))
    }
}

impl Pieces for &PieceByPiece {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let mut left = self.left.lock().expect("not poisoned");
        let Some(mut piece) = left.pop_front() else { return Ok(0) };
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        if count < piece.len() {
            left.push_front(piece.split_off(count));
        }
        Ok(count)
    }
}
