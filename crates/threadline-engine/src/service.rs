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

/// What is served on a listener, and then on each of its connections.
#[derive(Clone)]
pub(crate) enum Service {
    Messages(Arc<MessageService>),
    Stream(Arc<StreamService>),
    Datagrams(Arc<DatagramService>),
}

/// A protocol and its deadlines.
pub(crate) struct MessageService {
    protocol: Contained<Arc<dyn Protocol>>,
    pub(crate) timeouts: Timeouts,
    /// [`Timeouts::idle`], which is looked up with every message.
    pub(crate) idle: Option<Ticks>,
    pub(crate) has_hooks: bool,
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
        // A protocol is user code: what does not change is asked once.
        let (timeouts, has_hooks) = (*protocol.timeouts(), protocol.has_hooks());
        let (protocol, idle) = (Contained::new(protocol), timeouts.idle.map(ticks_ceil));
        Service::Messages(Arc::new(MessageService { protocol, timeouts, idle, has_hooks }))
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
            Service::Messages(service) => service.timeouts.write.map(ticks_ceil),
            Service::Stream(_) | Service::Datagrams(_) => None,
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

impl MessageService {
    pub(crate) fn protocol(&self) -> &dyn Protocol {
        &**self.protocol
    }
}
