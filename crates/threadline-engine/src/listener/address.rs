//! [`Address`]: where a service listens, read from text and written as text.
//!
//! Reading resolves host names and checks what can be checked without a socket. What stands at a path
//! is found out when it is bound ([`unix`](super::unix)).

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::unix::{check_name, check_path};

/// Where a service listens.
///
/// | text | meaning |
/// | --- | --- |
/// | `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` | that address; port 0 lets the kernel choose |
/// | `:8080` or `[::]:8080` | all addresses, IPv4 and IPv6 |
/// | `unix:/run/app.sock` | a Unix socket; a stale socket at that path is replaced, anything else is left alone |
/// | `unix:@app` | a Unix socket in Linux's abstract namespace (unix(7)): a name without a file |
/// | `fd:3` | a socket that this process has inherited, bound and listening |
///
/// ```
/// use threadline_engine::Address;
///
/// let address: Address = "unix:@app".parse()?;
/// assert_eq!(address, Address::Abstract(b"app".to_vec()));
/// assert_eq!(address.to_string(), "unix:@app");
/// // A path that begins with `@` is written as:
/// assert_eq!("unix:./@app".parse(), Ok(Address::Unix("./@app".into())));
/// # Ok::<(), threadline_engine::BadAddress>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A path of a Unix stream socket, of 1 to 107 bytes and without NUL.
    Unix(PathBuf),
    /// The name of a Unix stream socket in the abstract namespace, of 1 to 107 bytes, without the NUL that
    /// the kernel has in front of it.
    Abstract(Vec<u8>),
    /// The number of an inherited descriptor, which must be a socket. It becomes the service's own, which
    /// closes it when it stops listening: see [`take_inherited`](crate::take_inherited).
    Fd(i32),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(path) if path.as_os_str().as_encoded_bytes().starts_with(b"@") => {
                write!(f, "unix:./{}", path.display())
            }
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Abstract(name) => {
                // As /proc/net/unix and ss(8) show a name: NUL as `@`.
                let name: Cow<'_, str> = String::from_utf8_lossy(name);
                write!(f, "unix:@{}", name.replace('\0', "@"))
            }
            Address::Fd(number) => write!(f, "fd:{number}"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Ip(address)
    }
}

/// A text that is not an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAddress {
    text: String,
    why: String,
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bad address '{}': {}; use HOST:PORT (127.0.0.1:8080, [::1]:8080), :PORT, unix:PATH, \
             unix:@NAME or fd:NUMBER",
            self.text.escape_debug(),
            self.why
        )
    }
}

impl std::error::Error for BadAddress {}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = |why: &str| BadAddress { text: text.to_owned(), why: why.to_owned() };
        if let Some(name) = text.strip_prefix("unix:@") {
            check_name(name.as_bytes()).map_err(|why| bad(&why))?;
            if name.contains('\0') {
                return Err(bad("the name contains a NUL byte"));
            }
            return Ok(Address::Abstract(name.into()));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            check_path(Path::new(path)).map_err(|why| bad(&why))?;
            return Ok(Address::Unix(path.into()));
        }
        if let Some(number) = text.strip_prefix("fd:") {
            return match number.parse() {
                Ok(number @ 0..) => Ok(Address::Fd(number)),
                _ => Err(bad("not a descriptor number: expected `fd:N`")),
            };
        }
        if let Ok(address) = text.parse() {
            return Ok(Address::Ip(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("the port is missing"))?;
        let port = port.parse().map_err(|_| bad("the port is not a number from 0 to 65535"))?;
        if host.is_empty() {
            return Ok(Address::Ip((Ipv6Addr::UNSPECIFIED, port).into()));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut found =
            (host, port).to_socket_addrs().map_err(|_| bad("the host name is not known"))?;
        found.next().map(Address::Ip).ok_or_else(|| bad("the host name has no address"))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let ip = |text: &str| Ok(Address::Ip(text.parse().expect("an address")));
        assert_eq!("127.0.0.1:80".parse(), ip("127.0.0.1:80"));
        assert_eq!("[::1]:80".parse(), ip("[::1]:80"));
        assert_eq!(":80".parse(), ip("[::]:80"));
        assert_eq!("unix:/run/x".parse(), Ok(Address::Unix("/run/x".into())));
        assert_eq!("unix:@x".parse(), Ok(Address::Abstract(b"x".to_vec())));
        assert_eq!("fd:3".parse(), Ok(Address::Fd(3)));
    }

    #[test]
    fn bad_addresses_say_what_to_write() {
        for text in ["", "8080", "127.0.0.1", "127.0.0.1:99999", "unix:", "fd:x", "fd:-1", "a b:1"]
        {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains("use HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn unix_addresses_that_cannot_be_bound_are_refused_with_the_reason() {
        let long = "x".repeat(108);
        for (text, why) in [
            ("unix:".to_owned(), "the path is empty"),
            ("unix:@".to_owned(), "the name is empty"),
            ("unix:/run/a\0b".to_owned(), "the path contains a NUL byte"),
            ("unix:@a\0b".to_owned(), "the name contains a NUL byte"),
            (format!("unix:{long}"), "the path has 108 bytes, a Unix socket's has at most 107"),
            (format!("unix:@{long}"), "the name has 108 bytes, a Unix socket's has at most 107"),
            ("unix:/run/".to_owned(), "the path must end with the name of the socket"),
            ("unix:/run/..".to_owned(), "the path must end with the name of the socket"),
            ("unix:/run/.".to_owned(), "the path must end with the name of the socket"),
            ("fd:x".to_owned(), "not a descriptor number: expected `fd:N`"),
        ] {
            let error = text.parse::<Address>().expect_err(&text).to_string();
            assert!(error.contains(why) && !error.contains('\0'), "{error}");
        }
        assert!(format!("unix:{}", &long[1..]).parse::<Address>().is_ok());
        assert!(format!("unix:@{}", &long[1..]).parse::<Address>().is_ok());
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["127.0.0.1:80", "[::1]:80", "unix:/run/x", "unix:@x", "unix:./@x", "fd:3"] {
            let address: Address = text.parse().expect("an address");
            assert_eq!(address.to_string(), text);
        }
        // Not a name of the abstract namespace.
        assert_eq!(Address::Unix("@x".into()).to_string(), "unix:./@x");
        assert_eq!(Address::Abstract(b"a\0b\xff".to_vec()).to_string(), "unix:@a@b\u{fffd}");
    }
}
