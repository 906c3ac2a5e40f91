//! Testing a service over real sockets: [`TestServer`], on a port of its own.
//!
//! For what [`http::testing::TestClient`](crate::http::testing::TestClient) cannot see: deadlines,
//! limits, models, real clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::time::Duration;

use crate::http::Router;
use crate::http::testing::{TestClient, Transport};
use crate::{Address, Result, Running, Server};

/// A server on a free port of 127.0.0.1 that ends with the value, and a client of it.
///
/// ```
/// use threadline::TestServer;
/// use threadline::http::Router;
///
/// let server = TestServer::start(Router::new().get("/", || "it works"))?;
/// assert_eq!(server.get("/").send().text(), "it works");
/// // Any client can ask it.
/// let mut stream = std::net::TcpStream::connect(server.address())?;
/// # use std::io::{Read, Write};
/// stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
/// let mut answer = String::new();
/// stream.read_to_string(&mut answer)?;
/// assert!(answer.ends_with("it works"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TestServer {
    running: Running,
    address: SocketAddr,
    client: TestClient,
}

impl TestServer {
    /// Starts a server with this router.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub fn start(router: Router) -> Result<Self> {
        TestServer::start_with(Server::new(), router)
    }

    /// As [`TestServer::start`], with settings, a model, or other services beside the router.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub fn start_with(server: Server, router: Router) -> Result<Self> {
        let running = server.http("127.0.0.1:0", router).start()?;
        let Some(&Address::Ip(address)) = running.addresses().last() else {
            unreachable!("the listener that was added last is ours")
        };
        let client = TestClient::with(OverTcp { address });
        Ok(TestServer { running, address, client })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a page, for other clients.
    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// The server itself: its counters, and its drain.
    pub fn running(&self) -> &Running {
        &self.running
    }
}

/// The client's methods are the server's.
impl Deref for TestServer {
    type Target = TestClient;

    fn deref(&self) -> &TestClient {
        &self.client
    }
}

/// One connection for each request.
#[derive(Debug)]
struct OverTcp {
    address: SocketAddr,
}

/// How long a test waits for an answer: longer than any service under test should take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Transport for OverTcp {
    fn exchange(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).expect("the test server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // A service may answer and close before it has read all.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert!(!answer.is_empty(), "no answer: {error}");
        }
        answer
    }
}
