//! Timers: one wheel per shard, checked when the loop turns anyway.
//!
//! A non-cascading wheel (Varghese & Lauck 1987, scheme 7, without moving entries between levels,
//! as in the Linux kernel since 4.8): each level is eight times as coarse as the one below, and an
//! entry fires late by up to one slot of its level, at most 1/8 of its delay. For time-outs that is
//! what is wanted, and thousands of idle connections then share a few wake-ups.
//! nginx's red-black tree is exact and costs O(log n) whenever a deadline moves.
//!
//! Entries are never removed. Whoever is called looks whether its deadline has really come, and if
//! it moved, goes back in: a connection that is in use re-enters once a timeout, not once a request.

use crate::sys::Ticks;

const SLOTS: u32 = 64;
const LEVEL_SHIFT: u32 = 3;
const LEVELS: usize = 8;

/// Delayed entries, by when they are due.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// Everything up to this tick has fired.
    now: Ticks,
    levels: [Level<T>; LEVELS],
    /// When the next entry fires; kept so that a turn of the loop need not search for it.
    next: Option<Ticks>,
}

#[derive(Debug)]
struct Level<T> {
    /// Bit n is set while slot n holds entries.
    occupied: u64,
    slots: Vec<Vec<T>>,
}

impl<T> Wheel<T> {
    pub(crate) fn new(now: Ticks) -> Self {
        let level = || Level { occupied: 0, slots: (0..SLOTS).map(|_| Vec::new()).collect() };
        Wheel { now, levels: std::array::from_fn(|_| level()), next: None }
    }

    /// Adds an entry that fires at `at` or a little later, never earlier.
    pub(crate) fn insert(&mut self, at: Ticks, entry: T) {
        let delay = at.saturating_sub(self.now).max(1);
        // The first level that reaches that far, rounding included; the last takes all beyond.
        let reach = |level: usize| (SLOTS - 2) << (LEVEL_SHIFT * level as u32);
        let level = (0..LEVELS - 1).find(|&level| delay <= reach(level)).unwrap_or(LEVELS - 1);
        let shift = LEVEL_SHIFT * level as u32;
        let at = self.now + delay.min(reach(level));
        let slot = ((at + (1 << shift) - 1) >> shift) % SLOTS;
        let level = &mut self.levels[level];
        level.occupied |= 1 << slot;
        level.slots[slot as usize].push(entry);
        self.next = self.search();
    }

    /// When the next entry fires, if there is any.
    pub(crate) fn next_due(&self) -> Option<Ticks> {
        self.next
    }

    /// Tells the wheel the time, unless an entry is due: delays are counted from there, and the finer
    /// the level, the more punctual the entry.
    pub(crate) fn catch_up(&mut self, now: Ticks) {
        if now > self.now && self.next.is_none_or(|due| due > now) {
            self.now = now;
        }
    }

    fn search(&self) -> Option<Ticks> {
        let due = |(level, Level { occupied, .. }): (usize, &Level<T>)| {
            let shift = LEVEL_SHIFT * level as u32;
            let position = self.now >> shift;
            // Rotated so that bit 0 is the slot after the current one.
            let ahead = occupied.rotate_right((position + 1) % SLOTS);
            (ahead != 0).then(|| (position + 1 + ahead.trailing_zeros()) << shift)
        };
        self.levels.iter().enumerate().filter_map(due).min()
    }

    /// Moves time on and takes out every entry that is due.
    pub(crate) fn advance(&mut self, now: Ticks, fired: &mut Vec<T>) {
        while let Some(due) = self.next.filter(|&due| due <= now) {
            self.now = due;
            for (level, Level { occupied, slots }) in self.levels.iter_mut().enumerate() {
                let shift = LEVEL_SHIFT * level as u32;
                let slot = (due >> shift) % SLOTS;
                // A slot of this level ends here only if the tick is a multiple of its size.
                if due % (1 << shift) == 0 && *occupied & (1 << slot) != 0 {
                    *occupied &= !(1 << slot);
                    // Taken whole: a slot keeps no capacity between crowds.
                    fired.append(&mut std::mem::take(&mut slots[slot as usize]));
                }
            }
            self.next = self.search();
        }
        self.now = self.now.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired_at(delay: Ticks, start: Ticks) -> Ticks {
        let mut wheel = Wheel::new(start);
        wheel.insert(start + delay, ());
        let mut fired = Vec::new();
        let due = wheel.next_due().expect("one entry waits");
        wheel.advance(due - 1, &mut fired);
        assert!(fired.is_empty(), "fired before it was announced");
        wheel.advance(due, &mut fired);
        assert_eq!(fired.len(), 1);
        assert_eq!(wheel.next_due(), None);
        due
    }

    #[test]
    fn an_entry_fires_once_never_early_and_at_most_an_eighth_late() {
        for start in [0, 1, 63, 64, 1_000_003] {
            for delay in (1..2_000).chain([4_464, 40_000, 400_000, 3_000_000]) {
                let late = fired_at(delay, start) - (start + delay);
                assert!(late <= delay / 7 + 1, "delay {delay} from {start} fired {late} late");
            }
        }
    }

    #[test]
    fn a_delay_beyond_the_last_level_fires_early_enough_to_be_put_back() {
        let mut wheel = Wheel::new(7);
        wheel.insert(1 << 30, ());
        assert!(wheel.next_due().expect("one entry waits") > 100_000_000);
    }

    #[test]
    fn entries_of_every_level_fire_when_time_jumps() {
        let mut wheel = Wheel::new(5);
        let delays = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
        for delay in delays {
            wheel.insert(5 + delay, delay);
        }
        let mut fired = Vec::new();
        wheel.advance(5 + 2_000_000, &mut fired);
        assert_eq!(fired, delays);
    }

    #[test]
    fn a_wheel_that_was_told_the_time_is_punctual_after_a_long_rest() {
        let mut wheel = Wheel::new(0);
        wheel.insert(5_000, 'a');
        wheel.catch_up(4_000);
        wheel.insert(4_003, 'b');
        assert_eq!(wheel.next_due(), Some(4_003));
        // But it never passes over an entry.
        wheel.catch_up(10_000);
        let mut fired = Vec::new();
        wheel.advance(10_000, &mut fired);
        assert_eq!(fired, ['b', 'a']);
    }

    #[test]
    fn an_entry_for_the_past_fires_at_the_next_tick() {
        let mut wheel = Wheel::new(100);
        wheel.insert(3, ());
        assert_eq!(wheel.next_due(), Some(101));
    }
}
