//! Every bound of the engine in one place, with its default and the reason for it.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::listener::{TcpKeepAlive, TcpOptions};
use crate::model::Model;
use crate::sys::{Clock, memory_max, threads_max};
use crate::threads::ThreadHook;

/// What an engine is built with. Each field has a default that suits a service on one machine.
///
/// Deadlines belong to the protocol that waits: see [`Timeouts`](crate::Timeouts).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// How connections and handlers share threads. Default [`Model::Adaptive`].
    pub model: Model,
    /// Event loops. Default: one for each core this process may use.
    pub shards: usize,
    /// Connections at once, over all listeners. Default: 80 % of the descriptor limit, which leaves
    /// the rest to files and upstreams. Beyond it, the connections that have been idle longest are
    /// closed to make room; if none is idle, new ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// How many more than that isolated endpoints may take
    /// ([`Endpoint::isolated`](crate::Endpoint::isolated)), so that a full service can still be asked how it
    /// is. Default 64.
    pub connections_isolated: usize,
    /// Connections at once from one IP address. Default: no limit, since many users may share one
    /// address. One more is told so and closed.
    pub connections_per_peer_max: Option<usize>,
    /// Threads for handlers that may block, stream handlers included. Default 1 024, or half of the threads that
    /// the process may have if that is less (`pids.max` of its control group, `RLIMIT_NPROC`). At 2 MB of address
    /// space and some 30 KB of memory each they cost little. With 512, a thousand clients in a handler that
    /// blocks got half of their rate.
    pub pool_threads_max: usize,
    /// Calls that may wait for a pool thread, or at gates: for trials of their route, to compute, or to be streamed.
    /// Default 4 096: at 1 024 threads and 50 ms a call, a fifth of a second's work. One more is refused.
    pub pool_queue_max: usize,
    /// How long a call may wait for a pool thread, before it is refused as if there had been no room for it: 503
    /// on HTTP. Default 10 s; `None`: for ever. Stream handlers and opening hooks wait as long, and their
    /// connections are closed then, for hooks after the protocol's refusal; datagrams are dropped. What has been
    /// accepted is not refused: replies of deferred calls, and connections that go on in another protocol.
    pub queue_wait_max: Option<Duration>,
    /// How long the call of a client that has closed its sending side may wait for a pool thread, before it is
    /// dropped and the connection closed. Most such clients are gone; one that has only said that it sends no
    /// more gets its reply if a thread comes in time. It is counted from the client's close, or from when the
    /// call began to wait, if that is later. A call whose client has reset the connection is dropped at once.
    /// Default 1 s; `None`: as long as other calls.
    pub half_closed_wait_max: Option<Duration>,
    /// How long a pool thread stays without work. Default 10 s.
    pub pool_keep_alive: Duration,
    /// Nice value of pool threads, 0 to 19. Default 15: loop threads go first when cores are short.
    ///
    /// Handlers that sleep or wait do not suffer by it, and a thousand of them that wake together leave
    /// the shard its share; at 10 they did not. Beside a busy loop on each core, 400 clients in a handler
    /// that sleeps for 50 ms got 1.03 times the rate of a thread for each connection at nice 0; at 5 and 10
    /// likewise. What suffers is a handler that computes on a core that fast calls alone keep busy all the
    /// time: one thread at 15 gets 3.4 % of that core, at 10 it gets 10 %, and at 19 it gets 1.4 %.
    pub pool_nice: u8,
    /// Runs on each thread that may run handlers, before its first one: loop threads, spares, pool, trial
    /// and computing threads, and under [`Model::ThreadPerConnection`] connections' own threads; also on those
    /// that write files, where values of handlers may be dropped. Once on each thread. For thread locals, or to attach the thread to another runtime, an interpreter for example. What waits for the new
    /// thread waits for the hook too: keep it short. Default none.
    pub on_thread_start: ThreadHook,
    /// Runs on the same threads at their end, once on each, after their last handler. A drain waits for
    /// it within its deadline. Values that handlers have captured may be dropped later, by the thread that
    /// drains. Default none.
    pub on_thread_stop: ThreadHook,
    /// Threads for calls of routes that are not classified yet ([`Class`](crate::Class)). Default 512, or a quarter
    /// of the threads that the process may have. Few run at any time, two for each such route; the rest is for trials that turn out
    /// to hang, which keep their threads. Without a free one, trials run on pool threads.
    pub trial_threads_max: usize,
    /// Calls of [computing](crate::Class::Computing) routes that run at a time; the others wait, parked.
    /// Default `None`: one for each core this process may use; worker processes share the cores. More would take
    /// each other's caches and the memory of as many calls, and finish no sooner.
    pub computing_max: Option<usize>,
    /// Nice value of the threads that run them, 0 to 19. Default 15.
    pub computing_nice: u8,
    /// How late sleeps and time-outs in handlers on pool threads may end, beyond what they are late anyway.
    /// Default 200 us; the kernel's own is 50 us. Threads that sleep then wake several at a time, which
    /// leaves the shards more of the processor: with a thousand clients in a handler that sleeps, 15 % of
    /// all CPU time were saved, and the 99th percentile of fast requests beside them fell from 1.1 to
    /// 0.24 ms.
    pub pool_timer_slack: Duration,
    /// Threads that may run a shard, beyond one for each: one has to stand ready for each shard, and
    /// one more is tied up for each inline call that is blocking right now. Default 128. Without a
    /// spare, calls go to the pool.
    pub spare_threads_max: usize,
    /// How often the monitor looks for stalled shards. Default 5 ms.
    pub monitor_tick: Duration,
    /// How often it looks for a while after a stall. Default 50 us: on a busy core it then runs only when
    /// a handler blocks, see `monitor.rs`.
    pub monitor_tick_after_stall: Duration,
    /// A route runs inline after this many fast calls in a row. Default 32.
    pub proving_streak: u32,
    /// What a fast call is. Default 100 us.
    pub proving_limit: Duration,
    /// Connections in the kernel's queue of each listener. Default 1 024; the kernel caps it at
    /// `net.core.somaxconn`.
    pub backlog: i32,
    /// How the connections of vanished TCP peers are found; `None` switches it off. Default: probes after
    /// 15 s of silence, then every 15 s, 9 times. It is set on inherited listeners as well.
    pub tcp_keep_alive: Option<TcpKeepAlive>,
    /// How many bytes the kernel takes for a TCP peer before it has sent them (`TCP_NOTSENT_LOWAT`); `None` leaves
    /// that to the kernel. Default 96 KB: a peer that reads nothing then costs some 0.25 MB of the kernel's memory and
    /// not 3.8 MB, and large replies over loopback cost half of the CPU time (0.16 s for a gigabyte, 0.28 at 128 KB
    /// and beyond, 0.36 by the kernel's default), since what waits stays in the cache. It is set on inherited
    /// listeners as well.
    pub tcp_unsent_max: Option<u32>,
    /// Messages answered for one connection before others get their turn. Default 64.
    pub messages_per_turn: u32,
    /// While draining, a connection that has been silent this long is closed. Default 300 ms: long
    /// enough for a request that was on its way when the drain began.
    pub drain_idle: Duration,
    /// How long a connection that we closed first may go on sending; that of a stream handler, too. Default 2 s.
    pub linger: Duration,
    /// How many bytes it may send in that time. Default 256 KB.
    pub linger_bytes_max: u32,
    /// How many bytes of memory may be held only because a peer is slow: request bodies that are being received,
    /// and output that its receiver has not taken. Default: a quarter of the memory that the process may use,
    /// which is the machine's or the limit of its control group. Beyond it, the connections whose output has
    /// waited longest without progress are closed. It is that of the whole service: each of `n` worker processes
    /// gets an `n`-th.
    pub waiting_bytes_max: usize,
    /// After this time, memory of waiting bytes that is free again goes back to the system, if it is 8 MB or more:
    /// glibc's allocator keeps it otherwise. Programs with another allocator do not need it. `None` switches it
    /// off. Default 5 s.
    pub memory_release_after: Option<Duration>,
    /// How many bytes of one message's content are kept in memory while it is received, if the waiting bytes have
    /// room for them; longer content goes to a file. Default 1 MB. An HTTP body that has all come in one turn of
    /// its connection (256 KB at most) is in a buffer of the thread, and needs neither.
    pub body_memory_len_max: usize,
    /// The directory of such files. They have no names there. Default `/var/tmp`, which is on a disk on most
    /// systems; on a file system in memory (tmpfs) they count as waiting bytes.
    pub body_dir: PathBuf,
    /// How many such files there may be at once. Default: a tenth of the descriptor limit. Beyond it, messages
    /// that need one are refused (HTTP: 503).
    pub body_files_max: usize,
    /// Blocks of memory from this size on, in bytes, go back to the system as soon as they are freed. Default 4 MB;
    /// `None` leaves it to the allocator. glibc's would keep blocks up to 32 MB, and then not use them again where a
    /// smaller block has been placed in between: calls that need 19 MiB each, two at a time, held 316 MB. A block
    /// costs 1 ms more for each 4 MB. It is set once for the process, by its first engine; other allocators ignore
    /// it.
    pub large_blocks_from: Option<usize>,
    /// How many calls may run at once that wait for their peers ([`Hint::Streamed`](crate::Hint::Streamed)): HTTP's
    /// streamed bodies. The others wait, parked. Default `None`: half of [`Settings::pool_threads_max`], so that
    /// slow clients leave the other half to everybody else.
    pub streamed_max: Option<usize>,
    /// Where the engine has the time from.
    pub(crate) clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            model: Model::default(),
            shards: cores(),
            connections_max: connections_by_descriptor_limit(),
            connections_isolated: 64,
            connections_per_peer_max: None,
            pool_threads_max: pool_threads(1),
            pool_queue_max: 4096,
            queue_wait_max: Some(Duration::from_secs(10)),
            half_closed_wait_max: Some(Duration::from_secs(1)),
            pool_keep_alive: Duration::from_secs(10),
            pool_nice: 15,
            trial_threads_max: trial_threads(1),
            computing_max: None,
            computing_nice: 15,
            on_thread_start: ThreadHook::default(),
            on_thread_stop: ThreadHook::default(),
            pool_timer_slack: Duration::from_micros(200),
            spare_threads_max: 128,
            monitor_tick: Duration::from_millis(5),
            monitor_tick_after_stall: Duration::from_micros(50),
            proving_streak: 32,
            proving_limit: Duration::from_micros(100),
            backlog: 1024,
            tcp_keep_alive: Some(TcpKeepAlive::default()),
            tcp_unsent_max: Some(96 * 1024),
            messages_per_turn: 64,
            drain_idle: Duration::from_millis(300),
            linger: Duration::from_secs(2),
            linger_bytes_max: 256 * 1024,
            waiting_bytes_max: a_quarter_of_the_memory(),
            memory_release_after: Some(Duration::from_secs(5)),
            body_memory_len_max: 1 << 20,
            body_dir: PathBuf::from("/var/tmp"),
            body_files_max: (descriptors() / 10).max(1),
            large_blocks_from: Some(4 << 20),
            streamed_max: None,
            clock: Clock::System,
        }
    }
}

