//! Request heads: [`parse`] decides what a message is and where it ends, or refuses it.
//!
//! Nothing is allocated and nothing is copied: a [`Head`] borrows from the input. `parse` keeps no
//! state between calls, so a head that comes in pieces is looked at again with every piece that can
//! change the verdict ([`HeadWatch`] says which can).

mod error;
mod fields;
mod framing;
mod headers;
mod host;
mod limits;
mod owned;
mod parse;
mod request_line;
mod target;
mod watch;

pub use error::ParseError;
pub use framing::Body;
pub use headers::{HeaderSlots, Headers};
pub use limits::Limits;
pub use owned::OwnedHead;
pub use parse::{parse, parse_any_expectation};
pub use target::{Form, Target};
pub use watch::HeadWatch;

use crate::Method;
use crate::token::list;

/// What [`parse`] made of the input.
#[derive(Debug, Clone, Copy)]
pub enum Parsed<'h, 'i> {
    /// The head is not whole yet, and so far nothing is wrong with it.
    Partial,
    /// A head, and all the rules about it hold.
    Head(Head<'h, 'i>),
}

/// A request head.
#[derive(Debug, Clone, Copy)]
pub struct Head<'h, 'i> {
    /// What is to be done.
    pub method: Method<'i>,
    /// What it is to be done with.
    pub target: Target<'i>,
    /// The version of the request line.
    pub version: Version,
    /// All fields, in order.
    pub headers: Headers<'h, 'i>,
    /// The value of `Host`, which is ASCII; see [`Head::host`].
    host: Option<&'i [u8]>,
    /// Length of the head in bytes, with its empty line and a blank line before it: the body begins
    /// there.
    pub len: usize,
    /// Where the message ends behind the head.
    pub body: Body,
    /// Whether the client wants the connection to go on: by default in 1.1, if asked for in 1.0.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether [`Head::upgrades`] looks at the `Upgrade` fields.
    may_upgrade: bool,
}

impl<'h, 'i> Head<'h, 'i> {
    /// The protocols that the client would go on in behind this message, in the order of its wishes:
    /// names, perhaps with a version behind a slash (RFC 9110 §7.8). To be compared without case. They
    /// may all be ignored.
    pub fn upgrades(&self) -> impl Iterator<Item = &'i str> + use<'h, 'i> {
        let fields = self.may_upgrade.then(|| self.headers.all("upgrade"));
        let names = fields.into_iter().flatten().flat_map(list);
        names.filter_map(|name| str::from_utf8(name).ok()).filter(|name| !name.is_empty())
    }

    /// The value of `Host`; `None` only in HTTP/1.0.
    pub fn host(&self) -> Option<&'i str> {
        // Checked byte by byte when it came; made text only for the few that ask.
        self.host.and_then(|host| std::str::from_utf8(host).ok())
    }
}

/// The versions that are spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0: one request per connection unless asked otherwise, no chunks, no `100`.
    Http10,
    /// HTTP/1.1.
    Http11,
}
