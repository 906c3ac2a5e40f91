//! Who waits for room in the queue: blocked submitters, first come first called.
//!
//! The mirror image of the roster: there threads wait for jobs, here jobs (in the hands of their
//! submitters) wait for threads. The same ration holds: at most one submitter is under way at a
//! time, and it calls the next if there is room still. No locks here; the core calls each step
//! under the pool's lock. `README.md` beside this file has the protocol.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::sleeper::Sleeper;

/// Which end of the lobby a submitter waits at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It just came.
    Back,
    /// It was called and found the room taken by somebody who had not waited.
    Front,
}

#[derive(Default)]
pub(crate) struct Lobby {
    /// Submitters that sleep. None of them was called.
    waiting: VecDeque<Arc<Sleeper>>,
    /// One was called and has not looked yet.
    under_way: bool,
}

impl Lobby {
    pub(crate) fn enter(&mut self, sleeper: &Arc<Sleeper>, place: Place) {
        match place {
            Place::Back => self.waiting.push_back(Arc::clone(sleeper)),
            Place::Front => self.waiting.push_front(Arc::clone(sleeper)),
        }
    }

    /// There is room: the submitter to be woken, or `None` while one is under way, who will call
    /// the next.
    #[must_use = "whoever was called must be woken, or it sleeps beside a queue with room"]
    pub(crate) fn call(&mut self) -> Option<Arc<Sleeper>> {
        if self.under_way {
            return None;
        }
        let sleeper = self.waiting.pop_front()?;
        sleeper.call();
        self.under_way = true;
        Some(sleeper)
    }

    /// The one under way looks.
    pub(crate) fn arrive(&mut self) {
        self.under_way = false;
    }

    /// One that was not called goes away: its time is up.
    pub(crate) fn leave(&mut self, sleeper: &Arc<Sleeper>) {
        if let Some(at) = self.waiting.iter().position(|waiting| Arc::ptr_eq(waiting, sleeper)) {
            self.waiting.remove(at);
        }
    }

    /// Hands over all that sleep, for the pool is closing. They were not called: they find out.
    pub(crate) fn dismiss(&mut self) -> VecDeque<Arc<Sleeper>> {
        std::mem::take(&mut self.waiting)
    }

    /// Whether nobody sleeps here: one load, as it is asked after each job.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The invariant of `README.md`.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self, has_room: bool) {
        assert!(
            !has_room || self.under_way || self.waiting.is_empty(),
            "there is room, a submitter waits for it, and none is under way"
        );
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn lobby_of(count: usize) -> (Lobby, Vec<Arc<Sleeper>>) {
        let mut lobby = Lobby::default();
        let sleepers: Vec<_> = (0..count).map(|_| Sleeper::new()).collect();
        sleepers.iter().for_each(|sleeper| lobby.enter(sleeper, Place::Back));
        (lobby, sleepers)
    }

    fn called(lobby: &mut Lobby, expected: &Arc<Sleeper>) -> bool {
        lobby.call().is_some_and(|sleeper| Arc::ptr_eq(&sleeper, expected)) && expected.take_call()
    }

    #[test]
    fn the_first_to_come_is_called_first_and_one_at_a_time() {
        let (mut lobby, sleepers) = lobby_of(3);
        for sleeper in &sleepers {
            assert!(called(&mut lobby, sleeper));
            assert!(lobby.call().is_none(), "one is under way");
            lobby.arrive();
        }
        assert!(lobby.call().is_none() && lobby.is_empty());
    }

    #[test]
    fn one_that_was_called_in_vain_does_not_lose_its_place() {
        let (mut lobby, sleepers) = lobby_of(2);
        assert!(called(&mut lobby, &sleepers[0]));
        lobby.arrive();
        lobby.enter(&sleepers[0], Place::Front);
        assert!(called(&mut lobby, &sleepers[0]));
    }

    #[test]
    fn one_that_left_is_not_called() {
        let (mut lobby, sleepers) = lobby_of(3);
        lobby.leave(&sleepers[0]);
        assert_eq!(lobby.len(), 2);
        assert!(called(&mut lobby, &sleepers[1]));
        assert_eq!(lobby.dismiss().len(), 1);
    }

    #[test]
    #[should_panic(expected = "a submitter waits for it")]
    fn room_beside_a_sleeping_submitter_is_noticed() {
        lobby_of(1).0.check(true);
    }
}