impl Settings {
    pub(crate) fn tcp_options(&self) -> TcpOptions {
        TcpOptions { keep_alive: self.tcp_keep_alive, unsent_max: self.tcp_unsent_max }
    }

    /// Divides the threads that the system allows, and the cores for calls that compute, among that many processes.
    /// Settings that differ from their defaults stay as they are.
    #[doc(hidden)] // for worker processes
    pub fn share_threads(&mut self, processes: usize) {
        let processes = processes.max(1);
        self.computing_max.get_or_insert_with(|| (cores() / processes).max(1));
        let processes = processes as u64;
        if self.pool_threads_max == pool_threads(1) {
            self.pool_threads_max = pool_threads(processes);
        }
        if self.trial_threads_max == trial_threads(1) {
            self.trial_threads_max = trial_threads(processes);
        }
    }

    /// [`Settings::computing_max`], or its default.
    pub(crate) fn computing_max(&self) -> usize {
        self.computing_max.unwrap_or_else(cores)
    }

    /// [`Settings::streamed_max`], or its default.
    pub(crate) fn streamed_max(&self) -> usize {
        self.streamed_max.unwrap_or(self.pool_threads_max / 2).max(1)
    }

    /// Checks that the settings make sense together.
    ///
    /// # Errors
    /// Says which setting does not, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let at_least_one = [
            ("shards", self.shards),
            ("connections_max", self.connections_max),
            ("pool_threads_max", self.pool_threads_max),
            ("trial_threads_max", self.trial_threads_max),
            ("computing_max", self.computing_max.unwrap_or(1)),
            ("streamed_max", self.streamed_max.unwrap_or(1)),
            ("proving_streak", self.proving_streak as usize),
            ("messages_per_turn", self.messages_per_turn as usize),
            ("waiting_bytes_max", self.waiting_bytes_max),
        ];
        if let Some((name, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} is 0: it must be at least 1"));
        }
        if self.shards > 1024 {
            return Err(format!("shards is {}: at most 1024 make sense", self.shards));
        }
        let nice = [("pool_nice", self.pool_nice), ("computing_nice", self.computing_nice)];
        if let Some((name, value)) = nice.into_iter().find(|(_, value)| *value > 19) {
            return Err(format!("{name} is {value}: it goes from 0 to 19"));
        }
        if self.monitor_tick.is_zero() || self.monitor_tick_after_stall.is_zero() {
            return Err("monitor_tick and monitor_tick_after_stall must be longer than 0".into());
        }
        if self.tcp_unsent_max == Some(0) {
            return Err("tcp_unsent_max is 0: it must be at least 1, or None".into());
        }
        self.tcp_keep_alive.map_or(Ok(()), |keep_alive| keep_alive.check())
    }
}

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// 80 % of `RLIMIT_NOFILE`.
fn connections_by_descriptor_limit() -> usize {
    (descriptors() * 4 / 5).max(1)
}

