//! New connections: taking them off the listeners' queues, and running out of descriptors.
//!
//! Nothing that `accept` can say ends the service. When descriptors or memory run out, or the
//! connection limit is reached, the sources leave the epoll set, so that a full backlog does not make
//! the loop spin, and come back when a connection of this shard closes or a timer looks again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use tracing::field::display;

use super::intake::Paused;
use super::key::Key;
use super::turn::Turned;
use super::{Core, Desk, Shard};
use crate::inbox::Note;
use crate::lease::Lease;
use crate::listener::Kind;
use crate::log::limited;
use crate::shared::Phase;
use crate::sys::{is_empty, ticks_ceil};

/// Accepted at one go: a flood of connections does not keep those that are there waiting.
const ACCEPT_BURST: usize = 64;
/// How soon accepting is tried again when nothing else says that there is room.
const RETRY: Duration = Duration::from_millis(200);

/// What an error of accept(2) means for the listener.
enum Mishap {
    /// That connection has failed, not the listener.
    Next,
    /// No more for now.
    Empty,
    /// Descriptors or memory have run out.
    Exhausted,
    /// The socket does not listen any more.
    Ended,
}

/// Accepted at most when a listener is closed: more than its queue holds, so that clients who keep
/// coming do not keep it open. 4 096 is the kernel's own bound (`net.core.somaxconn`), for listeners that
/// others have set up.
fn queue_max(backlog: i32) -> usize {
    usize::try_from(backlog).unwrap_or(0).max(4096) + 1
}

impl From<Errno> for Mishap {
    fn from(error: Errno) -> Self {
        match error {
            Errno::AGAIN => Mishap::Empty,
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Mishap::Exhausted,
            // Another process that has the socket too has shut it down.
            Errno::INVAL => Mishap::Ended,
            // ECONNABORTED, EINTR, EPROTO, EPERM (a firewall's no), and network errors that were
            // pending on the new socket (accept(2), "Error handling").
            _ => Mishap::Next,
        }
    }
}

