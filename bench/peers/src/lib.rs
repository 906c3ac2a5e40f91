//! What all peers have in common: the command line, the listening socket and the workload.
//!
//! Each peer routes, answers and blocks in its own library's way; only what must not differ from
//! one to the next is here.

use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// The body of `GET /`.
pub const HELLO: &str = "Hello, World!";
/// The body of `GET /sleep`.
pub const SLEPT: &str = "slept";
/// The body of `GET /mixed`.
pub const MIXED: &str = "mixed";
/// The body of `GET /cpu`.
pub const SPUN: &str = "spun";

/// How long `GET /sleep` blocks.
pub const SLEEP: Duration = Duration::from_millis(50);
/// How long every hundredth `GET /mixed` blocks.
pub const HICCUP: Duration = Duration::from_millis(5);
/// How many threads a peer may have for blocking code, enough for a thousand sleepers at once.
pub const BLOCKING_THREADS: usize = 1200;

const SPIN: Duration = Duration::from_millis(5);
const BACKLOG: i32 = 4096;

static CALLS: AtomicU64 = AtomicU64::new(0);

/// The command line: `--addr ADDRESS [--workers N]`.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Where to listen.
    pub address: SocketAddr,
    /// Threads of the runtime; what that means, each peer says for itself.
    pub workers: usize,
}

impl Options {
    /// Reads the command line; a mistake ends the program with status 2.
    pub fn parse(workers: usize) -> Options {
        let mut options = Options { address: ([127, 0, 0, 1], 0).into(), workers };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_else(|| usage(format!("{name} needs a value")));
            match name.as_str() {
                "--addr" => options.address = value.parse().unwrap_or_else(|error| usage(error)),
                "--workers" => options.workers = value.parse().unwrap_or_else(|error| usage(error)),
                _ => usage(format!("unknown option {name}")),
            }
        }
        if options.workers == 0 {
            usage("--workers must be at least 1");
        }
        options
    }

    /// A listening socket with a backlog that a burst of a thousand connections does not overflow.
    ///
    /// `TCP_NODELAY` is set on it, too: on Linux accepted connections inherit it, which reaches
    /// the libraries that have no setting of their own.
    pub fn listen(&self) -> io::Result<TcpListener> {
        let domain = Domain::for_address(self.address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&self.address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    }
}

fn usage(problem: impl Display) -> ! {
    eprintln!("{problem}\nusage: --addr IP:PORT [--workers N]");
    std::process::exit(2);
}

/// Tells whoever started the peer that connections are welcome.
pub fn announce(address: SocketAddr) {
    println!("listening on {address}");
}

/// Whether this call of `GET /mixed` is one that blocks: the first is, then every hundredth.
pub fn hiccup_is_due() -> bool {
    CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(100)
}

/// What `GET /cpu` does: burns 5 ms of processor time.
pub fn spin() {
    let began = Instant::now();
    while began.elapsed() < SPIN {
        std::hint::spin_loop();
    }
}

/// A tokio runtime as its documentation has it: on the calling thread for one worker, else the
/// multi-threaded one.
pub fn tokio_runtime(workers: usize) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = if workers == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    if workers > 1 {
        builder.worker_threads(workers);
    }
    builder.max_blocking_threads(BLOCKING_THREADS).enable_all().build()
}

/// A standard listener as a tokio one; to be called inside a runtime.
pub fn tokio_listener(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
