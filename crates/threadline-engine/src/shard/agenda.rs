//! When a shard has to look at something without an event: its timer wheel, its alarm, and its time.
//!
//! The alarm ends the shard's wait. It is set for the wheel's next entry only where that is earlier than what
//! it is set to, so that most turns of the loop do not touch it. What is due is served after the batch.

use std::io;

use super::Key;
use crate::log::limited;
use crate::sys::{Alarm, Clock, Ticks};
use crate::wheel::Wheel;

pub(super) struct Agenda {
    wheel: Wheel<Key>,
    alarm: Alarm,
    /// When the alarm is set to go off.
    armed: Option<Ticks>,
    /// It has gone off. Deadlines are looked at behind the batch, in which their connections may have input.
    due: bool,
    /// The time, as of the last wait.
    now: Ticks,
}

impl Agenda {
    pub(super) fn new(clock: Clock) -> io::Result<Self> {
        let now = clock.ticks();
        let alarm = Alarm::new(clock)?;
        Ok(Agenda { wheel: Wheel::new(now), alarm, armed: None, due: false, now })
    }

    /// The alarm, which epoll reports under [`Key::Alarm`].
    pub(super) fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    /// The time, as of the last wait or call.
    pub(super) fn now(&self) -> Ticks {
        self.now
    }

    /// Something has taken long: it is later than the last wait says.
    pub(super) fn set_now(&mut self, now: Ticks) {
        self.now = now;
    }

    /// A wait is over, and it is `now`.
    pub(super) fn wake_up(&mut self, now: Ticks) {
        self.now = now;
        self.wheel.catch_up(now);
    }

    /// Looks at `key` at that time or a little later.
    pub(super) fn insert(&mut self, at: Ticks, key: Key) {
        self.wheel.insert(at, key);
    }

    /// Looks at `key` after that time or a little later.
    pub(super) fn insert_after(&mut self, delay: Ticks, key: Key) {
        self.wheel.insert(self.now + delay, key);
    }

    /// Sets the alarm for the wheel's next entry, if that is earlier than what it is set to.
    pub(super) fn set_alarm(&mut self) {
        let Some(due) = self.wheel.next_due() else { return };
        if self.armed.is_none_or(|armed| due < armed) {
            match self.alarm.set(due) {
                Ok(()) => self.armed = Some(due),
                Err(error) => {
                    limited!(error, "cannot set a timer", %error);
                }
            }
        }
    }

    /// The alarm has gone off.
    pub(super) fn went_off(&mut self) {
        self.alarm.hush();
        self.armed = None;
        self.due = true;
    }

    /// Whether the alarm has gone off since this was asked last.
    pub(super) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.due)
    }

    /// Moves what is due `now` into `fired`.
    pub(super) fn fire(&mut self, now: Ticks, fired: &mut Vec<Key>) {
        self.now = now;
        self.wheel.advance(now, fired);
    }
}
