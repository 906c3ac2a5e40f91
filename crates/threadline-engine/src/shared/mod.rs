//! What all threads of one engine share.
//!
//! - `lifecycle`: the phases, from running to stopped, and what is still open
//! - `mailboxes`: notes from one shard to the others
//! - `peers`: how many connections one peer has
//! - `blocked`: connections whose threads can only be reached by their sockets
//! - `holders`: outputs that wait with the same bytes
//! - `waiting_bytes`: the budget of memory that is held because peers are slow
//!
//! Shards and the monitor know it; it knows neither.

mod blocked;
mod holders;
mod lifecycle;
mod mailboxes;
mod peers;
mod waiting_bytes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use threadline_pool::ThreadPool;

use crate::bell::Bell;
use crate::receiving::{Bodies, BodyFiles};
use crate::route::Route;
use crate::service::Service;
use crate::settings::Settings;
use crate::shard::Nothing;
use crate::threads::Threads;
use crate::workers::Workers;

use blocked::Blocked;
pub(crate) use blocked::{Blockable, BlockedBody};
pub(crate) use holders::{Holder, Holders};
use lifecycle::Lifecycle;
pub(crate) use lifecycle::Phase;
pub(crate) use mailboxes::Mailboxes;
use peers::Peers;
pub(crate) use waiting_bytes::WaitingBytes;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// By listener number.
    pub(crate) services: Vec<Service>,
    pub(crate) pool: ThreadPool,
    pub(crate) workers: Workers,
    pub(crate) threads: Arc<Threads>,
    pub(crate) bell: Bell,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) mailboxes: Arc<Mailboxes>,
    pub(crate) peers: Peers,
    pub(crate) blocked: Blocked,
    pub(crate) waiting: Arc<WaitingBytes>,
    /// Where the content of messages is put that has not all come.
    pub(crate) bodies: Arc<Bodies>,
    /// Stands for `Protocol::step` where a panic is logged that is not a handler's.
    pub(crate) protocols: Arc<Route>,
    /// Stands for `Protocol::opened` and `Protocol::closed` where a panic is logged.
    pub(crate) hooks: Arc<Route>,
    /// Stands for code that a connection was handed over to, likewise.
    pub(crate) successors: Arc<Route>,
    /// What connections are served that only linger.
    pub(crate) nothing: Service,
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        services: Vec<Service>,
        pool: ThreadPool,
        workers: Workers,
        threads: Arc<Threads>,
    ) -> Self {
        let waiting = Arc::new(WaitingBytes::new(settings.waiting_bytes_max));
        let bodies = Arc::new(Bodies {
            files: BodyFiles::new(settings.body_dir.clone(), settings.body_files_max),
            budget: Arc::clone(&waiting),
            memory_len_max: settings.body_memory_len_max,
            relief: AtomicBool::new(false),
            waits: AtomicUsize::new(0),
        });
        Shared {
            peers: Peers::new(settings.connections_per_peer_max),
            waiting,
            bodies,
            settings,
            services,
            pool,
            workers,
            threads,
            bell: Bell::default(),
            lifecycle: Lifecycle::new(),
            mailboxes: Arc::default(),
            blocked: Blocked::default(),
            protocols: Route::new("protocol"),
            hooks: Route::new("connection hook"),
            successors: Route::new("handed-over connection"),
            nothing: Nothing::service(),
        }
    }
}
