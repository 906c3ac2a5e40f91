//! Where a shard's new clients come from: its listeners and datagram sockets, and whether it accepts.
//!
//! Listeners leave the epoll set while accepting is paused, when another process has shut them down, and at
//! the beginning of a drain. When that is, `accept.rs` and `drain.rs` decide.

use super::Key;
use crate::listener::{Kind, Source};
use crate::sys::Epoll;

/// Why accepting is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paused {
    AtLimit,
    OutOfResources,
}

#[derive(Debug)]
pub(super) struct Intake {
    /// Listeners and datagram sockets. A number is the place of one here, and changes when others close.
    sources: Vec<Source>,
    /// Accepting is paused, and why.
    paused: Option<Paused>,
    /// The log has said that descriptors have run out, and not yet that accepting goes on.
    all_clear_due: bool,
    /// All sources are closed, and that has been said.
    has_ended: bool,
}

impl Intake {
    pub(super) fn new(sources: Vec<Source>) -> Self {
        Intake { sources, paused: None, all_clear_due: false, has_ended: false }
    }

    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    pub(super) fn get(&self, number: usize) -> Option<&Source> {
        self.sources.get(number)
    }

    /// The source of that number, which must exist.
    pub(super) fn source(&self, number: usize) -> &Source {
        &self.sources[number]
    }

    /// As [`Intake::source`], to accept from it.
    pub(super) fn source_mut(&mut self, number: usize) -> &mut Source {
        &mut self.sources[number]
    }

    /// The numbers of the listeners.
    pub(super) fn listeners(&self) -> Vec<usize> {
        let is_listener = |number: &usize| self.sources[*number].kind == Kind::Connections;
        (0..self.sources.len()).filter(is_listener).collect()
    }

    /// A listener has been shut down: the kernel would report it as ready for ever.
    pub(super) fn end(&mut self, number: usize, epoll: &Epoll) {
        let source = &mut self.sources[number];
        source.is_over = true;
        let _ = epoll.remove(&*source);
    }

    /// Closes a source. The last one takes its number.
    pub(super) fn close(&mut self, number: usize, epoll: &Epoll) {
        let source = self.sources.swap_remove(number);
        let _ = epoll.remove(&source);
    }

    /// Whether the last source has been closed since this was asked last.
    pub(super) fn take_end(&mut self) -> bool {
        self.sources.is_empty() && !std::mem::replace(&mut self.has_ended, true)
    }

    pub(super) fn paused(&self) -> Option<Paused> {
        self.paused
    }

    /// Stops accepting. Says whether that, or the reason, is news.
    pub(super) fn pause(&mut self, why: Paused, epoll: &Epoll) -> bool {
        if self.paused.is_none() {
            for source in self.sources.iter().filter(|source| source.kind == Kind::Connections) {
                let _ = epoll.remove(source);
            }
        }
        self.paused.replace(why) != Some(why)
    }

    /// Ends the pause. False if there was none.
    pub(super) fn end_pause(&mut self) -> bool {
        self.paused.take().is_some()
    }

    /// The end of a pause: the listeners report clients again.
    pub(super) fn listen_again(&self, epoll: &Epoll) {
        for (source, number) in self.sources.iter().zip(0..) {
            if source.kind == Kind::Connections && !source.is_over {
                let key = Key::Source(number).pack();
                let _ = epoll.add(source, key, source.interest());
            }
        }
    }

    /// The log has said that new clients wait.
    pub(super) fn owe_all_clear(&mut self) {
        self.all_clear_due = true;
    }

    /// Whether the log still has to say that accepting goes on.
    pub(super) fn take_all_clear(&mut self) -> bool {
        std::mem::take(&mut self.all_clear_due)
    }

    /// The beginning of a drain: new clients are refused, and the kernel reports none of those that wait in the
    /// listeners' queues.
    pub(super) fn refuse_newcomers(&self, epoll: &Epoll) {
        for source in &self.sources {
            source.refuse_newcomers();
            if source.kind == Kind::Connections {
                let _ = epoll.remove(source);
            }
        }
    }
}
