//! The places where user code runs, and what entering and leaving each costs.

use std::time::Instant;

use super::{Core, Shard};
use crate::connection::Connection;
use crate::lease::{Lease, Loan};
use crate::model::Model;
use crate::route::{Route, Trial};
use crate::turn::{Place, Waiting};

/// On a shard's thread.
pub(super) struct OnShard<'s> {
    shard: &'s Shard,
    /// The lease, while user code does not run and the shard is not lost.
    pub(super) lease: Option<Lease<'s, Core>>,
    loan: Option<Loan<'s, Core>>,
    timed: Option<Instant>,
}

impl std::fmt::Debug for OnShard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnShard").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl<'s> OnShard<'s> {
    pub(super) fn new(shard: &'s Shard, lease: Lease<'s, Core>) -> Self {
        OnShard { shard, lease: Some(lease), loan: None, timed: None }
    }

    /// The end of a call that is timed.
    #[cold]
    fn end_sample(&mut self, route: &Route) {
        let Some(began) = self.timed.take() else { return };
        // A taken shard has been tallied by its taker.
        let Some(lease) = self.lease.as_mut() else { return };
        let settings = &self.shard.shared.settings;
        let slow = began.elapsed() >= settings.proving_limit;
        if slow {
            lease.sampler.stalled(route, settings.proving_streak);
        }
        lease.sampler.end_sample(slow);
    }
}

/// Two reads of the clock are not worth their room on the way of the calls that are not timed.
#[cold]
fn now() -> Instant {
    Instant::now()
}

impl Place for OnShard<'_> {
    fn enter(&mut self, route: &Route) -> bool {
        let Some(lease) = self.lease.as_mut() else { return false };
        match self.shard.model {
            Model::Adaptive => {
                if !route.is_proven() {
                    return false;
                }
                if !self.shard.is_backed() {
                    self.shard.home.counters.calls_without_spare.increment();
                    return false;
                }
            }
            // Never handed off, so not lent either.
            Model::EventLoop => {
                self.shard.home.counters.calls_inline.increment_alone();
                return true;
            }
            Model::Pool | Model::ThreadPerConnection => return false,
        }
        self.shard.home.counters.calls_inline.increment_alone();
        if lease.sampler.count(route) {
            self.timed = Some(now());
        }
        self.shard.calling(Some(route));
        self.loan = self.lease.take().map(Lease::lend);
        true
    }

    fn leave(&mut self, route: &Route) {
        let Some(loan) = self.loan.take() else {
            // The event loop model: the call may have taken long, and deadlines begin behind it.
            if let Some(lease) = &mut self.lease {
                lease.agenda.set_now(self.shard.home.clock.ticks());
            }
            return;
        };
        self.lease = loan.take_back();
        if self.timed.is_some() {
            self.end_sample(route);
        }
    }

    fn lend(&mut self) {
        if self.shard.model == Model::Adaptive && self.shard.is_backed() {
            self.shard.calling(None);
            self.loan = self.lease.take().map(Lease::lend);
        }
    }

    fn take_back(&mut self) {
        if let Some(loan) = self.loan.take() {
            self.lease = loan.take_back();
        }
    }

    fn waiting(&self) -> Waiting {
        match self.shard.model {
            Model::EventLoop => Waiting::Nowhere,
            _ => Waiting::Elsewhere,
        }
    }

    fn lost(&self) -> bool {
        self.lease.is_none()
    }
}

/// On a pool thread: calls are timed, so that routes can prove themselves.
#[derive(Debug)]
pub(super) struct OnPool<'s> {
    shard: &'s Shard,
    trial: Option<Trial>,
    /// A call was of a proven route, and would have been better off on the shard's thread.
    pub(super) met_proven: bool,
}

impl<'s> OnPool<'s> {
    pub(super) fn new(shard: &'s Shard) -> Self {
        OnPool { shard, trial: None, met_proven: false }
    }
}

impl Place for OnPool<'_> {
    fn enter(&mut self, route: &Route) -> bool {
        self.shard.home.counters.calls_pooled.increment();
        if self.shard.model == Model::Adaptive {
            self.met_proven |= route.is_proven();
            self.trial = Some(Trial::begin(route));
        }
        true
    }

    fn leave(&mut self, route: &Route) {
        let settings = &self.shard.shared.settings;
        if let Some(trial) = self.trial.take() {
            trial.end(route, settings.proving_limit, settings.proving_streak);
        }
    }
}

/// On a connection's own thread.
#[derive(Debug)]
pub(super) struct OnOwnThread<'s> {
    shard: &'s Shard,
    connection: &'s Connection,
}

impl<'s> OnOwnThread<'s> {
    pub(super) fn new(shard: &'s Shard, connection: &'s Connection) -> Self {
        OnOwnThread { shard, connection }
    }
}

impl Place for OnOwnThread<'_> {
    fn enter(&mut self, _route: &Route) -> bool {
        if !self.connection.rest.end() {
            return false;
        }
        self.shard.home.counters.calls_pooled.increment();
        true
    }

    fn leave(&mut self, _route: &Route) {}
}
