//! TCP keep-alive: how a connection ends whose peer has vanished without a word.
//!
//! The options are set on listeners. Linux gives a new connection its listener's options when the handshake
//! ends, so they cost nothing at accept. A connection that has come before the listener had them
//! is set up when it is accepted.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// TCP keep-alive: when the kernel probes a silent peer, and when it gives up.
///
/// By default it probes after 15 s of silence, then every 15 s, 9 times. If the peer answers none of the
/// probes, the connection ends 150 s after the last byte or acknowledgement of the peer, and is counted as
/// `vanished`. Deadlines end most such connections earlier. An open push has no deadline while nothing is
/// sent, and a stream handler may have switched its own off.
///
/// ```
/// use std::time::Duration;
/// use threadline_engine::{Settings, TcpKeepAlive};
///
/// let mut settings = Settings::default();
/// settings.tcp_keep_alive =
///     Some(TcpKeepAlive { idle: Duration::from_secs(60), ..TcpKeepAlive::default() });
/// assert_eq!(settings.check(), Ok(()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpKeepAlive {
    /// Silence before the first probe (`TCP_KEEPIDLE`): more than 0, at most 32 767 s. The kernel takes whole
    /// seconds; a fraction is rounded up. Default 15 s.
    pub idle: Duration,
    /// Time between two probes (`TCP_KEEPINTVL`), likewise. Default 15 s.
    pub interval: Duration,
    /// Probes without an answer after which the connection is closed (`TCP_KEEPCNT`), 1 to 127. Default 9.
    pub probes: u32,
}

impl Default for TcpKeepAlive {
    fn default() -> Self {
        let every = Duration::from_secs(15);
        TcpKeepAlive { idle: every, interval: every, probes: 9 }
    }
}

/// The kernel's own bounds, tcp(7): `MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL` and `MAX_TCP_KEEPCNT`.
const SECONDS_MAX: Duration = Duration::from_secs(32_767);
const PROBES_MAX: u32 = 127;

impl TcpKeepAlive {
    /// What the kernel would not take.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, time) in [("idle", self.idle), ("interval", self.interval)] {
            if time.is_zero() || time > SECONDS_MAX {
                return Err(format!(
                    "tcp_keep_alive.{name} is {time:?}: it must be more than 0 and at most 32767 s"
                ));
            }
        }
        if !(1..=PROBES_MAX).contains(&self.probes) {
            let probes = self.probes;
            return Err(format!("tcp_keep_alive.probes is {probes}: it goes from 1 to 127"));
        }
        Ok(())
    }

    fn whole_seconds(self) -> Self {
        let round_up =
            |time: Duration| Duration::from_secs(time.as_nanos().div_ceil(1_000_000_000) as u64);
        TcpKeepAlive { idle: round_up(self.idle), interval: round_up(self.interval), ..self }
    }
}

/// Sets it, or switches it off.
pub(super) fn set(socket: &OwnedFd, keep_alive: Option<TcpKeepAlive>) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let Some(keep_alive) = keep_alive else { return socket.set_keepalive(false) };
    let TcpKeepAlive { idle, interval, probes } = keep_alive.whole_seconds();
    let options = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
    socket.set_tcp_keepalive(&options)
}

/// Sets the listener's options on a connection, unless it has them. Returns whether later connections need
/// no look: this one had the options, or the kernel refuses to set them.
pub(super) fn pass_on(connection: &OwnedFd, keep_alive: Option<TcpKeepAlive>) -> bool {
    let socket = SockRef::from(connection);
    // An inherited listener may have lacked that too.
    let has_no_delay = socket.tcp_nodelay().unwrap_or(true);
    let wanted = keep_alive.map(TcpKeepAlive::whole_seconds);
    if has_no_delay && of(connection).is_ok_and(|has| has == wanted) {
        return true;
    }
    socket.set_tcp_nodelay(true).and_then(|()| set(connection, keep_alive)).is_err()
}

/// What a socket has.
fn of(socket: &OwnedFd) -> io::Result<Option<TcpKeepAlive>> {
    let socket = SockRef::from(socket);
    if !socket.keepalive()? {
        return Ok(None);
    }
    Ok(Some(TcpKeepAlive {
        idle: socket.tcp_keepalive_time()?,
        interval: socket.tcp_keepalive_interval()?,
        probes: socket.tcp_keepalive_retries()?,
    }))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn accept(listener: &TcpListener) -> (TcpStream, OwnedFd) {
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        (client, listener.accept().expect("a client").0.into())
    }

    fn listener(keep_alive: Option<TcpKeepAlive>) -> TcpListener {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        SockRef::from(&listener).set_tcp_nodelay(true).expect("sets");
        set(&listener.try_clone().expect("clones").into(), keep_alive).expect("sets");
        listener
    }

    #[test]
    fn connections_inherit_what_their_listener_has() {
        let short = TcpKeepAlive {
            idle: Duration::from_secs(2),
            interval: Duration::from_millis(2_001),
            probes: 3,
        };
        for keep_alive in [None, Some(TcpKeepAlive::default()), Some(short)] {
            let (_client, accepted) = accept(&listener(keep_alive));
            assert_eq!(
                of(&accepted).expect("a socket"),
                keep_alive.map(TcpKeepAlive::whole_seconds)
            );
            assert!(pass_on(&accepted, keep_alive), "it has the options");
        }
    }

    #[test]
    fn a_connection_that_came_before_the_options_gets_them() {
        let plain = listener(None);
        let (_client, accepted) = accept(&plain);
        let keep_alive = Some(TcpKeepAlive::default());
        assert!(!pass_on(&accepted, keep_alive), "the next one is to be looked at");
        assert_eq!(of(&accepted).expect("a socket"), keep_alive);
        // And one that has them where none are wanted.
        assert!(!pass_on(&accepted, None));
        assert_eq!(of(&accepted).expect("a socket"), None);
    }

    #[test]
    fn a_connection_that_came_before_nagle_was_switched_off_is_set_up_too() {
        let inherited = TcpListener::bind("127.0.0.1:0").expect("binds");
        let (_client, accepted) = accept(&inherited);
        assert!(!pass_on(&accepted, None));
        assert!(SockRef::from(&accepted).tcp_nodelay().expect("a socket"));
        assert!(pass_on(&accepted, None));
    }

    #[test]
    fn what_the_kernel_would_not_take_is_named() {
        let good = TcpKeepAlive::default();
        assert_eq!(good.check(), Ok(()));
        for (bad, name) in [
            (TcpKeepAlive { idle: Duration::ZERO, ..good }, "idle"),
            (TcpKeepAlive { interval: SECONDS_MAX + Duration::from_nanos(1), ..good }, "interval"),
            (TcpKeepAlive { probes: 0, ..good }, "probes"),
            (TcpKeepAlive { probes: 128, ..good }, "probes"),
        ] {
            let why = bad.check().expect_err(name);
            assert!(why.starts_with(&format!("tcp_keep_alive.{name} is ")), "{why}");
        }
    }
}
