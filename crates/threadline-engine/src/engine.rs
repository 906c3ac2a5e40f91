//! The engine: shards, threads and listeners put together, and taken apart again.

use std::io;
use std::sync::{Arc, Once};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::counters::Counts;
use crate::endpoint::Endpoint;
use crate::inbox::Note;
use crate::listener::Listener;
use crate::log;
use crate::model::Model;
use crate::monitor::Monitor;
use crate::route::Route;
use crate::service::Service;
use crate::settings::Settings;
use crate::shard::{Key, Plan, Shard, Takeover, loop_thread};
use crate::shared::{Phase, Shared};
use crate::spares::Spares;
use crate::sys::{Clock, give_back_from};
use crate::threads::Threads;
use crate::workers::{Workers, pool_builder};

/// A running engine. Dropping it stops it at once; [`Engine::drain`] lets clients finish.
#[derive(Debug)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) shards: Vec<Arc<Shard>>,
    spares: Arc<Spares<Takeover>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were cut off at the deadline in the middle of a message, a call or a reply. Those
    /// that were open but idle, and open pushes, are not counted: nothing of theirs was lost.
    pub aborted: u64,
    /// Whether every thread of the engine has ended. False: a handler is still running.
    pub complete: bool,
}

/// What is kept back of a drain's time for its end, once connections are cut off: at most this, or a tenth.
const RESERVE_MAX: Duration = Duration::from_millis(500);
/// How long threads that have nothing to do may take to end, however short the drain is: with a deadline of 0
/// it cuts off what is in flight, but is complete if nothing was.
const END_MIN: Duration = Duration::from_millis(500);
/// A longer drain is as good as one without a deadline, and its end can still be computed: a year.
const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What the engine is doing right now, beside its [`Counts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gauges {
    /// Connections that are open.
    pub connections: usize,
    /// How many there may be.
    pub connections_max: usize,
    /// Shards, the one of isolated endpoints included.
    pub shards: usize,
    /// Threads of the loop class: those that run shards, and spares.
    pub loop_threads: usize,
    /// Spares that stand ready.
    pub spares_ready: usize,
    /// Pool threads alive.
    pub pool_threads: usize,
    /// Pool threads running a handler.
    pub pool_busy: usize,
    /// Calls that wait for a pool thread.
    pub pool_queue: usize,
    /// Bytes that are held only because a peer is slow: see
    /// [`Settings::waiting_bytes_max`](crate::Settings::waiting_bytes_max).
    pub waiting_bytes: usize,
    /// How many there may be.
    pub waiting_bytes_max: usize,
    /// Files with the content of messages: see [`Settings::body_files_max`](crate::Settings::body_files_max).
    pub body_files: usize,
    /// Trial threads alive: they run calls of routes that are not classified yet.
    pub trial_threads: usize,
    /// Trial threads running a handler.
    pub trial_busy: usize,
    /// Computing threads alive: they also run sources of routes that do not block.
    pub computing_threads: usize,
    /// Calls of computing routes that run.
    pub computing: usize,
    /// Calls of computing routes that wait for one of them to end.
    pub computing_waiting: usize,
    /// Calls that run while they wait for their peers: see [`Hint::Streamed`](crate::Hint::Streamed).
    pub streamed: usize,
    /// Calls that wait parked, without a thread, at any gate: those that wait to compute or to be streamed, calls of
    /// unclassified routes that wait for the trials of others, and replies whose sources wait to make more.
    pub calls_parked: usize,
}

impl Engine {
    /// Starts to serve endpoints, each on the listener that [`Endpoint::bind`] has made, or that another
    /// process has passed on.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for settings or endpoints that make no sense, and the system's
    /// errors if descriptors or threads cannot be had.
    pub fn start(settings: Settings, endpoints: Vec<(Endpoint, Listener)>) -> io::Result<Engine> {
        let engine = Engine::prepare(settings, endpoints)?;
        engine.begin()?;
        Ok(engine)
    }

    /// As [`Engine::start`], up to the moment before the first client is served: for those who want to
    /// hand the engine to their handlers. [`Engine::begin`] does the rest.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn prepare(settings: Settings, endpoints: Vec<(Endpoint, Listener)>) -> io::Result<Engine> {
        let invalid = |message| io::Error::new(io::ErrorKind::InvalidInput, message);
        settings.check().map_err(invalid)?;
        check(&endpoints).map_err(invalid)?;
        static LARGE_BLOCKS: Once = Once::new();
        if let Some(len) = settings.large_blocks_from {
            LARGE_BLOCKS.call_once(|| give_back_from(len));
        }
        let on_start = settings.on_thread_start.clone();
        let threads = Threads::new(on_start, settings.on_thread_stop.clone());
        let pool = pool_builder(&settings, &threads)
            .name("tl-pool")
            // A thread that is always there: a loop thread then need not wait for the lock of the pool.
            .threads_min(1)
            .threads_max(settings.pool_threads_max)
            .queue_len_max(settings.pool_queue_max)
            .nice(settings.pool_nice)
            .build()?;
        let workers = Workers::new(&settings, &threads)?;
        let count = settings.shards;
        let mut plans: Vec<_> = (0..count).map(|number| Plan::usual(number, &settings)).collect();
        let mut isolated = Plan::isolated(count, &settings);
        let mut kinds = Vec::new();
        for ((endpoint, listener), number) in endpoints.into_iter().zip(0..) {
            listener.set_options(settings.tcp_options());
            let is_isolated = endpoint.is_isolated();
            kinds.push(endpoint.into_service(listener.address()));
            if is_isolated {
                isolated.sources.extend(listener.into_sources(number, 1));
            } else {
                let sources = listener.into_sources(number, count);
                plans.iter_mut().zip(sources).for_each(|(plan, source)| plan.sources.push(source));
            }
        }
        if !isolated.sources.is_empty() {
            plans.push(isolated);
        }
        let spares_max = settings.spare_threads_max + 2 * settings.shards;
        let spares = Arc::new(Spares::new(spares_max));
        let shared = Arc::new(Shared::new(settings, kinds, pool, workers, threads));
        let shards = (plans.into_iter())
            .map(|plan| Shard::new(plan, Arc::clone(&shared), Arc::clone(&spares)))
            .collect::<io::Result<Vec<_>>>()?;
        shared.lifecycle.listen(shards.len());
        shared.mailboxes.open(shards.iter().map(|shard| Arc::clone(&shard.home)));
        Ok(Engine { shared, shards, spares, threads: Mutex::default() })
    }

    /// Starts to serve what [`Engine::prepare`] has prepared. Once; a second call does nothing.
    ///
    /// # Errors
    /// If a thread cannot be started; the message says so. Those started so far end when the engine is
    /// dropped.
    pub fn begin(&self) -> io::Result<()> {
        let mut threads = self.threads.lock();
        if !threads.is_empty() {
            return Ok(());
        }
        for shard in &self.shards {
            let shard = Arc::clone(shard);
            let name = format!("tl-shard-{}", shard.number);
            let run = self.shared.threads.wrap(move || loop_thread(shard));
            threads.push(start_thread(name, run)?);
        }
        let lends = |shard: &&Arc<Shard>| shard.model == Model::Adaptive;
        let lending: Vec<_> = self.shards.iter().filter(lends).cloned().collect();
        if !lending.is_empty() {
            let monitor = Monitor::new(lending);
            threads.push(start_thread("tl-monitor".into(), move || monitor.run())?);
        }
        Ok(())
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.shards.iter().for_each(|shard| shard.home.counters.add_to(&mut sum));
        sum.thread_hook_panics = self.shared.threads.hook_panics();
        sum.log_lines_lost = log::lost_lines();
        sum.log_lines_suppressed = log::suppressed_lines();
        sum
    }

    /// The routes of everything that is served, in the order of the endpoints: the same piece of user code each,
    /// with what the engine has found out about it. Not those of protocols that connections are upgraded to.
    ///
    /// ```
    /// # use threadline_engine::Engine;
    /// fn report(engine: &Engine) {
    ///     for route in engine.routes() {
    ///         let (name, class) = (route.name(), route.class());
    ///         println!("{name} is {class}, {} stalls, {} panics", route.stalls(), route.panics());
    ///     }
    /// }
    /// ```
    pub fn routes(&self) -> Vec<Arc<Route>> {
        self.shared.services.iter().flat_map(Service::routes).collect()
    }

    /// What is going on right now.
    pub fn gauges(&self) -> Gauges {
        let (loop_threads, spares_ready) = self.spares.census();
        let (pool, workers) = (self.shared.pool.stats(), self.shared.workers.census());
        Gauges {
            connections: self.shared.lifecycle.connections(),
            connections_max: self.shared.settings.connections_max,
            shards: self.shards.len(),
            loop_threads,
            spares_ready,
            pool_threads: pool.threads,
            pool_busy: pool.busy,
            pool_queue: pool.queue_len,
            waiting_bytes: self.shared.waiting.used(),
            waiting_bytes_max: self.shared.waiting.max(),
            body_files: self.shared.bodies.files.open(),
            trial_threads: workers.trials.threads,
            trial_busy: workers.trials.busy,
            computing_threads: workers.computing.threads,
            computing: workers.computing_held,
            computing_waiting: workers.computing_waiting,
            streamed: workers.streamed,
            calls_parked: workers.parked,
        }
    }

    /// Stops listening and begins a drain, without waiting for it: for those who have other things to
    /// finish at the same time. [`Engine::drain`] begins with this.
    pub fn stop_listening(&self) {
        self.enter(Phase::Draining);
    }

    /// Stops listening, lets what is in flight finish, closes idle connections, and ends all threads, all
    /// of it within `timeout`.
    ///
    /// A connection that has been silent for [`Settings::drain_idle`] is closed; from half of `timeout`
    /// on, each as soon as it is between two messages. What has not finished when nine tenths of
    /// `timeout` are over, or when 500 ms of it are left, is cut off; the rest is for the threads. They get
    /// 500 ms from the beginning in any case: a `timeout` of zero cuts off at once.
    pub fn drain(&self, timeout: Duration) -> Drained {
        let clock = &self.shared.settings.clock;
        let (began, aborted_before) = (clock.instant(), self.counts().aborted);
        let timeout = timeout.min(LONGEST_DRAIN);
        let reserve = (timeout / 10).min(RESERVE_MAX);
        let deadline = began + timeout;
        let end_min = began + END_MIN;
        self.stop_listening();
        if !self.clients_end(began + timeout / 2) {
            self.enter(Phase::Closing);
            if !self.clients_end(deadline - reserve) {
                self.enter(Phase::Aborting);
                self.clients_end((deadline - reserve / 2).max(end_min));
            }
        }
        let pool_deadline = (deadline - reserve / 4).max(end_min);
        let left = || pool_deadline.saturating_duration_since(clock.instant());
        // The pool last: calls for which the others have no thread go there.
        let workers_ended = self.shared.workers.shutdown(left);
        let pool_ended = self.shared.pool.shutdown(left()) && workers_ended;
        let threads_ended = self.stop(clock, deadline.max(end_min));
        log::report_all();
        // Those that still have a thread of their own have been counted when their sockets were shut down.
        let connections = self.shared.lifecycle.connections();
        let stuck = connections.saturating_sub(self.shared.blocked.len()) as u64;
        let aborted = self.counts().aborted - aborted_before + stuck;
        Drained { aborted, complete: pool_ended && threads_ended && connections == 0 }
    }

    /// Waits until the listeners are closed and the last connection has ended. False if time is up first.
    fn clients_end(&self, deadline: Instant) -> bool {
        let runs = !self.threads.lock().is_empty();
        let are_there = || {
            let listening = runs && self.shared.lifecycle.is_listening();
            listening || self.shared.lifecycle.connections() > 0
        };
        while are_there() {
            let left = deadline.saturating_duration_since(self.shared.settings.clock.instant());
            if left.is_zero() {
                return false;
            }
            // Waiting is for the drain alone, so a coarse look now and then is good enough.
            thread::sleep(left.min(Duration::from_millis(5)));
        }
        true
    }

    /// Ends the threads that are ours to end. False if a handler keeps one.
    fn stop(&self, clock: &Clock, deadline: Instant) -> bool {
        self.enter(Phase::Stopped);
        self.spares.stop();
        self.shared.bell.wake();
        let ended = || {
            let no_more = self.threads.lock().iter().all(JoinHandle::is_finished);
            // Spares, and connections' own threads.
            no_more && self.shared.threads.running() == 0
        };
        while !ended() && clock.instant() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        ended()
    }

    fn enter(&self, phase: Phase) {
        self.shared.lifecycle.enter(phase);
        self.shards.iter().for_each(|shard| shard.tell(Note::Phase));
    }
}

/// Checks the endpoints and their listeners.
fn check(endpoints: &[(Endpoint, Listener)]) -> Result<(), String> {
    if endpoints.is_empty() {
        return Err("nothing to serve: add an endpoint".into());
    }
    if endpoints.len() > Key::SOURCES_MAX {
        return Err(format!("more than {} endpoints", Key::SOURCES_MAX));
    }
    endpoints.iter().try_for_each(|(endpoint, listener)| endpoint.check_with(listener))
}

/// Starts one of the engine's own threads. An error names what is missing: that of the system is about a
/// resource, "temporarily unavailable", and does not say which.
fn start_thread(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let started = thread::Builder::new().name(name.clone()).spawn(run);
    started.map_err(|error| {
        io::Error::new(error.kind(), format!("no thread could be started: {error} ({name})"))
    })
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.shared.lifecycle.phase() != Phase::Stopped {
            self.enter(Phase::Aborting);
            let until = Instant::now() + Duration::from_millis(500);
            let left = || until.saturating_duration_since(Instant::now());
            self.shared.workers.shutdown(left);
            self.shared.pool.shutdown(left());
            // In real time: nobody moves a test's clock any more.
            self.stop(&Clock::System, Instant::now() + Duration::from_secs(1));
        }
    }
}
