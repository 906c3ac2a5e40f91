//! A connection's descriptor, and who holds it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::Shutdown;

use super::outbox::Outbox;

/// Who holds the descriptor.
#[derive(Debug)]
pub(crate) enum Socket {
    /// The connection alone: every write goes straight to the kernel.
    Own(OwnedFd),
    /// Shared with what waits to be written, by us or by a [`Sender`](super::Sender).
    Shared(Arc<Outbox>),
    /// Handed to a stream handler.
    Gone,
}

impl Socket {
    pub(crate) fn shutdown(&self, how: Shutdown) {
        if let Some(fd) = self.fd() {
            let _ = rustix::net::shutdown(fd, how);
        }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Socket::Own(fd) => Some(fd.as_fd()),
            Socket::Shared(outbox) => Some(outbox.as_fd()),
            Socket::Gone => None,
        }
    }
}
