//! The jobs of one scope, each in a cell that is emptied once: by a thread of the pool, or by the scope's
//! owner, which revokes what no thread has begun.
//!
//! `mod.rs` fills the cells and submits for each a job that knows its number only; whatever becomes of
//! that one, the cell's job is run. `README.md` beside this file has the protocol.

use std::collections::BTreeMap;
use std::fmt;

use crate::contained::{self, Payload};
use crate::primitive::{Condvar, Mutex, lock};
use crate::queue::Position;
use crate::sync::patience::Patience;

/// A job whose lifetime is forgotten. Must be run, which drops it too, before its scope ends.
pub(super) type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Cells {
    state: Mutex<State>,
    /// Rung when an owner that waits should look again.
    changed: Condvar,
}

struct State {
    /// Cells that are full, by number: the oldest job first.
    full: BTreeMap<u64, Cell>,
    next_number: u64,
    /// Jobs that threads of the pool run at this moment.
    running: usize,
    owner: Owner,
    /// What the first panic threw.
    panic: Option<Payload>,
}

struct Cell {
    job: Job,
    /// Where the pool's job for it waits, as soon as that is known.
    position: Option<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Awake,
    Waits,
}

impl Cells {
    pub(super) fn new() -> Self {
        let state = State {
            full: BTreeMap::new(),
            next_number: 0,
            running: 0,
            owner: Owner::Awake,
            panic: None,
        };
        Cells { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Puts a job in a cell, and gives the cell's number.
    pub(super) fn fill(&self, job: Job) -> u64 {
        let mut state = lock(&self.state);
        let number = state.next_number;
        state.next_number += 1;
        state.full.insert(number, Cell { job, position: None });
        let owner = state.owner;
        drop(state);
        // It may be the only thread that is free to run it.
        if owner == Owner::Waits {
            self.changed.notify_one();
        }
        number
    }

    /// The pool's job for this cell waits at `position`. False if the cell is empty already.
    pub(super) fn note(&self, number: u64, position: Position) -> bool {
        let mut state = lock(&self.state);
        let cell = state.full.get_mut(&number).map(|cell| cell.position = Some(position));
        cell.is_some()
    }

    /// On a thread of the pool: runs the cell's job, unless the owner has revoked it.
    pub(super) fn run(&self, number: u64) {
        let mut state = lock(&self.state);
        let Some(Cell { job, .. }) = state.full.remove(&number) else { return };
        state.running += 1;
        drop(state);
        // When this returns, all that the job captured has been dropped.
        let result = contained::catch(job);
        let mut state = lock(&self.state);
        let surplus = state.keep(result.err());
        state.running -= 1;
        let owner = state.owner;
        drop(state);
        if owner == Owner::Waits {
            self.changed.notify_one();
        }
        drop(surplus);
    }

    /// By the owner, when its own function has ended, perhaps with a panic: runs the jobs that no thread
    /// has begun, and waits for those that one has. Gives what the first panic threw.
    ///
    /// `run` runs a job, and never unwinds. Afterwards all cells are empty and no job runs.
    pub(super) fn finish(
        &self,
        panic: Option<Payload>,
        run: impl Fn(Job, Option<Position>) -> Option<Payload>,
    ) -> Option<Payload> {
        // What is given back by `keep` is dropped here, without the lock.
        drop(self.keep(panic));
        while let Some(Cell { job, position }) = self.next_cell() {
            drop(self.keep(run(job, position)));
        }
        lock(&self.state).panic.take()
    }

    /// The oldest cell that is full; waits for one as long as jobs run, which may fill others.
    fn next_cell(&self) -> Option<Cell> {
        let mut patience = Patience::endless();
        let mut state = lock(&self.state);
        loop {
            if let Some((_, cell)) = state.full.pop_first() {
                return Some(cell);
            }
            if state.running == 0 {
                return None;
            }
            state.owner = Owner::Waits;
            (state, _) = patience.sleep(&self.state, &self.changed, state);
            state.owner = Owner::Awake;
        }
    }

    fn keep(&self, panic: Option<Payload>) -> Option<Payload> {
        lock(&self.state).keep(panic)
    }
}

impl State {
    /// Keeps the first panic and gives back any other, to be dropped without the lock.
    fn keep(&mut self, panic: Option<Payload>) -> Option<Payload> {
        if self.panic.is_some() {
            return panic;
        }
        self.panic = panic;
        None
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Cells")
            .field("waiting", &state.full.len())
            .field("running", &state.running)
            .finish()
    }
}