impl Shard {
    pub(super) fn serve_source<'s>(
        self: &'s Arc<Self>,
        mut lease: Lease<'s, Core>,
        number: u32,
        desk: &mut Desk,
    ) -> Turned<'s> {
        let Some(source) = lease.intake.get(number as usize) else { return Some(lease) };
        match source.kind {
            Kind::Connections => {
                self.accept(&mut lease, number as usize, ACCEPT_BURST);
                Some(lease)
            }
            Kind::Datagrams => self.receive(lease, number as usize, desk),
        }
    }

    /// Takes up to `burst` connections off a listener. False if that had to be paused.
    pub(super) fn accept<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        number: usize,
        burst: usize,
    ) -> bool {
        for _ in 0..burst {
            if lease.intake.source(number).is_over {
                return true;
            }
            if !self.has_room(lease) {
                self.pause(lease, Paused::AtLimit);
                return false;
            }
            let source = lease.intake.source_mut(number);
            let service = source.service;
            let accepted = source.accept(self.shared.settings.tcp_options());
            match accepted.map_err(|error| (error, Mishap::from(error))) {
                Ok((transport, peer)) => {
                    self.home.counters.accepted.increment();
                    self.recovered(lease);
                    let service = self.shared.services[service as usize].clone();
                    if let Err(error) = self.admit(lease, transport, peer, service) {
                        let peer = peer.map(display);
                        tracing::debug!(peer, %error, "a connection was lost before it was served");
                    }
                }
                Err((_, Mishap::Empty)) => return true,
                Err((error, Mishap::Next)) => {
                    self.home.counters.accept_errors.increment();
                    tracing::debug!(%error, "a connection failed before it was accepted");
                }
                Err((error, Mishap::Ended)) => {
                    self.home.counters.accept_errors.increment();
                    lease.intake.end(number, &self.home.epoll);
                    let service = self.shared.services[service as usize].name();
                    tracing::error!(%error, service, "a listener was shut down by another process");
                    return true;
                }
                // Those who have been idle longest make room; if none is, new clients wait.
                Err((_, Mishap::Exhausted)) if self.evict(lease) > 0 => {}
                Err((error, Mishap::Exhausted)) => {
                    self.warn_exhausted(lease, error);
                    self.pause(lease, Paused::OutOfResources);
                    return false;
                }
            }
        }
        true
    }

    /// Accepts what waits in the listeners' queues.
    pub(super) fn accept_all<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        for number in lease.intake.listeners() {
            self.accept(lease, number, queue_max(self.shared.settings.backlog));
        }
    }

    /// Accepts what waits in the listeners' queues and closes them, once the service drains. A queue
    /// that there is no room for stays, and its listener with it, until there is. Datagram sockets are
    /// closed when they are found empty; what comes before is served in the loop's usual way.
    pub(super) fn close_sources<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        let phase = self.shared.lifecycle.phase();
        let mut number = 0;
        while number < lease.intake.len() {
            let (source, now) = (lease.intake.source(number), lease.agenda.now());
            let listens_on = phase < Phase::Closing
                && lease.drain.is_some_and(|drain| drain.listens_on(source, now));
            let done = match source.kind {
                _ if phase >= Phase::Aborting => true,
                Kind::Connections => {
                    let all = queue_max(self.shared.settings.backlog);
                    self.accept(lease, number, all) && !listens_on
                }
                Kind::Datagrams => phase >= Phase::Closing || is_empty(source),
            };
            if done {
                // Closed right after the last accept, see `listener/closing.rs`.
                lease.intake.close(number, &self.home.epoll);
            } else {
                number += 1;
            }
        }
        if lease.intake.take_end() {
            self.shared.lifecycle.stop_listening();
        }
    }

    fn pause(&self, lease: &mut Lease<'_, Core>, why: Paused) {
        let is_news = lease.intake.pause(why, &self.home.epoll);
        match why {
            Paused::AtLimit if is_news => {
                self.home.counters.paused_at_limit.increment();
                tracing::debug!(shard = self.number, "at the connection limit: clients wait");
                // None of ours is idle; those of other shards may be.
                self.shared.mailboxes.tell_others(self.number, Note::MakeRoom);
            }
            Paused::OutOfResources if is_news => {
                self.home.counters.paused_out_of_resources.increment();
            }
            Paused::AtLimit | Paused::OutOfResources => {}
        }
        self.starved.store(true, Ordering::Relaxed);
        lease.agenda.insert_after(ticks_ceil(RETRY), Key::RetryAccept);
    }

    /// Once a pause. At the limit, one ends and the next begins with every connection that closes.
    fn warn_exhausted(&self, lease: &mut Lease<'_, Core>, error: Errno) {
        if lease.intake.paused() != Some(Paused::OutOfResources)
            && limited!(warn, "cannot accept: new clients wait until it is over", %error)
        {
            lease.intake.owe_all_clear();
        }
    }

    /// A connection was accepted: the shortage, if there was one, is over.
    fn recovered(&self, lease: &mut Lease<'_, Core>) {
        if lease.intake.take_all_clear() {
            tracing::info!("accepting again");
        }
        if lease.intake.end_pause() {
            self.starved.store(false, Ordering::Relaxed);
            if lease.drain.is_none() {
                lease.intake.listen_again(&self.home.epoll);
            }
        }
    }

    /// The retry timer, while accepting is paused.
    pub(super) fn retry_accept<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        if lease.intake.paused().is_none() || lease.drain.is_some() {
            return;
        }
        // One each: a shortage that goes on is found by the first, which sets the next timer.
        if lease.intake.listeners().into_iter().all(|number| self.accept(lease, number, 1)) {
            self.recovered(lease);
        }
    }

    /// A connection of this shard has closed: there may be room.
    pub(super) fn resume_accept_after_close(&self, lease: &mut Lease<'_, Core>) {
        if lease.intake.paused().is_some() && lease.drain.is_none() {
            self.recovered(lease);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_end_ends_a_listener() {
        for error in [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::PERM, Errno::NETDOWN] {
            assert!(matches!(Mishap::from(error), Mishap::Next), "{error}");
        }
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert!(matches!(Mishap::from(error), Mishap::Exhausted), "{error}");
        }
        assert!(matches!(Mishap::from(Errno::AGAIN), Mishap::Empty));
        assert!(matches!(Mishap::from(Errno::INVAL), Mishap::Ended));
    }
}
