//! Asking a source that waits in an outbox for more, when its peer takes bytes again.
//!
//! The source is user code: it runs without the lock, and where user code may run. Others may write what it has
//! made meanwhile. It stays the first in the queue until its end, so that nothing overtakes it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Outbox;
use super::content::{Content, Origin};
use super::queue::Queue;
use super::send::Files;
use crate::connection::source::{Fill, Maker};
use crate::log::{Escaped, limited};
use crate::route::Route;
use crate::turn::contain;

/// How much may wait of what a source has made: 256 KB. So much is sent in one turn of the shard, which need
/// not wait for the source meanwhile.
const WAITS_MAX: usize = 256 * 1024;

/// A source whose peer has stalled makes more for at most this long: a slow one must not hold a thread then.
const AHEAD_MAX: Duration = Duration::from_millis(1);

/// What has become of a source that was asked for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    /// The peer takes no more for now.
    Stalled,
    /// It has made as much as was asked for.
    Enough,
    /// It has come to its end.
    Ended,
    /// It has failed: the connection ends behind what it has made.
    CutOff,
}

impl Outbox {
    /// Whether a source waits here to be asked for more.
    pub(in crate::connection) fn wants_fill(&self) -> bool {
        self.queue.lock().messages.front().is_some_and(|message| match &message.content {
            Content::Made(making) => making.maker.is_some() && making.is_wanted(),
            _ => false,
        })
    }

    /// The route whose code the source is that waits here; `None` if it comes from no handler.
    pub(in crate::connection) fn source_route(&self) -> Option<Arc<Route>> {
        self.queue.lock().making()?.maker.as_ref()?.route.clone()
    }

    /// Asks the source for more until the peer stalls, about `most` bytes are made, or it comes to its end.
    ///
    /// # Errors
    /// The peer is gone.
    pub(in crate::connection) fn fill(
        &self,
        most: usize,
        no_route: &Arc<Route>,
    ) -> io::Result<Filled> {
        let Some((mut maker, ahead_max)) = self.take_maker() else { return Ok(Filled::Stalled) };
        let route = maker.route.clone().unwrap_or_else(|| Arc::clone(no_route));
        let (mut piece, mut made, mut stalled_at) = (Vec::new(), 0, None);
        loop {
            piece.clear();
            let filled = match contain(&route, || maker.source.fill(&mut piece)) {
                Some(Ok(fill)) => Some(fill),
                Some(Err(error)) => {
                    let error = Escaped(error);
                    limited!(error, route: route.name(), "the response is cut off", %error);
                    None
                }
                None => None,
            };
            let Some(fill) = filled else {
                self.end_made(&mut self.queue.lock(), false)?;
                return Ok(Filled::CutOff);
            };
            made += piece.len();
            let waits = self.add_made(&mut self.queue.lock(), &piece)?;
            if fill == Fill::End {
                self.end_made(&mut self.queue.lock(), true)?;
                return Ok(Filled::Ended);
            }
            let filled = if waits > 0 {
                let now = self.home.clock.instant();
                let since = *stalled_at.get_or_insert(now);
                (waits >= WAITS_MAX || now - since >= ahead_max).then_some(Filled::Stalled)
            } else {
                stalled_at = None;
                (made >= most).then_some(Filled::Enough)
            };
            if let Some(filled) = filled {
                self.put_back(maker);
                return Ok(filled);
            }
        }
    }

    /// Takes the source out of the queue, if it is the next there. Says for how long it may make more than its peer
    /// takes: for none of it, if the peer has not taken anything so far.
    fn take_maker(&self) -> Option<(Maker, Duration)> {
        let mut queue = self.queue.lock();
        let making = queue.making()?;
        let ahead_max = if making.is_wanted { AHEAD_MAX } else { Duration::ZERO };
        Some((making.maker.take()?, ahead_max))
    }

    /// Puts the source back. If the queue has been closed meanwhile, it is dropped here, after the lock is released.
    fn put_back(&self, maker: Maker) {
        let memory = maker.source.memory();
        let mut queue = self.queue.lock();
        if let Some(making) = queue.making() {
            making.maker = Some(maker);
            (making.memory, making.is_wanted) = (memory, false);
        }
        self.count_front(&mut queue);
    }

    /// Adds what the source has made, and writes what fits. Returns how much of it waits.
    fn add_made(&self, queue: &mut Queue, piece: &[u8]) -> io::Result<usize> {
        queue.check_open()?;
        if let Some(making) = queue.making() {
            making.add(piece);
            queue.add(piece.len(), Origin::Reply);
            self.count_front(queue);
        }
        self.flush_queue(queue, Files::Left)?;
        Ok(queue.making().map_or(0, |making| making.waiting()))
    }

    /// The source makes no more: what it has made is all, or all that there will ever be.
    fn end_made(&self, queue: &mut Queue, is_whole: bool) -> io::Result<()> {
        queue.check_open()?;
        if let Some(making) = queue.making() {
            (making.is_over, making.is_whole, making.memory) = (true, is_whole, 0);
            self.count_front(queue);
        }
        self.flush_queue(queue, Files::Left)
    }
}
