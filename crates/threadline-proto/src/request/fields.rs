//! The walk over the fields: the few that matter to the connection are picked out by their length
//! first, so that all others cost one comparison.

use crate::request::framing::Framing;
use crate::request::{ParseError, Version, host};
use crate::token::list;

/// What the fields say about the connection and the message.
#[derive(Debug, Default)]
pub(super) struct Findings<'i> {
    pub(super) framing: Framing,
    host: Option<&'i [u8]>,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    pub(super) expects_continue: bool,
    /// What else `Expect` asks for is not looked at.
    takes_any_expectation: bool,
}

impl<'i> Findings<'i> {
    pub(super) fn of_any_expectation() -> Self {
        Findings { takes_any_expectation: true, ..Findings::default() }
    }

    /// Whether the connection goes on (RFC 9112 §9.3). `close` wins over `keep-alive`.
    pub(super) fn persists(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    /// Whether an `Upgrade` field is meant for this server (RFC 9110 §7.8). HTTP/1.0 knows no such thing,
    /// and a connection that ends cannot go on in another protocol.
    pub(super) fn may_upgrade(&self, version: Version) -> bool {
        self.upgrade && version == Version::Http11 && !self.close
    }

    /// The next field.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        name: &[u8],
        value: &'i [u8],
        version: Version,
    ) -> Result<(), ParseError> {
        match name.len() {
            // The spellings that come are compared as one word each.
            4 if matches!(name, b"Host" | b"host") || name.eq_ignore_ascii_case(b"host") => {
                self.host(value)
            }
            6 if name.eq_ignore_ascii_case(b"expect") => self.expect(value, version),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection(value);
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.framing.content_length(value)
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.framing.transfer_encoding(value)
            }
            14 | 17 if is_framing_lookalike(name) => Err(ParseError::FramingLookalike),
            _ => Ok(()),
        }
    }

    /// The value of `Host`, once all fields have been seen.
    #[inline]
    pub(super) fn host_of(&self, version: Version) -> Result<Option<&'i [u8]>, ParseError> {
        match self.host {
            None if version == Version::Http11 => Err(ParseError::HostMissing),
            host => Ok(host),
        }
    }

    #[inline]
    fn host(&mut self, value: &'i [u8]) -> Result<(), ParseError> {
        if self.host.is_some() {
            return Err(ParseError::HostDuplicate);
        }
        if !host::is_valid(value) {
            return Err(ParseError::HostInvalid);
        }
        self.host = Some(value);
        Ok(())
    }

    /// `Connection` is a list, and may come several times. Options that are not known are for
    /// somebody else.
    fn connection(&mut self, value: &[u8]) {
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            }
        }
    }

    #[cold]
    fn expect(&mut self, value: &[u8], version: Version) -> Result<(), ParseError> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            let is_taken = self.takes_any_expectation;
            return if is_taken { Ok(()) } else { Err(ParseError::Expectation) };
        }
        // To be ignored in HTTP/1.0, whose clients know no interim responses (RFC 9110 §10.1.1).
        self.expects_continue = version == Version::Http11;
        Ok(())
    }
}

/// Whether a gateway that takes `_` for `-` would find framing in this field.
fn is_framing_lookalike(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content_length") || name.eq_ignore_ascii_case(b"transfer_encoding")
}
