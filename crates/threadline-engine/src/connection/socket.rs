//! Who holds a connection's transport.

use std::net::Shutdown;
use std::sync::Arc;

use super::outbox::Outbox;
use crate::transport::Transport;

/// A connection's transport, and who may write to it. A session that was handed over to a stream handler has
/// none.
#[derive(Debug)]
pub(crate) enum Socket {
    /// The connection alone: every write goes straight to the transport.
    Own(Transport),
    /// Owned by an outbox, which serialises the writes of the connection and its [`Sender`](super::Sender)s.
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

    /// Shuts down one direction or both. Does nothing if the connection has already ended.
    pub(crate) fn shut_down(&self, how: Shutdown) {
        match self {
            Socket::Own(transport) => {
                let _ = transport.shut_down(how);
            }
            Socket::Shared(outbox) => outbox.shut_down_now(how),
        }
    }
}
