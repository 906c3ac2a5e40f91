//! Going on in another protocol on the same connection (RFC 9110 §7.8).

use std::any::Any;
use std::borrow::Cow;
use std::io;

use threadline_engine::{Connection, MessageService, Session};
use threadline_proto::response::Status;

use crate::extensions::States;
use crate::framework_error::{ErrorKind, settle};
use crate::request::Request;
use crate::response::{Aside, Response, Upgrade, UpgradeHandler};

impl Response {
    /// Goes on in another protocol: `101`, and then `handler` has the connection to itself. It runs on a
    /// pool thread, may block, and reads first what has come behind the request. `protocol` is a name,
    /// perhaps with a version behind a slash; header fields that it asks for can be added.
    ///
    /// A client that does not ask for the protocol ([`Request::upgrades`]) is answered `426` with its name,
    /// and one that asks while the service drains, `503`. With another status than `101`, which a layer may
    /// have set, the response is a 500 and a line in the log.
    ///
    /// ```
    /// use std::io::{self, Read, Write};
    /// use threadline_http::{Connection, Response, Router};
    ///
    /// fn echo(mut connection: Connection) -> io::Result<()> {
    ///     let mut buffer = [0; 1024];
    ///     loop {
    ///         match connection.read(&mut buffer)? {
    ///             0 => return Ok(()),
    ///             count => connection.write_all(&buffer[..count])?,
    ///         }
    ///     }
    /// }
    ///
    /// let router = Router::new().get("/echo", || Response::upgrade("echo", echo));
    /// ```
    pub fn upgrade(
        protocol: impl Into<Cow<'static, str>>,
        handler: impl FnOnce(Connection) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Response::switching(protocol.into(), |session| session.upgrade_to_stream(handler))
    }

    /// Goes on in messages of another protocol: `101`, and then the connection stays parked between them, so
    /// that it holds no thread. What has come behind the request is the first that `to` looks at; its deadlines
    /// and hooks apply from here on. Otherwise as [`Response::upgrade`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use threadline_http::{MessageService, Response, Router};
    /// # use threadline_engine::Lines;
    ///
    /// // Lines of text in this example. Your own protocol implements `Protocol`.
    /// let chat = MessageService::new(Arc::new(Lines::new(|line, _| Some(line.to_uppercase()))));
    /// let router = Router::new().get("/chat", move || Response::upgrade_to("chat/1", chat.clone()));
    /// ```
    pub fn upgrade_to(protocol: impl Into<Cow<'static, str>>, to: MessageService) -> Self {
        Response::switching(protocol.into(), |session| session.upgrade(to))
    }

    /// As [`Response::upgrade_to`], with a value that the handlers of the new protocol find in their session
    /// (`Session::get`): who the user is, which room was asked for.
    pub fn upgrade_with<T: Any + Send>(
        protocol: impl Into<Cow<'static, str>>,
        to: MessageService,
        value: T,
    ) -> Self {
        Response::switching(protocol.into(), |session| session.upgrade_with(to, value))
    }

    fn switching(
        protocol: Cow<'static, str>,
        to: impl FnOnce(&mut Session) + Send + 'static,
    ) -> Self {
        let upgrade = Upgrade { protocol, handler: Some(Box::new(to)) };
        let aside = Some(Box::new(Aside::Upgrade(upgrade)));
        Response { aside, ..Response::new(Status::SWITCHING_PROTOCOLS) }
    }

    /// The other protocol, if there is one.
    pub(crate) fn other_protocol(&self) -> Option<&Upgrade> {
        match self.aside.as_deref()? {
            Aside::Upgrade(upgrade) => Some(upgrade),
            Aside::Selected(_) | Aside::Pending(_) | Aside::Error(_) | Aside::Panicked(_) => None,
        }
    }

    /// What its handler is for, if the connection is to go on in its protocol. Is another response if the
    /// client has not asked for it, or the connection is about to close.
    #[cold]
    pub(crate) fn settle_upgrade<'n>(
        &mut self,
        mut asked: impl Iterator<Item = &'n str>,
        closes: bool,
        states: &States,
    ) -> Option<Box<UpgradeHandler>> {
        let Aside::Upgrade(upgrade) = self.aside.as_deref_mut()? else { return None };
        let (handler, protocol) = (upgrade.handler.take()?, upgrade.protocol.clone());
        if !asked.any(|name| name.eq_ignore_ascii_case(&protocol)) {
            let hint = format_args!("ask for an upgrade to {protocol} here");
            let refused = Response::error_of(ErrorKind::Refused, Status::UPGRADE_REQUIRED, hint);
            *self = self.replaced_by(settle(refused, states));
            let named = Upgrade { protocol, handler: None };
            self.aside = Some(Box::new(Aside::Upgrade(named)));
            return None;
        }
        if closes {
            let hint = "the service is going down";
            let refused = Response::error_of(ErrorKind::Refused, Status::SERVICE_UNAVAILABLE, hint);
            *self = self.replaced_by(settle(refused, states)).with_close();
            return None;
        }
        // The connection ends with the other protocol, whatever the response says.
        self.close = false;
        Some(handler)
    }
}

impl<'a> Request<'a> {
    /// The protocols that the client would rather go on in, in the order of its wishes; none as a rule.
    /// [`Response::upgrade`] looks by itself whether its own is among them.
    pub fn upgrades(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.head.upgrades()
    }
}
