//! Counts a shard's inline calls and their stalls: when too many of a route's calls stall, it is demoted.

use std::sync::atomic::Ordering;

use super::Route;

/// What one shard has seen of its inline calls. Belongs to the lease holder: plain numbers, so that
/// counting costs the hot path nothing.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    routes: Vec<Counts>,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    /// Of which route: its number may have belonged to another.
    pub(super) serial: u64,
    pub(super) calls: u32,
    pub(super) stalls: u32,
}

/// Counts are halved beyond this, so that old calls do not excuse new stalls for ever.
pub(super) const WINDOW: u32 = 1 << 12;
/// Calls that a route has to its credit at first: two stalls in a row do not demote it, three do.
const CREDIT: u32 = 8;

impl Tally {
    /// An inline call of the route begins.
    pub(crate) fn count(&mut self, route: &Route) {
        let counts = self.counts(route);
        counts.calls += 1;
        if counts.calls >= WINDOW {
            counts.calls /= 2;
            counts.stalls /= 2;
        }
    }

    /// The shard was taken over during a call of the route, or a sample was slow.
    pub(crate) fn stalled(&mut self, route: &Route, streak: u32) {
        route.stalls.fetch_add(1, Ordering::Relaxed);
        let counts = self.counts(route);
        counts.stalls += 1;
        if counts.stalls * 5 > counts.calls + CREDIT {
            (counts.calls, counts.stalls) = (0, 0);
            route.demote(streak);
        }
    }

    pub(super) fn counts(&mut self, route: &Route) -> &mut Counts {
        let number = route.number as usize;
        if number >= self.routes.len() {
            self.grow(number + 1);
        }
        let counts = &mut self.routes[number];
        if counts.serial != route.serial {
            *counts = Counts { serial: route.serial, ..Counts::default() };
        }
        counts
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        self.routes.resize(len, Counts::default());
    }
}