/// `RLIMIT_NOFILE`.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // No limit at all: bounded by what fits a connection's number comfortably.
    limit.current.map_or(1 << 20, |limit| limit.min(1 << 20) as usize)
}

/// The default of [`Settings::pool_threads_max`] for each of that many processes.
fn pool_threads(processes: u64) -> usize {
    threads_within(1024, system_threads(), 2 * processes)
}

/// The default of [`Settings::trial_threads_max`], likewise.
fn trial_threads(processes: u64) -> usize {
    threads_within(512, system_threads(), 4 * processes)
}

/// How many threads the system allows. Read once, as the memory.
fn system_threads() -> u64 {
    static THREADS: OnceLock<u64> = OnceLock::new();
    *THREADS.get_or_init(threads_max)
}

/// The wanted number of threads, or the given fraction of the number that the system allows if that is less; at
/// least one.
fn threads_within(wanted: usize, allowed: u64, fraction: u64) -> usize {
    let within = allowed / fraction;
    usize::try_from(within).map_or(wanted, |within| wanted.min(within)).max(1)
}

/// For [`Settings::waiting_bytes_max`].
fn a_quarter_of_the_memory() -> usize {
    // Read once: a program may make settings often, and the answer is the same.
    static MEMORY: OnceLock<u64> = OnceLock::new();
    usize::try_from(MEMORY.get_or_init(memory_max) / 4).unwrap_or(usize::MAX)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_consistent() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn the_system_bounds_the_default_number_of_threads() {
        assert_eq!(threads_within(1024, u64::MAX, 2), 1024);
        assert_eq!(threads_within(1024, 100, 2), 50);
        assert_eq!(threads_within(1024, 1, 4), 1);
        let mut settings = Settings { trial_threads_max: 7, ..Settings::default() };
        settings.share_threads(usize::MAX / 8);
        assert_eq!((settings.pool_threads_max, settings.trial_threads_max), (1, 7));
    }

    #[test]
    fn processes_share_the_cores_for_computing_unless_told_otherwise() {
        let mut settings = Settings::default();
        assert_eq!(settings.computing_max(), cores());
        settings.share_threads(usize::MAX / 8);
        assert_eq!(settings.computing_max(), 1);
        // What was chosen stays, even if it is what one process would have by default.
        let mut settings = Settings { computing_max: Some(cores()), ..Settings::default() };
        settings.share_threads(usize::MAX / 8);
        assert_eq!(settings.computing_max(), cores());
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let settings = Settings { shards: 0, ..Settings::default() };
        assert!(settings.check().is_err_and(|message| message.starts_with("shards is 0")));
        let settings = Settings { pool_nice: 20, ..Settings::default() };
        assert!(settings.check().is_err_and(|message| message.contains("0 to 19")));
        let settings = Settings { computing_nice: 20, ..Settings::default() };
        assert!(settings.check().is_err_and(|message| message.starts_with("computing_nice is 20")));
        let settings = Settings { computing_max: Some(0), ..Settings::default() };
        assert!(settings.check().is_err_and(|message| message.starts_with("computing_max is 0")));
    }
}
