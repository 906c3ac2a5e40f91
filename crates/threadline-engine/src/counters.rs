//! What the engine counts. Every limit and every unusual turn has its number.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of one shard, as they are written.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// What the engine has counted since it started.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Adds these counters to a sum.
            pub(crate) fn add_to(&self, sum: &mut Counts) {
                $(sum.$name += self.$name.get();)*
            }
        }

        impl Counts {
            /// Each counter's name and value, for an exporter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Connections ended, for whatever reason.
    closed,
    /// Calls of user code on a shard's own thread.
    calls_inline,
    /// Calls of user code on a thread off the shards: of the pool, for trials, for computing, or a
    /// connection's own.
    calls_pooled,
    /// Calls, among those, that ran because their route was not classified yet.
    calls_tried,
    /// Calls that waited at a gate, parked: for trials of their route, for a core to compute, or to be streamed;
    /// and replies that waited for other sources of their route.
    calls_parked,
    /// Connections that were passed to the pool unread, because their messages kept going there.
    passed_unread,
    /// Shards taken over by another thread because a handler stalled.
    handoffs,
    /// Inline calls sent to the pool because no spare thread stood ready.
    calls_without_spare,
    /// Messages and datagrams refused because as many calls as may were waiting, in the pool's queue and at gates.
    refused_overload,
    /// Calls, datagrams, stream handlers and opening hooks that waited for a thread for longer than
    /// [`Settings::queue_wait_max`](crate::Settings::queue_wait_max), and were refused or dropped.
    timeouts_queue,
    /// Calls, stream handlers, hooks and replies of deferred calls that were dropped while they waited for a
    /// thread, because their client had gone.
    abandoned_calls,
    /// Connections refused because their peer had too many.
    refused_per_peer,
    /// Idle connections closed to make room for new ones.
    evicted,
    /// Times that accepting paused because the connection limit was reached.
    paused_at_limit,
    /// Times that accepting paused because descriptors or memory ran out.
    paused_out_of_resources,
    /// Connections that failed before they were accepted (`ECONNABORTED` and the like).
    accept_errors,
    /// Messages whose start took longer than `Timeouts::head`.
    timeouts_head,
    /// Messages whose rest took longer than `Timeouts::body`, or came too slowly.
    timeouts_body,
    /// Messages whose content went to a file while it was received.
    bodies_in_files,
    /// Messages refused because there were `Settings::body_files_max` files, or the waiting bytes had no room.
    refused_body_files,
    /// Messages ended because too many bytes waited, and theirs came most slowly.
    bodies_over_budget,
    /// Messages refused because their content could not be written to `Settings::body_dir`.
    body_file_errors,
    /// Connections closed after `Timeouts::idle`.
    timeouts_idle,
    /// Connections closed because output waited and the peer took no byte of it for `Timeouts::write`, or took a
    /// reply more slowly than `Timeouts::reply_rate`, or because of a stream handler's write timeout.
    timeouts_write,
    /// Connections closed because more bytes waited for slow peers than `Settings::waiting_bytes_max`.
    closed_over_budget,
    /// Times that free memory was returned to the system.
    memory_releases,
    /// Calls whose replies were to come later.
    calls_deferred,
    /// Calls that were deferred and had no answer within `Timeouts::deferred`.
    timeouts_deferred,
    /// Calls that were deferred and then dropped without an answer.
    deferred_dropped,
    /// Connections whose peer stopped answering: TCP keep-alive or retransmissions gave up (`ETIMEDOUT`).
    vanished,
    /// Connections closed on our side whose peer stayed for longer, or went on sending more, than lingering
    /// allows.
    lingered_too_long,
    /// Messages that broke the rules of their protocol.
    malformed,
    /// Messages whose head was larger than allowed, or had too many fields (HTTP: 431).
    too_large_heads,
    /// Requests whose target was longer than allowed (HTTP: 414).
    too_long_targets,
    /// Messages whose body was larger than allowed (HTTP: 413).
    too_large_bodies,
    /// Lines and frames that were longer than allowed.
    too_long_messages,
    /// Reads of stream handlers that timed out.
    timeouts_stream,
    /// Pushed messages that were dropped because their receiver was slow.
    pushes_dropped,
    /// Connections closed because they were slow to receive what was pushed.
    slow_receivers_closed,
    /// Turns that ended early so that other connections got theirs.
    yields,
    /// Threads that could not be started.
    spawn_failures,
    /// Panics of [`Settings::on_thread_start`](crate::Settings::on_thread_start) and `on_thread_stop`.
    thread_hook_panics,
    /// Panics of the engine itself, each a bug; the shard went on.
    engine_panics,
    /// Connections that a drain's deadline cut off in the middle of a message, a call or a reply.
    aborted,
    /// Datagrams received.
    datagrams,
    /// Datagrams dropped: too large, no room in the queue of the pool, too long a wait there, or the reply could not
    /// be sent.
    datagrams_dropped,
    /// Log lines of the process that could not be written; see [`log::lost_lines`](crate::log::lost_lines).
    log_lines_lost,
    /// Log lines of the process that were left out because there were too many like them; see
    /// [`limited!`](crate::limited).
    log_lines_suppressed,
}

impl Counters {
    /// Counts the end of a connection by this error, if it means that the peer has vanished.
    #[cold]
    pub(crate) fn count_vanished(&self, error: &io::Error) {
        if error.raw_os_error() == Some(Errno::TIMEDOUT.raw_os_error()) {
            self.vanished.increment();
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts one more, from any thread.
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one more on the hot path, where only the lease holder writes this counter: no
    /// read-modify-write needed.
    pub(crate) fn increment_alone(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
