//! The places where user code runs, and what entering and leaving each costs.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use super::errand::Kind;
use super::{Core, Sampler, Shard};
use crate::connection::Connection;
use crate::lease::{Lease, Loan};
use crate::model::Model;
use crate::route::{Class, Depth, Hint, NO_ROUTE, Route, Trial};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::transport::PART;
use crate::turn::{Entry, Place, Waiting};
use crate::workers::{Permit, WatchedCall, Why};

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
        } else if route.is_open() {
            Some(Timing::Trial(Trial::begin(route, Depth::Time)))
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
    refused: u32,
}

impl std::fmt::Debug for OnShard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnShard").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl<'s> OnShard<'s> {
    pub(super) fn new(shard: &'s Shard, lease: Lease<'s, Core>) -> Self {
        OnShard { shard, lease: Some(lease), loan: None, timing: None, refused: NO_ROUTE }
    }

    /// Notes which call must not run here.
    #[cold]
    fn refuse(&mut self, route: &Route) -> Entry {
        self.refused = route.number();
        Entry::Elsewhere
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
    fn enter(&mut self, route: &Arc<Route>, unsent_len: usize) -> Entry {
        let Some(lease) = self.lease.as_mut() else { return self.refuse(route) };
        match self.shard.model {
            Model::Adaptive => {
                if !route.is_proven() {
                    return self.refuse(route);
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

    fn refused(&self) -> u32 {
        self.refused
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

/// What a thread off the shards may run.
#[derive(Debug)]
pub(super) enum Pass {
    /// Calls of blocking routes: it is a thread of the pool.
    Pool,
    /// Calls of that kind, with a place at their gate: trials of the route whose gate it is; or the source of a reply;
    /// and calls of proven routes after it.
    Place(Kind, Permit),
}

impl Pass {
    /// The place at a gate that the thread holds.
    pub(super) fn into_permit(self) -> Option<Permit> {
        match self {
            Pass::Pool => None,
            Pass::Place(_, permit) => Some(permit),
        }
    }
}

/// On a thread off the shards: calls are timed, so that routes can be classified.
#[derive(Debug)]
pub(super) struct OnPool<'s> {
    shard: &'s Shard,
    pass: Pass,
    timing: Option<Timing>,
    /// Not used under `Adaptive`, where proven routes are sampled on their shard.
    sampler: Sampler,
    watched: Option<WatchedCall>,
    refused: u32,
    /// Calls of computing routes so far.
    computed: u32,
    /// The reply of a call that was deferred is being written.
    answering: bool,
    /// A call was of a proven route, and would have been better off on the shard's thread.
    pub(super) met_proven: bool,
}

/// About how many bytes a source makes off the pool before others of its route have their turn: 1 MB.
const SOURCE_TURN: usize = 1024 * 1024;

/// The first calls of blocking and computing routes are looked at closely. After that, each thread looks closely at
/// one call in this many, to find routes that have changed.
const LOOK_EVERY: u32 = 8;

impl<'s> OnPool<'s> {
    /// `sampler` is the thread's.
    pub(super) fn new(shard: &'s Shard, pass: Pass, sampler: Sampler) -> Self {
        let (timing, watched, refused) = (None, None, NO_ROUTE);
        let (computed, answering, met_proven) = (0, false, false);
        OnPool { shard, pass, timing, sampler, watched, refused, computed, answering, met_proven }
    }

    pub(super) fn take_sampler(&mut self) -> Sampler {
        std::mem::take(&mut self.sampler)
    }

    /// What is left of the pass when all is done.
    pub(super) fn into_pass(self) -> Pass {
        self.pass
    }

    /// Whether a call of that class may run on this thread, with this pass.
    fn may_run(&self, class: Class, route: &Route) -> bool {
        // A reply that is made already needs no place to compute, nor one to wait for its peer.
        if self.answering && class != Class::Unclassified {
            return true;
        }
        if route.hint() == Hint::Streamed {
            return matches!(self.pass, Pass::Place(Kind::Streamed, _));
        }
        match (class, &self.pass) {
            (Class::Proven, _) | (Class::Blocking, Pass::Pool) => true,
            (Class::Unclassified, Pass::Place(Kind::Trial, permit)) => permit.is_of(route.trials()),
            // One after the other of one connection only while no other call waits for the place.
            (Class::Computing, Pass::Place(Kind::Computing, permit)) => {
                self.computed == 0 || !permit.is_wanted()
            }
            _ => false,
        }
    }

    /// Begins to time a call, and to watch it if it may show its class before it ends.
    fn begin(&mut self, class: Class, route: &Arc<Route>) {
        let mut depth = Depth::Time;
        match (class, &self.pass) {
            (Class::Unclassified, _) => {
                self.shard.home.counters.calls_tried.increment();
                depth = Depth::Usage;
                self.watch(route, Why::Trial);
            }
            (Class::Computing, Pass::Place(Kind::Computing, permit)) if route.is_open() => {
                let release = permit.release();
                self.watch(route, Why::Computing(release));
            }
            _ => {}
        }
        self.computed += u32::from(class == Class::Computing);
        let changes = matches!(class, Class::Blocking | Class::Computing) && route.is_open();
        if changes && (route.is_young() || is_looked_at()) {
            depth = Depth::Usage;
        }
        self.met_proven |= class == Class::Proven;
        self.timing = Some(Timing::Trial(Trial::begin(route, depth)));
    }

    fn watch(&mut self, route: &Arc<Route>, why: Why) {
        let Shared { workers, bell, .. } = &*self.shard.shared;
        self.watched = Some(workers.watch.begin(route, why, bell));
    }
}

/// Whether this thread looks closely at its next call.
fn is_looked_at() -> bool {
    thread_local!(static CALLS: Cell<u32> = const { Cell::new(0) });
    let calls = CALLS.get().wrapping_add(1);
    CALLS.set(calls);
    calls.is_multiple_of(LOOK_EVERY)
}

impl Place for OnPool<'_> {
    fn enter(&mut self, route: &Arc<Route>, unsent_len: usize) -> Entry {
        let class = route.class();
        let is_bounded = self.shard.model == Model::Adaptive || route.hint() == Hint::Streamed;
        if is_bounded && !self.may_run(class, route) {
            self.refused = route.number();
            return Entry::Elsewhere;
        }
        if must_send_first(route, unsent_len) {
            return Entry::AfterOutput;
        }
        self.shard.home.counters.calls_pooled.increment();
        if self.shard.model == Model::Adaptive {
            self.begin(class, route);
        } else if Timing::is_wanted(route, unsent_len, &mut self.sampler) {
            self.timing = Timing::begin(route, &mut self.sampler);
        }
        Entry::Here
    }

    fn leave(&mut self, route: &Route) {
        if let Some(call) = self.watched.take() {
            self.shard.shared.workers.watch.end(&call);
        }
        if let Some(timing) = self.timing.take() {
            timing.end(route, &mut self.sampler, &self.shard.shared.settings);
        }
    }

    fn set_answering(&mut self, answering: bool) {
        self.answering = answering;
    }

    /// A source may block, as calls of blocking routes do.
    fn fill_max(&self) -> usize {
        match self.pass {
            Pass::Pool => usize::MAX,
            Pass::Place(Kind::Source, _) => SOURCE_TURN,
            Pass::Place(Kind::Trial | Kind::Computing | Kind::Streamed, _) => 0,
        }
    }

    fn refused(&self) -> u32 {
        self.refused
    }
}

/// On a thread that writes the content of messages to files. Handlers run elsewhere.
#[derive(Debug)]
pub(super) struct OnWriter;

impl Place for OnWriter {
    fn enter(&mut self, _route: &Arc<Route>, _unsent_len: usize) -> Entry {
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
    fn enter(&mut self, route: &Arc<Route>, unsent_len: usize) -> Entry {
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
