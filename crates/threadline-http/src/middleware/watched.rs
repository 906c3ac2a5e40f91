//! Something that lives as long as a response's content is being made.
//!
//! A handler has returned when its reader is read: what counts requests or bytes must not let go
//! before. Called by the access log and the concurrency limit. Never touches content that is in
//! memory or is sent by the kernel.

use std::io::{self, Read};

use crate::body::{Body, Kind};
use crate::response::Response;

/// Is told of a response's content; dropped behind its end, or when the client is gone.
pub(super) trait Watcher: Send + 'static {
    /// So many bytes have been made.
    fn made(&mut self, count: usize) {
        let _ = count;
    }
}

/// Whether the content is made while it is sent.
pub(super) fn is_streamed(response: &Response) -> bool {
    matches!(response.body.0, Kind::Reader { .. })
}

/// Has the content watched, if it is made while it is sent. The watcher is dropped at once if not.
pub(super) fn watch(response: &mut Response, watcher: impl Watcher) {
    if is_streamed(response)
        && let Kind::Reader { reader, len, memory } = response.take_body().0
    {
        let reader = Box::new(Watched { reader, watcher });
        response.set_body(Body(Kind::Reader { reader, len, memory }));
    }
}

struct Watched<W> {
    reader: Box<dyn Read + Send>,
    watcher: W,
}

impl<W: Watcher> Read for Watched<W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.watcher.made(count);
        Ok(count)
    }
}
