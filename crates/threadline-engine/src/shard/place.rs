//! The places where user code runs, and what entering and leaving each costs.

use std::time::Instant;

use super::{Core, Sampler, Shard};
use crate::connection::Connection;
use crate::lease::{Lease, Loan};
use crate::model::Model;
use crate::route::{Hint, Route, Trial};
use crate::settings::Settings;
use crate::transport::PART;
use crate::turn::{Entry, Place, Waiting};

/// The clock of a call that is timed.
#[derive(Debug)]
enum Timing {
    /// Its route is to be proven.
    Trial(Trial),
    /// Its route is proven, and this call is a sample.
    Sample(Instant),
}

impl Timing {
    /// Whether a call is timed that runs on this thread whether its route is proven or not: under all models but
    /// `Adaptive`. There the proof decides one thing only, whether the replies before a call wait for it. So calls
    /// of proven routes are not looked at unless replies wait.
    #[inline(always)]
    fn is_wanted(route: &Route, unsent_len: usize, sampler: &mut Sampler) -> bool {
        !route.is_proven() || (unsent_len > 0 && sampler.is_due())
    }

    /// Such a call begins.
    #[cold]
    fn begin(route: &Route, sampler: &mut Sampler) -> Option<Self> {
        if route.is_proven() {
            sampler.count_sample(route);
            Some(Timing::Sample(now()))
        } else if route.hint() != Hint::Blocking {
            Some(Timing::Trial(Trial::begin(route)))
        } else {
            None
        }
    }

    #[cold]
    fn end(self, route: &Route, sampler: &mut Sampler, settings: &Settings) {
        match self {
            Timing::Trial(trial) => {
                trial.end(route, settings.proving_limit, settings.proving_streak);
            }
            Timing::Sample(began) => {
                let slow = began.elapsed() >= settings.proving_limit;
                if slow {
                    sampler.stalled(route, settings.proving_streak);
                }
                sampler.end_sample(slow);
            }
        }
    }
}

/// Replies that wait are sent before the call of a route that is not proven.
#[inline(always)]
fn must_send_first(route: &Route, unsent_len: usize) -> bool {
    unsent_len > 0 && !route.is_proven()
}

/// On a shard's thread.
pub(super) struct OnShard<'s> {
    shard: &'s Shard,
    /// The lease, while user code does not run and the shard is not lost.
    pub(super) lease: Option<Lease<'s, Core>>,
    loan: Option<Loan<'s, Core>>,
    timing: Option<Timing>,
}

impl std::fmt::Debug for OnShard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnShard").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl<'s> OnShard<'s> {
    pub(super) fn new(shard: &'s Shard, lease: Lease<'s, Core>) -> Self {
        OnShard { shard, lease: Some(lease), loan: None, timing: None }
    }

    /// The end of a call that is timed.
    #[cold]
    fn end_timing(&mut self, route: &Route) {
        let Some(timing) = self.timing.take() else { return };
        // A taken shard has been tallied by its taker.
        let Some(lease) = self.lease.as_mut() else { return };
        timing.end(route, &mut lease.sampler, &self.shard.shared.settings);
    }
}

/// Two reads of the clock are not worth their room on the way of the calls that are not timed.
#[cold]
fn now() -> Instant {
    Instant::now()
}

