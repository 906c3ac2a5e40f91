//! What the service needs of the engine for one message, and nothing more.
//!
//! [`Turn`] is the only implementation that serves anybody. Tests have another, so that the
//! service's rules are tested on bytes alone, without an engine.

use std::net::SocketAddr;
use std::sync::Arc;

use threadline_engine::protocol::Offence;
use threadline_engine::{CallError, Route, Turn};

/// See [`Turn`]: the methods are its own.
pub(crate) trait Exchange {
    fn out(&mut self) -> &mut Vec<u8>;

    fn call<R>(
        &mut self,
        route: &Arc<Route>,
        code: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, CallError>;

    fn count(&self, offence: Offence);

    fn draining(&self) -> bool;

    fn seen(&self) -> usize;

    fn peer_addr(&self) -> Option<SocketAddr>;
}

impl Exchange for Turn<'_> {
    fn out(&mut self) -> &mut Vec<u8> {
        Turn::out(self)
    }

    fn call<R>(
        &mut self,
        route: &Arc<Route>,
        code: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, CallError> {
        Turn::call(self, route, |_session, out| code(out))
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

    fn peer_addr(&self) -> Option<SocketAddr> {
        Turn::peer_addr(self)
    }
}
