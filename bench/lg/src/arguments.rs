//! What the generator is asked to do.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

/// Puts load on a server of this machine and checks every reply.
#[derive(Debug, Clone, Parser)]
pub struct Arguments {
    /// The server: an address of the loopback range
    #[arg(long)]
    pub addr: SocketAddr,
    /// What is spoken
    #[arg(long, value_enum, default_value_t = Proto::Http)]
    pub proto: Proto,
    /// Measured connections
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Requests under way on each of them
    #[arg(long, default_value_t = 1)]
    pub pipeline: usize,
    /// Path of the measured requests
    #[arg(long, default_value = "/")]
    pub path: String,
    /// Bytes of an echo message, its newline counted
    #[arg(long, default_value_t = 64)]
    pub size: usize,
    /// Requests a second over all connections; without it as fast as replies come
    #[arg(long)]
    pub rate: Option<f64>,
    /// Connections that loop on the slow path beside the measured ones
    #[arg(long, default_value_t = 0)]
    pub slow: usize,
    /// That path
    #[arg(long, default_value = "/sleep")]
    pub slow_path: String,
    /// Connections that make one request and then stay open
    #[arg(long, default_value_t = 0)]
    pub idle: usize,
    /// Connections that send one byte of a request each second
    #[arg(long, default_value_t = 0)]
    pub drip: usize,
    /// Seconds before measuring begins
    #[arg(long, default_value_t = 0.3)]
    pub warmup: f64,
    /// Seconds measured, at most 60
    #[arg(long, default_value_t = 1.5)]
    pub seconds: f64,
    /// The server has cores of its own: let nobody else have the generator's (nice -20)
    #[arg(long)]
    pub own_core: bool,
    /// The server has the same cores: sleep while there is nothing to do
    #[arg(long)]
    pub sleeps: bool,
    /// Process id of the server, to report what it used
    #[arg(long)]
    pub pid: Option<u32>,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Proto {
    /// HTTP/1.1 keep-alive
    Http,
    /// What is sent comes back
    Echo,
}
