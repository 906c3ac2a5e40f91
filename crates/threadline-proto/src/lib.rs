//! HTTP/1.1 as a pure state machine: bytes in, events and bytes out.
//!
//! In scope: request heads and what they say of the message ([`request`]), the content behind them and
//! its framing in both directions ([`body`]), response heads ([`response`]), methods, status codes and
//! percent-encoding. Out of scope, for good: sockets, threads, clocks, allocation on the way in. Whoever
//! drives this crate owns the buffers and the time; it says what the bytes mean and what is needed
//! next. It is strict: what RFC 9112 lets a recipient tolerate is refused wherever two recipients could
//! understand it differently.
//!
//! One connection, seen from here. Each arrow back up is taken when more bytes have come:
//!
//! ```text
//!      +--> request::parse -----------+-- a rule is broken: ParseError ---------------+
//!      |      ^         |             |                                               |
//!      |      +-Partial-+             v                                               |
//!      |                        Parsed::Head { body, expects_continue, keep_alive }   |
//!      |                              |                                               |
//!      |                              v                                               v
//!      |    Content, Partial +-> Reader::advance -- a rule is broken, or the -->  its status
//!      |                     +--------+             input ends: BodyError             |
//!      |                              v                                               |
//!      |                         Step::Done { consumed, trailers }                    |
//!      |                              |                                               |
//!      |                              v                                               |
//!      |                     response::HeadWriter                                     |
//!      |                              |                                               |
//!      |                              +- Length ----- content, counted by Declared    |
//!      |                              +- Chunked ---- chunked::Encoder                |
//!      |                              +- UntilClose - content -----------------+      |
//!      |                              |                                        v      v
//!      +--------- keep_alive ---------+---------------- otherwise --------->    closed
//! ```
//!
//! An answer may be given before the body has been read; the rest of the body must then be read all the
//! same, or the connection closed: what is left of it is no request.
//!
//! Walking it, with a request that comes in pieces and two others behind it:
//!
//! ```
//! use threadline_proto::body::{self, BodyError, Reader, Step, chunked};
//! use threadline_proto::request::{self, Body, HeaderSlots, Limits, Parsed};
//! use threadline_proto::response::{Declared, HeadWriter, Payload, Persistence, Status};
//!
//! let input = b"POST /notes?draft HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
//!               5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n\
//!               PUT /notes/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbye";
//! let limits = Limits::default();
//!
//! // Partial: nothing is wrong with these bytes, and nothing is decided.
//! let mut slots = HeaderSlots::new();
//! assert!(matches!(request::parse(&input[..40], &mut slots, &limits), Ok(Parsed::Partial)));
//!
//! // Head: the framing is decided before anybody looks at the body.
//! let mut slots = HeaderSlots::new();
//! let Ok(Parsed::Head(head)) = request::parse(input, &mut slots, &limits) else { panic!() };
//! assert_eq!((head.target.path(), head.target.query()), ("/notes", Some("draft")));
//! assert_eq!((head.body, head.keep_alive), (Body::Chunked, true));
//!
//! // The body, in two pieces: ranges of the input are content, and are consumed with it.
//! let mut reader = Reader::new(head.body, &body::Limits::default());
//! let (first, rest) = input[head.len..].split_at(5);
//! assert_eq!(reader.advance(first)?, Step::Content(3..5));
//! assert_eq!(reader.advance(b"")?, Step::Partial { consumed: 0 });
//! assert_eq!(reader.end_of_input(), Err(BodyError::EndsEarly));
//! assert_eq!(reader.advance(rest)?, Step::Content(0..3));
//! let Step::Done { consumed, trailers } = reader.advance(&rest[3..])? else { panic!() };
//! assert_eq!(trailers.get("x-sum"), Some(&b"5"[..]));
//! let next = &rest[3 + consumed..];
//!
//! // The answer; its framing belongs to the writer. This one's length is not known beforehand.
//! let mut out = Vec::new();
//! let mut writer = HeadWriter::new(&mut out, Status::CREATED);
//! writer.header("location", b"/notes/1")?;
//! writer.finish(Payload::Chunked, Persistence::Implied);
//! let mut encoder = chunked::Encoder::new();
//! encoder.chunk(&mut out, b"noted");
//! encoder.last(&mut out).finish();
//! assert!(out.ends_with(b"transfer-encoding: chunked\r\n\r\n5\r\nnoted\r\n0\r\n\r\n"));
//!
//! // keep_alive: the next message begins where this one ended, and says that it is the last.
//! let mut slots = HeaderSlots::new();
//! let Ok(Parsed::Head(head)) = request::parse(next, &mut slots, &limits) else { panic!() };
//! assert_eq!((head.body, head.keep_alive), (Body::Length(3), false));
//! let mut reader = Reader::new(head.body, &body::Limits::default());
//! assert_eq!(reader.advance(&next[head.len..])?, Step::Content(0..3));
//! assert!(reader.is_done());
//!
//! // A length that is known is a promise.
//! let mut out = Vec::new();
//! HeadWriter::new(&mut out, Status::OK).finish(Payload::Length(4), Persistence::Close);
//! let mut declared = Declared::new(4);
//! declared.count(b"gone".len())?;
//! out.extend_from_slice(b"gone");
//! declared.finish()?;
//!
//! // A broken rule, in a head or in a body: the error knows its status, and the connection ends.
//! let mut slots = HeaderSlots::new();
//! let error = request::parse(b"GET / HTTP/1.1\r\n\r\n", &mut slots, &limits).unwrap_err();
//! assert_eq!(error, request::ParseError::HostMissing);
//! assert_eq!(error.status(), Status::BAD_REQUEST);
//! let mut reader = Reader::new(Body::Chunked, &body::Limits::default());
//! let error = reader.advance(b"5\nhello").unwrap_err();
//! assert_eq!((error, error.status()), (BodyError::LineEnd, Status::BAD_REQUEST));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod body;
mod method;
pub mod percent;
pub mod request;
pub mod response;
mod scan;
mod token;

pub use method::Method;
