//! [`Endpoint`]: an address, what is served there, and how.
//!
//! Made by the program, or by the facade's `Endpoint`, which reads addresses from text and adds HTTP. It is
//! checked and bound before the engine starts: [`Endpoint::check`] finds the program's mistakes,
//! [`Endpoint::bind`] makes the [`Listener`]. They are apart because worker processes get their listeners
//! from their supervisor and never bind. The engine takes both together.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::contained::Contained;
use crate::handlers::{Connection, StreamOptions};
use crate::listener::{Address, Kind, Listener};
use crate::protocol::Protocol;
use crate::route::Route;
use crate::service::{DatagramService, Service, StreamService};
use crate::sys::ticks_to_pass;

/// An address, and what is served there.
///
/// ```
/// use std::sync::Arc;
/// use threadline_engine::{Endpoint, Lines};
///
/// let echo = Lines::new(|line, _session| Some(line.to_owned()));
/// let endpoint = Endpoint::messages("unix:/run/echo.sock".parse()?, Arc::new(echo)).unix_mode(0o660);
/// assert_eq!(endpoint.to_string(), "lines on unix:/run/echo.sock");
/// assert_eq!(endpoint.check(), Ok(()));
/// # Ok::<(), threadline_engine::BadAddress>(())
/// ```
#[derive(Debug)]
#[must_use = "an endpoint is served by an engine only"]
pub struct Endpoint {
    address: Address,
    service: Service,
    isolated: bool,
    unix_mode: Option<u32>,
}

impl Endpoint {
    /// Serves messages of a protocol.
    pub fn messages(address: Address, protocol: Arc<dyn Protocol>) -> Self {
        Endpoint::new(address, Service::messages(protocol))
    }

    /// Serves whole connections, with a thread for each as long as its handler runs.
    pub fn stream(
        address: Address,
        options: StreamOptions,
        handler: impl Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let route = stream_route(&address);
        let (handler, idle) = (Contained::new(Arc::new(handler) as _), options.idle());
        let idle = idle.map(ticks_to_pass);
        let service = StreamService { handler, options, route, idle };
        Endpoint::new(address, Service::Stream(Arc::new(service)))
    }

    /// Serves single datagrams; what the handler returns is sent back to the sender.
    pub fn datagrams(
        address: Address,
        handler: impl Fn(&[u8], SocketAddr) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let route = datagram_route(&address);
        let handler = Contained::new(Arc::new(handler) as _);
        Endpoint::new(address, Service::Datagrams(Arc::new(DatagramService { handler, route })))
    }

    fn new(address: Address, service: Service) -> Self {
        Endpoint { address, service, isolated: false, unix_mode: None }
    }

    /// Serves it on a shard and a thread that serve only isolated endpoints, by
    /// [`Model::EventLoop`](crate::Model::EventLoop) whatever the engine's model is, and with
    /// [`Settings::connections_isolated`](crate::Settings::connections_isolated) connections beyond the
    /// limit. For health checks and the like, which must answer whatever the rest of the service is doing.
    /// Handlers of isolated endpoints hold up each other if they block.
    ///
    /// Streams and protocols with hooks need threads of the pool: [`Endpoint::check`] refuses to isolate
    /// them.
    pub fn isolated(mut self) -> Self {
        self.isolated = true;
        self
    }

    /// Sets the permissions of a Unix socket's file, such as `0o660`, whatever the umask is. A client needs
    /// the permission to write (unix(7)). Default: `0o777` without the bits of the umask.
    ///
    /// Only the path of a Unix socket has such a file: [`Endpoint::check`] refuses other addresses, and
    /// modes above `0o777`.
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.unix_mode = Some(mode);
        self
    }

    /// Where it is to listen.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What is served there: `stream`, `datagrams`, or the name of the protocol.
    pub fn name(&self) -> &'static str {
        self.service.name()
    }

    /// Finds mistakes that show before it is bound.
    ///
    /// # Errors
    /// The first mistake, with the endpoint's name and address.
    pub fn check(&self) -> Result<(), String> {
        if let Service::Stream(stream) = &self.service {
            stream.options.check().map_err(|mistake| format!("{self}: {mistake}"))?;
        }
        if self.isolated && self.service.needs_pool() {
            let why = match &self.service {
                Service::Stream(_) => "a stream handler needs",
                _ => "the protocol's hooks need",
            };
            return Err(format!("{self} cannot be isolated: {why} threads of the pool"));
        }
        match self.unix_mode {
            Some(mode) => self.check_mode(mode),
            None => Ok(()),
        }
    }

    fn check_mode(&self, mode: u32) -> Result<(), String> {
        let why = match &self.address {
            Address::Unix(_) if mode > PERMISSIONS => {
                return Err(format!(
                    "{self} has the unix_mode {mode:#o}: expected permissions from 0o0 to 0o777, such as \
                     0o660"
                ));
            }
            Address::Unix(_) => return Ok(()),
            Address::Ip(_) => "it is not a Unix socket",
            Address::Abstract(_) => "a name of the abstract namespace has no file",
            Address::Fd(_) => "the file belongs to the process that has bound it",
        };
        Err(format!("{self} cannot have a unix_mode: {why}; expected the address `unix:PATH`"))
    }

    /// Binds the address for an engine of `shards` shards.
    ///
    /// # Errors
    /// As [`Listener::bind`] or [`Listener::bind_datagrams`]; also if the permissions of a Unix socket's file
    /// cannot be set.
    pub fn bind(&self, shards: usize, backlog: i32) -> io::Result<Listener> {
        let shards = if self.isolated { 1 } else { shards };
        match self.service {
            Service::Datagrams(_) => Listener::bind_datagrams(&self.address, shards),
            Service::Messages(_) | Service::Stream(_) => {
                Listener::bind_with_mode(&self.address, shards, backlog, self.unix_mode)
            }
        }
    }

    pub(crate) fn is_isolated(&self) -> bool {
        self.isolated
    }

    /// As [`Endpoint::check`], with the listener that it got.
    pub(crate) fn check_with(&self, listener: &Listener) -> Result<(), String> {
        self.check()?;
        let is_datagrams = matches!(self.service, Service::Datagrams(_));
        if (listener.kind() == Kind::Datagrams) != is_datagrams {
            let (address, name) = (listener.address(), self.name());
            return Err(format!("{address} is the wrong kind of socket for {name}"));
        }
        Ok(())
    }

    /// What the shards serve. Its routes have the address that was bound, with the port that the kernel
    /// chose.
    pub(crate) fn into_service(mut self, bound: &Address) -> Service {
        match &mut self.service {
            Service::Stream(stream) => ours_alone(stream).route = stream_route(bound),
            Service::Datagrams(datagrams) => ours_alone(datagrams).route = datagram_route(bound),
            Service::Messages(_) => {}
        }
        self.service
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.name(), self.address)
    }
}

