//! Who holds a connection's transport.

use std::net::Shutdown;
use std::sync::Arc;

use super::outbox::Outbox;
use crate::transport::Transport;

/// A connection's transport, by who may write to it. A session has none once it has handed it to a stream
/// handler.
#[derive(Debug)]
pub(crate) enum Socket {
    /// The connection alone: every write goes straight to the transport.
    Own(Transport),
    /// Shared with what waits to be written, by us or by a [`Sender`](super::Sender).
    Shared(Arc<Outbox>),
}

impl Socket {
    #[inline(always)]
    pub(crate) fn transport(&self) -> &Transport {
        match self {
            Socket::Own(transport) => transport,
            Socket::Shared(outbox) => outbox.transport(),
        }
    }

    /// Ends one direction or both. A connection that is gone already needs no end.
    pub(crate) fn shut_down(&self, how: Shutdown) {
        let _ = self.transport().shut_down(how);
    }
}
