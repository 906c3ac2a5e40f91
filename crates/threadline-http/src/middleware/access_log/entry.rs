//! What is known of a request when it is logged.
//!
//! Borrows from the request, so that logging a plain response copies nothing but its line; a response
//! that is still being sent takes its entry along.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use threadline_proto::Method;
use threadline_proto::request::Version;
use threadline_proto::response::Status;

use crate::body::Kind;
use crate::middleware::layer::Refused;
use crate::middleware::{Principal, RequestId};
use crate::request::Request;
use crate::response::Response;

/// See the module.
#[derive(Debug)]
pub(super) struct Entry<'r> {
    /// When the request came to the log.
    pub(super) time: SystemTime,
    pub(super) began: Instant,
    /// `None` on a Unix socket.
    pub(super) peer: Option<IpAddr>,
    pub(super) user: Option<Principal>,
    pub(super) method: Cow<'r, str>,
    pub(super) path: Cow<'r, str>,
    pub(super) query: Option<Cow<'r, str>>,
    pub(super) version: Version,
    pub(super) route: Cow<'r, str>,
    pub(super) status: Status,
    /// Bytes of content that were sent; `None` where that is not known.
    pub(super) bytes: Option<u64>,
    pub(super) referer: Option<Cow<'r, str>>,
    pub(super) user_agent: Option<Cow<'r, str>>,
    pub(super) request_id: Option<RequestId>,
}

impl<'r> Entry<'r> {
    pub(super) fn new(request: &Request<'r>, began: Instant, status: Status) -> Self {
        let header = |name| Some(String::from_utf8_lossy(request.headers().get(name)?));
        let extensions = request.extensions();
        let now = SystemTime::now();
        Entry {
            time: now.checked_sub(began.elapsed()).unwrap_or(now),
            began,
            peer: request.peer_addr().map(|peer| peer.ip().to_canonical()),
            user: extensions.get::<Principal>().map(|user| (*user).clone()),
            method: Cow::Borrowed(request.method().as_str()),
            path: Cow::Borrowed(request.path()),
            query: request.query().map(Cow::Borrowed),
            version: request.version(),
            route: Cow::Borrowed(request.route()),
            status,
            bytes: None,
            referer: header("referer"),
            user_agent: header("user-agent"),
            request_id: extensions.get::<RequestId>().map(|id| (*id).clone()),
        }
    }

    /// Of a request that is refused before its layers could see it. Its first line is all that is known of
    /// one whose head could not be read, and that may be anything.
    pub(super) fn refused(refused: &Refused<'r>, status: Status) -> Self {
        if let Some(request) = refused.request() {
            let mut entry = Entry::new(request, Instant::now(), status);
            entry.peer = refused.peer_addr().map(|peer| peer.ip().to_canonical());
            return entry;
        }
        let line = String::from_utf8_lossy(refused.line()).into_owned();
        let mut words = line.split(' ');
        let (method, target) = match (words.next(), words.next()) {
            (Some(method), Some(target)) => (method.to_owned(), target.to_owned()),
            _ => ("-".to_owned(), line.clone()),
        };
        let version = match words.next() {
            Some("HTTP/1.0") => Version::Http10,
            _ => Version::Http11,
        };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target, None),
        };
        Entry {
            time: SystemTime::now(),
            began: Instant::now(),
            peer: refused.peer_addr().map(|peer| peer.ip().to_canonical()),
            user: None,
            method: Cow::Owned(method),
            path: Cow::Owned(if path.is_empty() { "-".to_owned() } else { path }),
            query: query.map(Cow::Owned),
            version,
            route: Cow::Borrowed("no route"),
            status,
            bytes: None,
            referer: None,
            user_agent: None,
            request_id: refused.extensions().get::<RequestId>().map(|id| (*id).clone()),
        }
    }

    /// The same, to be kept.
    pub(super) fn into_owned(self) -> Entry<'static> {
        let own = |text: Cow<'r, str>| Cow::Owned(text.into_owned());
        Entry {
            method: own(self.method),
            path: own(self.path),
            query: self.query.map(own),
            route: own(self.route),
            referer: self.referer.map(own),
            user_agent: self.user_agent.map(own),
            ..self
        }
    }

    pub(super) fn duration_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn version_name(&self) -> &'static str {
        match self.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// How much of a response that is not streamed is sent, where that is known.
pub(super) fn sent_len(request: &Request<'_>, response: &Response) -> Option<u64> {
    let is_left_out = request.method() == Method::Head || response.status().omits_content();
    match &response.body().0 {
        Kind::Push(_) if !is_left_out => None,
        _ if is_left_out => Some(0),
        _ => response.body().len(),
    }
}
