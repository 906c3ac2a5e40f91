//! What a thread needs to serve connections, on a shard or on the pool.
//!
//! Buffers belong to threads: neither shards nor parked connections hold any.

use super::{Key, Sampler};
use crate::inbox::Note;
use crate::route::NO_ROUTE;
use crate::sys::EventBuffer;

/// Events taken from the kernel at once. More would only make the last of them older.
pub(super) const BATCH: usize = 256;

/// A loop thread's input buffer: one read takes this much at most.
const INPUT_BUFFER: usize = 64 * 1024;

/// A buffer for the content of messages that has become larger than this is given back: what fits a turn can be
/// received without an allocation. Pool threads, which may be many, keep half.
const BODY_KEPT: usize = 256 * 1024;

/// What a thread needs to serve connections. Belongs to the thread: neither shards nor parked
/// connections hold buffers.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) input: Box<[u8]>,
    pub(super) output: Vec<u8>,
    /// For the content of messages, all of it initialised. Empty until the first one is received.
    pub(super) body: Vec<u8>,
    /// How large `body` may be and be kept.
    pub(super) body_kept: usize,
    pub(super) events: EventBuffer,
    pub(super) notes: Vec<Note>,
    pub(super) fired: Vec<Key>,
    /// Of a pool thread under [`Model::Pool`](crate::Model::Pool): what it has seen of pipelined calls.
    pub(super) sampler: Sampler,
    /// With `Pause::Offload`: the number of the route whose call must not run on this thread. `NO_ROUTE` if the
    /// protocol needs another thread before it knows the route.
    pub(super) refused: u32,
}

impl Desk {
    /// For a loop thread.
    pub(super) fn new() -> Self {
        Desk::with(INPUT_BUFFER, BATCH, BODY_KEPT)
    }

    /// For a pool thread: it hardly reads, and there are many.
    fn for_pool() -> Self {
        Desk::with(INPUT_BUFFER / 16, 0, BODY_KEPT / 2)
    }

    fn with(input: usize, events: usize, body_kept: usize) -> Self {
        Desk {
            input: vec![0; input].into(),
            output: Vec::new(),
            body: Vec::new(),
            body_kept,
            events: EventBuffer::new(events),
            notes: Vec::new(),
            fired: Vec::new(),
            sampler: Sampler::default(),
            refused: NO_ROUTE,
        }
    }
}

/// Runs `work` with the calling pool thread's own buffers.
pub(super) fn with_pool_desk<R>(work: impl FnOnce(&mut Desk) -> R) -> R {
    use std::cell::RefCell;
    thread_local! {
        static DESK: RefCell<Desk> = RefCell::new(Desk::for_pool());
    }
    DESK.with_borrow_mut(work)
}
