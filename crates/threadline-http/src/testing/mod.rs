//! Testing services without sockets: [`TestClient`] drives a router in this process.
//!
//! Requests are written as bytes and go through the same parser, router and writer as those of real
//! clients; only the engine is missing. What needs an engine (deadlines, limits on connections, the
//! models) is tested with a server on port 0 instead: `threadline::TestServer`.
//!
//! | file | |
//! | --- | --- |
//! | `request.rs` | [`TestRequest`]: the request under construction |
//! | `response.rs` | [`TestResponse`]: what came back |
//! | `in_process.rs` | the engine's part, played without one |

mod in_process;
mod request;
mod response;

use std::fmt;
use std::sync::Arc;

use threadline_proto::Method;

use crate::router::{Router, RouterError};
use crate::service::HttpService;
pub use request::TestRequest;
pub use response::TestResponse;

/// Asks a router, without sockets.
///
/// ```
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Path, Router, Status};
///
/// let router = Router::new()
///     .get("/hello/{name}", |Path(name): Path<String>| format!("hello, {name}"))
///     .post("/echo", |body: Vec<u8>| body);
/// let client = TestClient::new(router)?;
///
/// let response = client.get("/hello/ada").send();
/// assert_eq!((response.status(), response.text()), (Status::OK, "hello, ada"));
/// assert_eq!(client.post("/echo").body("snail").send().text(), "snail");
/// assert_eq!(client.get("/nothing").send().status(), Status::NOT_FOUND);
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TestClient {
    transport: Arc<dyn Transport>,
}

/// How a client's bytes reach the service: with the request goes whether its connection is to end,
/// back comes all that the service says.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request and brings the response's bytes.
    ///
    /// # Panics
    /// If the service cannot be reached, so that the test fails there.
    fn exchange(&self, request: &[u8]) -> Vec<u8>;
}

impl TestClient {
    /// A client of this router.
    ///
    /// # Errors
    /// Those of [`Router::build`].
    pub fn new(router: Router) -> Result<Self, RouterError> {
        Ok(TestClient::of(router.build()?))
    }

    /// A client of a service that is built already.
    pub fn of(service: HttpService) -> Self {
        TestClient::with(in_process::InProcess::new(service))
    }

    /// A client that reaches the service in a way of its own.
    pub fn with(transport: impl Transport + 'static) -> Self {
        TestClient { transport: Arc::new(transport) }
    }

    /// A `GET` request.
    pub fn get(&self, target: &str) -> TestRequest {
        self.request(Method::Get, target)
    }

    /// A `POST` request.
    pub fn post(&self, target: &str) -> TestRequest {
        self.request(Method::Post, target)
    }

    /// A `PUT` request.
    pub fn put(&self, target: &str) -> TestRequest {
        self.request(Method::Put, target)
    }

    /// A `PATCH` request.
    pub fn patch(&self, target: &str) -> TestRequest {
        self.request(Method::Patch, target)
    }

    /// A `DELETE` request.
    pub fn delete(&self, target: &str) -> TestRequest {
        self.request(Method::Delete, target)
    }

    /// A request of any method. The target is sent as it is, percent-encoded by the caller.
    pub fn request(&self, method: Method<'_>, target: &str) -> TestRequest {
        TestRequest::new(Arc::clone(&self.transport), method, target)
    }

    /// Sends bytes that need not be a request, and brings the bytes that come back.
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.transport.exchange(bytes.as_ref())
    }
}
