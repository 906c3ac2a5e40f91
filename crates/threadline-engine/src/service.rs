//! What a listener serves: one of three kinds of handler, with its deadlines in ticks.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::contained::Contained;
use crate::deadline::WriteLimit;
use crate::handlers::Connection;
use crate::protocol::{Protocol, Timeouts};
use crate::route::Route;
use crate::sys::{Ticks, ticks_to_pass};

/// What is served on a listener, and then on each of its connections.
#[derive(Clone)]
pub(crate) enum Service {
    Messages(MessageService),
    Stream(Arc<StreamService>),
    Datagrams(Arc<DatagramService>),
}

/// A protocol as connections hold it: what does not change of it has been asked. Cheap to clone, so that
/// thousands of connections can be [upgraded](crate::Session::upgrade) to one.
///
/// ```
/// use std::sync::Arc;
/// use threadline_engine::{Lines, MessageService};
///
/// let shout = MessageService::new(Arc::new(Lines::new(|line, _| Some(line.to_uppercase()))));
/// let lines = Lines::new(move |line, session| {
///     if line == "shout" {
///         session.upgrade(shout.clone());
///     }
///     Some("ok".to_owned())
/// });
/// ```
#[derive(Clone)]
pub struct MessageService(Arc<Spoken>);

struct Spoken {
    protocol: Contained<Arc<dyn Protocol>>,
    timeouts: Timeouts,
    /// [`Timeouts::idle`], which is looked up with every message.
    idle: Option<Ticks>,
    has_hooks: bool,
    calls_max: usize,
}

/// A handler that gets the whole connection.
pub(crate) struct StreamService {
    pub(crate) handler: Contained<StreamHandler>,
    pub(crate) options: crate::handlers::StreamOptions,
    pub(crate) route: Arc<Route>,
    /// How long a parked connection may take to send its first byte.
    pub(crate) idle: Option<Ticks>,
}

pub(crate) type StreamHandler = Arc<dyn Fn(Connection) -> io::Result<()> + Send + Sync>;

/// A handler of single datagrams.
pub(crate) struct DatagramService {
    pub(crate) handler: Contained<DatagramHandler>,
    pub(crate) route: Arc<Route>,
}

/// Gets a datagram and its sender; what it returns is sent back.
pub(crate) type DatagramHandler = Arc<dyn Fn(&[u8], SocketAddr) -> Option<Vec<u8>> + Send + Sync>;

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Service {
    pub(crate) fn messages(protocol: Arc<dyn Protocol>) -> Self {
        Service::Messages(MessageService::new(protocol))
    }

    /// Whether it cannot do with its shard's thread alone, under whatever model.
    pub(crate) fn needs_pool(&self) -> bool {
        match self {
            Service::Messages(service) => service.has_hooks(),
            Service::Stream(_) => true,
            Service::Datagrams(_) => false,
        }
    }

    /// How long output may wait for the peer. Stream handlers have their own.
    pub(crate) fn write_limit(&self) -> WriteLimit {
        match self {
            Service::Messages(service) => service.write_limit(),
            Service::Stream(_) | Service::Datagrams(_) => WriteLimit::NONE,
        }
    }

    /// The routes of its user code.
    pub(crate) fn routes(&self) -> Vec<Arc<Route>> {
        match self {
            Service::Messages(service) => service.protocol().routes(),
            Service::Stream(service) => vec![Arc::clone(&service.route)],
            Service::Datagrams(service) => vec![Arc::clone(&service.route)],
        }
    }

    /// Why a connection is closed whose time between two messages is over.
    pub(crate) fn idle_for_too_long(&self) -> &'static str {
        match self {
            Service::Messages(_) => "it was idle for too long",
            Service::Stream(_) | Service::Datagrams(_) => "its first byte never came",
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Service::Messages(service) => service.protocol().name(),
            Service::Stream(_) => "stream",
            Service::Datagrams(_) => "datagrams",
        }
    }
}

impl fmt::Debug for MessageService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MessageService").field(&self.0.protocol.name()).finish()
    }
}

impl MessageService {
    /// Asks the protocol for its timeouts, whether it has hooks, and how many calls it may have under way.
    pub fn new(protocol: Arc<dyn Protocol>) -> Self {
        // A protocol is user code: what does not change is asked once.
        let (timeouts, has_hooks) = (*protocol.timeouts(), protocol.has_hooks());
        let calls_max = protocol.deferred_max().max(1);
        let (protocol, idle) = (Contained::new(protocol), timeouts.idle.map(ticks_to_pass));
        MessageService(Arc::new(Spoken { protocol, timeouts, idle, has_hooks, calls_max }))
    }

    pub(crate) fn protocol(&self) -> &dyn Protocol {
        &**self.0.protocol
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.0.timeouts
    }

    /// How long its connections may be idle.
    pub(crate) fn idle(&self) -> Option<Ticks> {
        self.0.idle
    }

    /// How long output may wait for the peer.
    pub(crate) fn write_limit(&self) -> WriteLimit {
        self.0.timeouts.write_limit()
    }

    pub(crate) fn has_hooks(&self) -> bool {
        self.0.has_hooks
    }

    /// How many calls of a connection may be deferred at once.
    pub(crate) fn calls_max(&self) -> usize {
        self.0.calls_max
    }

    /// Whether it would be dropped with this handle, which is what user code has captured in it.
    pub(crate) fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}
