//! [`PeerAddr`]: who is at the other end of the connection.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;

use threadline_engine::log::limited;
use threadline_proto::response::Status;

use super::OptionalFromRequest;
use crate::framework_error::ErrorKind;
use crate::handler::{FromRequest, IntoResponse};
use crate::request::Request;
use crate::response::Response;

/// The address that the connection comes from: behind a proxy, the proxy's. `Option<PeerAddr>` where the
/// service also listens on a Unix socket, where peers have none.
///
/// ```
/// use threadline_http::{PeerAddr, Router};
///
/// let router = Router::new().get("/ip", |PeerAddr(peer): PeerAddr| peer.ip().to_string());
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The connection has no address, as it came over a Unix socket: the service's fault, 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPeerAddr;

impl fmt::Display for NoPeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handler needs the peer's address, and there is none on a Unix socket")
    }
}

impl std::error::Error for NoPeerAddr {}

impl IntoResponse for NoPeerAddr {
    fn into_response(self) -> Response {
        limited!(error, "take `Option<PeerAddr>`", error = %self);
        Response::error_of(
            ErrorKind::Internal,
            Status::INTERNAL_SERVER_ERROR,
            "the service's log says why",
        )
    }
}

impl FromRequest for PeerAddr {
    type Rejection = NoPeerAddr;

    fn from_request(request: &Request<'_>) -> Result<Self, NoPeerAddr> {
        request.peer_addr().map(PeerAddr).ok_or(NoPeerAddr)
    }
}

impl OptionalFromRequest for PeerAddr {
    type Rejection = Infallible;

    fn optional_from_request(request: &Request<'_>) -> Result<Option<Self>, Infallible> {
        Ok(request.peer_addr().map(PeerAddr))
    }
}