impl Place for OnShard<'_> {
    fn enter(&mut self, route: &Route, unsent_len: usize) -> Entry {
        let Some(lease) = self.lease.as_mut() else { return Entry::Elsewhere };
        match self.shard.model {
            Model::Adaptive => {
                if !route.is_proven() {
                    return Entry::Elsewhere;
                }
                if !self.shard.is_backed() {
                    self.shard.home.counters.calls_without_spare.increment();
                    return Entry::Elsewhere;
                }
            }
            // Never handed off, so not lent either.
            Model::EventLoop => {
                if Timing::is_wanted(route, unsent_len, &mut lease.sampler) {
                    if must_send_first(route, unsent_len) {
                        return Entry::AfterOutput;
                    }
                    self.timing = Timing::begin(route, &mut lease.sampler);
                }
                self.shard.home.counters.calls_inline.increment_alone();
                return Entry::Here;
            }
            Model::Pool | Model::ThreadPerConnection => return Entry::Elsewhere,
        }
        self.shard.home.counters.calls_inline.increment_alone();
        if lease.sampler.count(route) {
            self.timing = Some(Timing::Sample(now()));
        }
        self.shard.calling(Some(route));
        self.loan = self.lease.take().map(Lease::lend);
        Entry::Here
    }

    fn leave(&mut self, route: &Route) {
        let Some(loan) = self.loan.take() else {
            // The event loop model: the call may have taken long, and deadlines begin behind it.
            if self.timing.is_some() {
                self.end_timing(route);
            }
            if let Some(lease) = &mut self.lease {
                lease.agenda.set_now(self.shard.home.clock.ticks());
            }
            return;
        };
        self.lease = loan.take_back();
        if self.timing.is_some() {
            self.end_timing(route);
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

    fn fill_max(&self) -> usize {
        match self.shard.model {
            // There is nowhere else; others have their turn after a part.
            Model::EventLoop => PART,
            _ => 0,
        }
    }

    fn may_write(&self) -> bool {
        false
    }

    fn lost(&self) -> bool {
        self.lease.is_none()
    }
}

/// On a pool thread: calls are timed, so that routes can prove themselves.
#[derive(Debug)]
pub(super) struct OnPool<'s> {
    shard: &'s Shard,
    timing: Option<Timing>,
    /// Not used under `Adaptive`, where proven routes are sampled on their shard.
    sampler: Sampler,
    /// A call was of a proven route, and would have been better off on the shard's thread.
    pub(super) met_proven: bool,
}

impl<'s> OnPool<'s> {
    /// `sampler` is the thread's.
    pub(super) fn new(shard: &'s Shard, sampler: Sampler) -> Self {
        OnPool { shard, timing: None, sampler, met_proven: false }
    }

    pub(super) fn take_sampler(&mut self) -> Sampler {
        std::mem::take(&mut self.sampler)
    }
}

impl Place for OnPool<'_> {
    fn enter(&mut self, route: &Route, unsent_len: usize) -> Entry {
        if must_send_first(route, unsent_len) {
            return Entry::AfterOutput;
        }
        self.shard.home.counters.calls_pooled.increment();
        if self.shard.model == Model::Adaptive {
            self.met_proven |= route.is_proven();
            self.timing = Some(Timing::Trial(Trial::begin(route)));
        } else if Timing::is_wanted(route, unsent_len, &mut self.sampler) {
            self.timing = Timing::begin(route, &mut self.sampler);
        }
        Entry::Here
    }

    fn leave(&mut self, route: &Route) {
        if let Some(timing) = self.timing.take() {
            timing.end(route, &mut self.sampler, &self.shard.shared.settings);
        }
    }
}

/// On a pool thread of an event loop, which writes the content of messages to files. User code runs on the loop.
#[derive(Debug)]
pub(super) struct OnWriter;

impl Place for OnWriter {
    fn enter(&mut self, _route: &Route, _unsent_len: usize) -> Entry {
        Entry::Elsewhere
    }

    fn leave(&mut self, _route: &Route) {}

    fn fill_max(&self) -> usize {
        0
    }

    fn may_call(&self) -> bool {
        false
    }
}

/// On a connection's own thread.
#[derive(Debug)]
pub(super) struct OnOwnThread<'s> {
    shard: &'s Shard,
    connection: &'s Connection,
    timing: Option<Timing>,
    sampler: Sampler,
}

impl<'s> OnOwnThread<'s> {
    pub(super) fn new(shard: &'s Shard, connection: &'s Connection) -> Self {
        let (timing, sampler) = (None, Sampler::default());
        OnOwnThread { shard, connection, timing, sampler }
    }
}

impl Place for OnOwnThread<'_> {
    fn enter(&mut self, route: &Route, unsent_len: usize) -> Entry {
        if !self.connection.rest.end() {
            return Entry::Elsewhere;
        }
        if must_send_first(route, unsent_len) {
            return Entry::AfterOutput;
        }
        self.shard.home.counters.calls_pooled.increment();
        if Timing::is_wanted(route, unsent_len, &mut self.sampler) {
            self.timing = Timing::begin(route, &mut self.sampler);
        }
        Entry::Here
    }

    fn leave(&mut self, route: &Route) {
        if let Some(timing) = self.timing.take() {
            timing.end(route, &mut self.sampler, &self.shard.shared.settings);
        }
    }
}
