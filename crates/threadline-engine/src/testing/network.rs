//! Listeners without sockets, and connecting to them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::{Clock, Peer};
use crate::listener::Listener;
use crate::transport::{Link, Scripted, Transport};

/// A simulated network: listeners for an engine, and peers that connect to them. Clones share it.
#[derive(Debug, Clone)]
pub struct Network {
    clock: Clock,
    listeners: Arc<Mutex<Vec<Arc<Backlog>>>>,
    /// The port of the last peer.
    port: Arc<AtomicU16>,
}

impl Network {
    /// A network without listeners. `clock` must be the clock of the engine.
    pub fn new(clock: &Clock) -> Self {
        let (clock, port) = (clock.clone(), Arc::new(AtomicU16::new(1024)));
        Network { clock, listeners: Arc::default(), port }
    }

    /// A listener for an engine, which has no sockets. The first one is at 192.0.2.1:1, the next one at port 2,
    /// and so on.
    pub fn listener(&self) -> Listener {
        let mut listeners = self.listeners.lock();
        let port = listeners.len() as u16 + 1;
        let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), port));
        let backlog = Arc::new(Backlog { address, ..Backlog::default() });
        listeners.push(Arc::clone(&backlog));
        Listener::scripted(backlog, address)
    }

    /// Connects to the first listener. Connections are spread over the shards in turn.
    ///
    /// # Panics
    /// If no engine serves it.
    pub fn connect(&self) -> Peer {
        self.connect_to(1)
    }

    /// Connects to the listener at that port.
    ///
    /// # Panics
    /// If no engine serves it.
    pub fn connect_to(&self, port: u16) -> Peer {
        self.try_connect_to(port).expect("an engine serves the listener")
    }

    /// As [`Network::connect`]; `None` if the engine does not accept clients any more, or not yet.
    pub fn try_connect(&self) -> Option<Peer> {
        self.try_connect_to(1)
    }

    fn try_connect_to(&self, port: u16) -> Option<Peer> {
        let number = usize::from(port).checked_sub(1)?;
        let backlog = Arc::clone(self.listeners.lock().get(number)?);
        let link = Link::new(&self.clock, backlog.address).expect("an eventfd");
        let from = SocketAddr::from((
            Ipv4Addr::new(198, 51, 100, 1),
            self.port.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
        ));
        let transport = Scripted::new(Arc::clone(&link));
        self.clock.note_move();
        let is_taken = backlog.arrive(Arrival::Client(transport, from));
        is_taken.then(|| Peer::new(link, from))
    }

    /// Makes an accept(2) on the first listener fail with this error number. Calls queue up like clients.
    ///
    /// # Panics
    /// If no engine serves it.
    pub fn fail_accept(&self, os_error: i32) {
        let backlog = Arc::clone(&self.listeners.lock()[0]);
        self.clock.note_move();
        let is_taken = backlog.arrive(Arrival::Failure(Errno::from_raw_os_error(os_error)));
        assert!(is_taken, "no engine serves the listener");
    }
}

/// The queue of a listener: one for each shard.
#[derive(Debug)]
pub(crate) struct Backlog {
    address: SocketAddr,
    queues: Mutex<Vec<Queue>>,
    next: AtomicUsize,
}

impl Default for Backlog {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Backlog { address, queues: Mutex::default(), next: AtomicUsize::new(0) }
    }
}

#[derive(Debug)]
struct Queue {
    ready: Arc<OwnedFd>,
    arrivals: VecDeque<Arrival>,
    refuses: bool,
}

#[derive(Debug)]
enum Arrival {
    Client(Scripted, SocketAddr),
    Failure(Errno),
}

impl Backlog {
    /// Adds to the queue of the next shard. Returns false if all queues are closed.
    fn arrive(&self, arrival: Arrival) -> bool {
        let mut queues = self.queues.lock();
        let count = queues.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let open = (0..count).map(|at| (first + at) % count).find(|at| !queues[*at].refuses);
        let Some(at) = open else { return false };
        queues[at].arrivals.push_back(arrival);
        let _ = rustix::io::write(&queues[at].ready, &1u64.to_ne_bytes());
        true
    }

    /// Creates the queues of `shards` shards.
    pub(crate) fn share(self: Arc<Self>, shards: usize) -> Vec<Share> {
        let queue = || Queue {
            ready: Arc::new(
                eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd"),
            ),
            arrivals: VecDeque::new(),
            refuses: false,
        };
        *self.queues.lock() = (0..shards).map(|_| queue()).collect();
        (0..shards).map(|at| Share { backlog: Arc::clone(&self), at }).collect()
    }
}

/// A shard's share of a listener.
#[derive(Debug)]
pub(crate) struct Share {
    backlog: Arc<Backlog>,
    at: usize,
}

impl Share {
    /// A descriptor that is readable while the queue is not empty.
    pub(crate) fn ready(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.backlog.queues.lock()[self.at].ready)
    }

    pub(crate) fn accept(&self) -> Result<(Transport, Option<SocketAddr>), Errno> {
        let mut queues = self.backlog.queues.lock();
        let queue = &mut queues[self.at];
        match queue.arrivals.pop_front() {
            Some(Arrival::Client(client, from)) => {
                Ok((Transport::Scripted(Box::new(client)), Some(from)))
            }
            Some(Arrival::Failure(error)) => Err(error),
            None => {
                let _ = rustix::io::read(&queue.ready, &mut [0; 8]);
                Err(Errno::AGAIN)
            }
        }
    }

    pub(crate) fn refuse_newcomers(&self) {
        self.backlog.queues.lock()[self.at].refuses = true;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut queues = self.backlog.queues.lock();
        queues[self.at].refuses = true;
        // A closed listener resets the connections in its queue.
        let lost = std::mem::take(&mut queues[self.at].arrivals);
        drop(queues);
        drop(lost);
    }
}
