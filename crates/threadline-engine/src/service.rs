//! What a listener serves: one of three kinds of handler, with its deadlines in ticks.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::contained::Contained;
use crate::handlers::Connection;
use crate::protocol::{Protocol, Timeouts};
use crate::route::Route;
use crate::sys::{Ticks, ticks_ceil};

/// What is served on a listener.
#[derive(Clone)]
pub(crate) enum Service {
    Messages(MessageService),
    Stream(StreamService),
    Datagrams(DatagramService),
}

/// A protocol and its deadlines.
#[derive(Clone)]
pub(crate) struct MessageService {
    pub(crate) protocol: Contained<Arc<dyn Protocol>>,
    pub(crate) timeouts: Timeouts,
    pub(crate) deadlines: Deadlines,
    pub(crate) has_hooks: bool,
}

/// A handler that gets the whole connection.
#[derive(Clone)]
pub(crate) struct StreamService {
    pub(crate) handler: Contained<StreamHandler>,
    pub(crate) options: crate::handlers::StreamOptions,
    pub(crate) route: Arc<Route>,
    /// How long a parked connection may take to send its first byte.
    pub(crate) idle: Option<Ticks>,
}

pub(crate) type StreamHandler = Arc<dyn Fn(Connection) -> io::Result<()> + Send + Sync>;

/// A handler of single datagrams.
#[derive(Clone)]
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
        // A protocol is user code: what does not change is asked once.
        let (timeouts, has_hooks) = (*protocol.timeouts(), protocol.has_hooks());
        let deadlines = Deadlines::from(&timeouts);
        let protocol = Contained::new(protocol);
        Service::Messages(MessageService { protocol, timeouts, deadlines, has_hooks })
    }

    /// Whether it cannot do with its shard's thread alone, under whatever model.
    pub(crate) fn needs_pool(&self) -> bool {
        match self {
            Service::Messages(service) => service.has_hooks,
            Service::Stream(_) => true,
            Service::Datagrams(_) => false,
        }
    }

    /// How long output may wait for the peer to take any byte of it. Stream handlers have their own.
    pub(crate) fn write_limit(&self) -> Option<Ticks> {
        match self {
            Service::Messages(service) => service.deadlines.write,
            Service::Stream(_) | Service::Datagrams(_) => None,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Service::Messages(service) => service.protocol.name(),
            Service::Stream(_) => "stream",
            Service::Datagrams(_) => "datagrams",
        }
    }
}

/// [`Timeouts`], in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) head: Option<Ticks>,
    pub(crate) body: Option<Ticks>,
    pub(crate) body_grace: Ticks,
    /// Bytes a second.
    pub(crate) body_rate_min: u32,
    pub(crate) idle: Option<Ticks>,
    pub(crate) write: Option<Ticks>,
}

impl From<&Timeouts> for Deadlines {
    fn from(timeouts: &Timeouts) -> Self {
        Deadlines {
            head: timeouts.head.map(ticks_ceil),
            body: timeouts.body.map(ticks_ceil),
            body_grace: ticks_ceil(timeouts.body_grace),
            body_rate_min: timeouts.body_rate_min,
            idle: timeouts.idle.map(ticks_ceil),
            write: timeouts.write.map(ticks_ceil),
        }
    }
}