/// A service before any listener or connection has it.
fn ours_alone<T>(service: &mut Arc<T>) -> &mut T {
    Arc::get_mut(service).expect("an endpoint shares its service with nobody")
}

/// All permission bits of a file; not those that mean nothing to a socket, such as set-user-ID.
const PERMISSIONS: u32 = 0o777;

fn stream_route(address: &Address) -> Arc<Route> {
    Route::new(format!("stream {address}"))
}

fn datagram_route(address: &Address) -> Arc<Route> {
    Route::new(format!("datagrams {address}"))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::handlers::Lines;
    use crate::{Engine, Settings};

    fn address(text: &str) -> Address {
        text.parse().expect("an address")
    }

    fn lines(text: &str) -> Endpoint {
        Endpoint::messages(address(text), Arc::new(Lines::new(|_, _| None)))
    }

    fn stream(text: &str) -> Endpoint {
        Endpoint::stream(address(text), StreamOptions::default(), |_| Ok(()))
    }

    #[track_caller]
    fn mistake(endpoint: Endpoint) -> String {
        endpoint.check().expect_err("a mistake")
    }

    #[test]
    fn what_needs_the_pool_cannot_be_isolated() {
        assert_eq!(
            mistake(stream("127.0.0.1:80").isolated()),
            "stream on 127.0.0.1:80 cannot be isolated: a stream handler needs threads of the pool"
        );
        let hooks = Lines::new(|_, _| None).on_open(|_| None);
        let hooks = Endpoint::messages(address("unix:/x"), Arc::new(hooks));
        assert_eq!(
            mistake(hooks.isolated()),
            "lines on unix:/x cannot be isolated: the protocol's hooks need threads of the pool"
        );
        assert_eq!(lines("127.0.0.1:80").isolated().check(), Ok(()));
        let datagrams = Endpoint::datagrams(address("127.0.0.1:80"), |_, _| None);
        assert_eq!(datagrams.isolated().check(), Ok(()));
    }

    #[test]
    fn only_the_file_of_a_unix_socket_has_a_mode() {
        for (text, why) in [
            ("127.0.0.1:80", "it is not a Unix socket"),
            ("unix:@name", "a name of the abstract namespace has no file"),
            ("fd:3", "the file belongs to the process that has bound it"),
        ] {
            let expected = format!(
                "lines on {text} cannot have a unix_mode: {why}; expected the address `unix:PATH`"
            );
            assert_eq!(mistake(lines(text).unix_mode(0o600)), expected);
        }
        for mode in [0, 0o660, 0o777] {
            assert_eq!(lines("unix:/x").unix_mode(mode).check(), Ok(()));
        }
        // In decimal, as is easily written by mistake; and bits that are not permissions.
        for mode in [660, 777, 0o1777, u32::MAX] {
            let mistake = mistake(lines("unix:/x").unix_mode(mode));
            assert!(
                mistake.contains(&format!("{mode:#o}: expected permissions from 0o0 to 0o777")),
                "{mistake}"
            );
        }
    }

    #[test]
    fn an_engine_checks_its_endpoints_and_their_listeners() {
        let refused = |endpoint: Endpoint, listener: Listener| {
            let started = Engine::start(Settings::default(), vec![(endpoint, listener)]);
            started.expect_err("a mistake").to_string()
        };
        let any = address("127.0.0.1:0");
        let tcp = || Listener::bind(&any, 1, 16).expect("binds");
        let told = refused(stream("127.0.0.1:0").isolated(), tcp());
        assert!(told.contains("cannot be isolated"), "{told}");
        let udp = Listener::bind_datagrams(&any, 1).expect("binds");
        let at = udp.address().clone();
        let told = refused(lines("127.0.0.1:0"), udp);
        assert_eq!(told, format!("{at} is the wrong kind of socket for lines"));
        let short = StreamOptions::default().read_timeout(Some(Duration::ZERO));
        let told = refused(Endpoint::stream(any.clone(), short, |_| Ok(())), tcp());
        assert!(told.starts_with("stream on 127.0.0.1:0: "), "{told}");
        let nothing = Engine::start(Settings::default(), Vec::new()).expect_err("nothing to serve");
        assert_eq!(nothing.to_string(), "nothing to serve: add an endpoint");
    }
}
