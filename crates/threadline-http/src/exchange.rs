//! What the service needs of the engine for one message, and nothing more.
//!
//! [`Turn`] is the only implementation that serves clients. Tests have others, which test the service's
//! rules on bytes alone, without an engine.

use std::any::Any;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use threadline_engine::protocol::{Offence, Receive, Waiting};
use threadline_engine::{Bytes, CallError, Route, Session, SourceError, Turn};

use crate::body::{Push, ReadSource};
use crate::deferred::{Awaited, Late};
use crate::response::{Response, UpgradeHandler};

/// See [`Turn`]: the methods are its own.
pub(crate) trait Exchange {
    /// What user code is run with.
    type Line: Line;

    fn out(&mut self) -> &mut Vec<u8>;

    fn flush(&mut self);

    fn call<R>(
        &mut self,
        route: &Arc<Route>,
        code: impl FnOnce(&mut Self::Line, &mut Vec<u8>) -> R,
    ) -> Result<R, CallError>;

    fn waiting(&self) -> Waiting;

    fn count(&self, offence: Offence);

    fn draining(&self) -> bool;

    fn seen(&self) -> usize;

    fn memo(&mut self) -> &mut Option<Box<dyn Any + Send>>;

    fn receive(&mut self, receive: Receive);

    fn peer_addr(&self) -> Option<SocketAddr>;

    fn took(&self) -> Option<Duration>;
}

/// See [`Session`]: the methods are its own. A connection, for code that may wait for its peer.
/// `Send`: a handler may read the body of its request on another thread.
pub(crate) trait Line: Send {
    fn receive(&mut self, buffer: &mut [u8], limit: Option<Duration>) -> io::Result<usize>;

    fn send(&mut self, bytes: &[u8], limit: Option<Duration>) -> io::Result<()>;

    fn send_file(&mut self, head: &[u8], file: File, range: Range<u64>) -> io::Result<()>;

    fn send_bytes(&mut self, head: &[u8], bytes: Bytes) -> io::Result<()>;

    fn send_source(&mut self, head: &[u8], source: ReadSource) -> Result<(), SourceError>;

    fn begin_until_close(&mut self);

    fn sender(&mut self) -> Box<dyn Push>;

    fn upgrade(&mut self, handler: Box<UpgradeHandler>);

    fn defer(&mut self, late: Late) -> Box<dyn Awaited>;
}

impl Exchange for Turn<'_> {
    type Line = Session;

    fn out(&mut self) -> &mut Vec<u8> {
        Turn::out(self)
    }

    fn flush(&mut self) {
        Turn::flush(self);
    }

    fn call<R>(
        &mut self,
        route: &Arc<Route>,
        code: impl FnOnce(&mut Session, &mut Vec<u8>) -> R,
    ) -> Result<R, CallError> {
        Turn::call(self, route, code)
    }

    fn waiting(&self) -> Waiting {
        Turn::waiting(self)
    }

    fn count(&self, offence: Offence) {
        Turn::count(self, offence);
    }

    fn draining(&self) -> bool {
        Turn::draining(self)
    }

    fn seen(&self) -> usize {
        Turn::seen(self)
    }

    fn memo(&mut self) -> &mut Option<Box<dyn Any + Send>> {
        Turn::memo(self)
    }

    fn receive(&mut self, receive: Receive) {
        Turn::receive(self, receive);
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        Turn::peer_addr(self)
    }

    fn took(&self) -> Option<Duration> {
        Turn::took(self)
    }
}

impl Line for Session {
    fn receive(&mut self, buffer: &mut [u8], limit: Option<Duration>) -> io::Result<usize> {
        Session::receive(self, buffer, limit)
    }

    fn send(&mut self, bytes: &[u8], limit: Option<Duration>) -> io::Result<()> {
        Session::send(self, bytes, limit)
    }

    fn send_file(&mut self, head: &[u8], file: File, range: Range<u64>) -> io::Result<()> {
        Session::send_file(self, head, file, range)
    }

    fn send_bytes(&mut self, head: &[u8], bytes: Bytes) -> io::Result<()> {
        Session::send_bytes(self, head, bytes)
    }

    fn send_source(&mut self, head: &[u8], source: ReadSource) -> Result<(), SourceError> {
        Session::send_source(self, head, source)
    }

    fn begin_until_close(&mut self) {
        Session::begin_until_close(self);
    }

    fn sender(&mut self) -> Box<dyn Push> {
        Box::new(Session::sender(self))
    }

    fn upgrade(&mut self, handler: Box<UpgradeHandler>) {
        handler(self);
    }

    fn defer(&mut self, late: Late) -> Box<dyn Awaited> {
        Box::new(Session::defer_with::<Response>(self, late))
    }
}
