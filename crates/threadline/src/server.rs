//! The server: what is served where, under which model, until when.

use std::ffi::OsString;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use threadline_engine::{
    Address, Connection, Counts, Engine, Frames, Gauges, Lines, Listener, Model, Protocol, Route,
    Settings, StreamOptions, ThreadHook,
};
use threadline_http::Router;
use threadline_service::prefork::{Supervisor, Worker, WorkerCommand, worker_drain};
use threadline_service::signals::{self, Role};

use crate::drain::Drains;
use crate::endpoint::{Endpoint, ToAddress};
use crate::{Drain, DrainOrder, Drained, Error, Result, logging};

/// A service under construction: addresses and their handlers, and how they are run.
///
/// Nothing is bound before [`Server::start`] or [`Server::run`], and mistakes in addresses and
/// settings are reported there.
///
/// ```
/// use threadline::{Lines, Model, Server};
///
/// # fn main() -> threadline::Result<()> {
/// let service = Server::new()
///     .lines("127.0.0.1:0", Lines::new(|line, _| Some(line.to_uppercase())))
///     .model(Model::Adaptive) // the one line that changes how it runs
///     .start()?;
/// println!("listening on {}", service.addresses()[0]);
/// service.drain();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a server does nothing before it is run"]
pub struct Server {
    endpoints: Vec<Endpoint>,
    settings: Settings,
    /// The number of shards is the caller's choice, and not this machine's.
    shards_chosen: bool,
    processes: Option<usize>,
    worker_command: WorkerCommand,
    drain_timeout: Duration,
    drains: Drains,
    monitor: Monitor,
}

/// Container runtimes kill a process 10 s after SIGTERM; the rest is for its way out.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// A longer drain is as good as one without a deadline, and its end can still be computed: a year.
const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Default for Server {
    fn default() -> Self {
        Server::new()
    }
}

impl Server {
    /// A server that serves nothing yet.
    pub fn new() -> Self {
        Server {
            endpoints: Vec::new(),
            settings: Settings::default(),
            shards_chosen: false,
            processes: None,
            worker_command: WorkerCommand::Same,
            drain_timeout: DRAIN_TIMEOUT,
            drains: Drains::default(),
            monitor: Monitor::default(),
        }
    }

    /// Serves an endpoint: for those that have options, such as [`Endpoint::isolated`]. For the others there
    /// are [`Server::http`] and the methods after it.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Serves HTTP.
    pub fn http(self, address: impl ToAddress, router: Router) -> Self {
        self.endpoint(Endpoint::http(address, router))
    }

    /// Serves lines of text.
    pub fn lines(self, address: impl ToAddress, lines: Lines) -> Self {
        self.endpoint(Endpoint::lines(address, lines))
    }

    /// Serves length-prefixed frames.
    pub fn frames(self, address: impl ToAddress, frames: Frames) -> Self {
        self.endpoint(Endpoint::frames(address, frames))
    }

    /// Serves messages of your own protocol.
    pub fn protocol(self, address: impl ToAddress, protocol: Arc<dyn Protocol>) -> Self {
        self.endpoint(Endpoint::protocol(address, protocol))
    }

    /// Serves whole connections, as [`Endpoint::stream`] explains.
    pub fn stream(
        self,
        address: impl ToAddress,
        handler: impl Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.endpoint(Endpoint::stream(address, handler))
    }

    /// As [`Server::stream`], with options.
    pub fn stream_with(
        self,
        address: impl ToAddress,
        options: StreamOptions,
        handler: impl Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.endpoint(Endpoint::stream_with(address, options, handler))
    }

    /// Serves single UDP datagrams, as [`Endpoint::datagrams`] explains. The sender's address may be forged.
    pub fn datagrams(
        self,
        address: impl ToAddress,
        handler: impl Fn(&[u8], SocketAddr) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.endpoint(Endpoint::datagrams(address, handler))
    }

    /// How connections and handlers share threads. Default [`Model::Adaptive`].
    pub fn model(mut self, model: Model) -> Self {
        self.settings.model = model;
        self
    }

    /// Event loops in each process. Default: one for each core, shared between the processes.
    pub fn shards(mut self, count: usize) -> Self {
        self.settings.shards = count;
        self.shards_chosen = true;
        self
    }

    /// Threads for handlers that block, at most. Default 1 024, or half of the threads that the process may have.
    pub fn pool_threads(mut self, max: usize) -> Self {
        self.settings.pool_threads_max = max;
        self
    }

    /// Runs `hook` on each thread that may run handlers, before its first one, once on each thread:
    /// event loops, spares, pool, trial and computing threads, and connections' own threads under
    /// [`Model::ThreadPerConnection`]; also on those that write files, where values of handlers may be dropped. Not on the threads that log, wait for signals or watch the event
    /// loops, and not in the supervisor of [`Server::processes`]. A second call replaces the hook.
    ///
    /// What waits for a new thread waits for its hook too: keep it short. A panic is logged and counted
    /// ([`Counts::thread_hook_panics`]), and the thread goes on.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use threadline::{Server, http::Router};
    ///
    /// thread_local! {
    ///     static ATTACHED: Cell<bool> = const { Cell::new(false) };
    /// }
    ///
    /// let server = Server::new()
    ///     .http("127.0.0.1:8080", Router::new().get("/", || ATTACHED.get().to_string()))
    ///     .on_thread_start(|| ATTACHED.set(true))
    ///     .on_thread_stop(|| ATTACHED.set(false));
    /// ```
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.settings.on_thread_start = ThreadHook::new(hook);
        self
    }

    /// Runs `hook` at the end of each thread of [`Server::on_thread_start`], once, after its last handler. A
    /// drain waits for it within [`Server::drain_timeout`]. Values that handlers have captured may be
    /// dropped later, by the thread that drains. A panic is treated as in `on_thread_start`.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.settings.on_thread_stop = ThreadHook::new(hook);
        self
    }

    /// Worker processes on the same addresses, restarted when they die ("prefork"). Default: none,
    /// this process serves. Only [`Server::run`] starts them; `main` then runs again in each, up to
    /// that call, or the program of [`Server::worker_command`] does.
    pub fn processes(mut self, count: usize) -> Self {
        self.processes = (count > 0).then_some(count);
        self
    }

    /// Sets the program and the arguments that each worker process of [`Server::processes`] runs. Default:
    /// the program and the arguments of this process. A program without `/` is looked up in `PATH`.
    ///
    /// For programs that are not started by their own executable, such as scripts: the executable of a
    /// Python script in a virtual environment is the system's interpreter, which does not know that
    /// environment. The program must build the same server and call [`Server::run`], as `main` does when
    /// it runs again. It gets the environment of this process, with `THREADLINE_WORKER` added, and the
    /// inherited socket named there, which it must not close.
    ///
    /// [`Server::run`] returns an error if the program cannot be executed, or ends before it serves, and no
    /// worker has ever served.
    ///
    /// ```no_run
    /// use threadline::{Server, http::Router};
    ///
    /// # fn main() -> threadline::Result<()> {
    /// Server::new()
    ///     .http("127.0.0.1:8080", Router::new().get("/", || "hello"))
    ///     .processes(2)
    ///     .worker_command("/srv/app/.venv/bin/python", ["/srv/app/main.py", "--quiet"])
    ///     .run()
    /// # }
    /// ```
    pub fn worker_command<A: Into<OsString>>(
        mut self,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        self.worker_command = WorkerCommand::Given { program: program.into(), arguments };
        self
    }

    /// How long the service may take to end once it is asked to stop. Default 8 s, since Docker kills a
    /// container after 10 s.
    ///
    /// It covers everything: requests that are under way, [`Server::drains`], threads and worker
    /// processes. What has not finished shortly before is cut off: a tenth of the time before, 500 ms at
    /// most. From half of the time on, connections are closed as soon as they are between two messages,
    /// even those whose clients never pause. Worker processes have an eighth less time (500 ms at most),
    /// so that their supervisor ends in time too. With a limit of zero, what is in flight is cut off at once;
    /// threads and processes that have nothing to do may still take a second to end.
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.drain_timeout = limit.min(LONGEST_DRAIN);
        self
    }

    /// Finishes the jobs of a [`ThreadPool`](crate::pool::ThreadPool), of a
    /// [`Scheduler`](crate::pool::schedule::Scheduler) or of a type of your own as well, when the service
    /// drains. May be called several times.
    ///
    /// Schedulers come first: they start nothing more, and the runs that go on finish while connections
    /// do. Pools come last, when the last handler that could submit to them has returned. All of it lies
    /// within [`Server::drain_timeout`]; jobs that have not ended by then are counted in
    /// [`Drained::unfinished`], and make [`Server::run`] return an error. With [`Server::processes`] each
    /// process drains its own, the supervisor too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadline::http::Router;
    /// use threadline::pool::ThreadPool;
    /// use threadline::pool::schedule::{Every, Scheduler};
    /// use threadline::Server;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mail = ThreadPool::builder().name("mail").threads_max(4).build()?;
    /// let scheduler = Scheduler::new(&mail)?;
    /// scheduler.every(Every::fixed_rate(Duration::from_secs(3600)), || println!("the hourly digest"))?;
    ///
    /// let outbox = mail.clone();
    /// let order = move || match outbox.submit(|| println!("a confirmation")) {
    ///     Ok(()) => "thank you",
    ///     Err(_) => "try again later",
    /// };
    /// let service = Server::new()
    ///     .http("127.0.0.1:0", Router::new().post("/orders", order))
    ///     .drains(scheduler)
    ///     .drains(mail) // a confirmation that was promised is sent
    ///     .start()?;
    /// assert!(service.drain().is_clean());
    /// # Ok(())
    /// # }
    /// ```
    pub fn drains(mut self, work: impl Drain) -> Self {
        self.drains.add(work);
        self
    }

    /// Changes any other of the engine's settings.
    ///
    /// ```
    /// # use threadline::Server;
    /// let server = Server::new().settings(|settings| settings.connections_max = 10_000);
    /// ```
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        let before = self.settings.shards;
        change(&mut self.settings);
        self.shards_chosen |= self.settings.shards != before;
        self
    }

    /// A handle by which handlers, a status page for example, can look at the running service.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// Binds all addresses and serves, in the background.
    ///
    /// # Errors
    /// [`Error`] says what to do about it.
    pub fn start(mut self) -> Result<Running> {
        let shards = self.shard_count(1);
        let endpoints = self.checked(shards)?;
        let listeners = self.bind(&endpoints, shards)?;
        self.start_on(endpoints.into_iter().zip(listeners).collect(), shards)
    }

    /// Serves until SIGTERM, SIGINT (Ctrl-C) or SIGHUP (the terminal is gone), then drains. A second signal
    /// ends the process on the spot; within 250 ms of the first it counts as the same one. Any of them that
    /// the process was started to ignore stays ignored: SIGHUP by nohup(1), SIGINT by a shell that starts a
    /// program in the background. (A worker process always takes its supervisor's SIGTERM.)
    ///
    /// The service has these signals only until `run` returns: a handler that the program had installed is
    /// not called meanwhile and is put back then, and so is the default effect. `run` may be called again.
    ///
    /// Starts logging to standard error, unless the program has set up `tracing` itself: see
    /// [`logging::start`].
    ///
    /// # Errors
    /// As [`Server::start`]; [`Error::Logging`] before anything is bound; and [`Error::Drain`] if the service
    /// did not finish everything in time. A `main` that returns the error makes the exit code 1.
    pub fn run(self) -> Result<()> {
        logging::start()?;
        let result = match (self.processes, Worker::current()) {
            (Some(count), Some(worker)) => self.run_worker(count, &worker),
            (Some(count), None) => self.supervise(count),
            (None, _) => self.run_single(),
        };
        // The process is likely to end now.
        logging::flush();
        result
    }

    fn run_single(self) -> Result<()> {
        let signals = signals::listen(Role::Single)?;
        let model = self.settings.model;
        let running = self.start()?;
        for (address, what) in running.addresses.iter().zip(&running.what) {
            tracing::info!("serving {what} on {address}");
        }
        tracing::info!(%model, shards = running.engine.gauges().shards, "ready");
        signals.wait();
        running.finish()
    }

    fn supervise(mut self, count: usize) -> Result<()> {
        let endpoints = self.checked(1)?;
        let listeners = self.bind(&endpoints, 1)?;
        for (listener, endpoint) in listeners.iter().zip(&endpoints) {
            tracing::info!("serving {} on {}", endpoint.name(), listener.address());
        }
        let mut supervisor = Supervisor::new(count, listeners, self.worker_command)?;
        let limit = self.drain_timeout;
        if let Err(error) = supervisor.serve() {
            supervisor.stop();
            supervisor.wait(limit, limit);
            return Err(Error::Io(error));
        }
        tracing::info!("stopping: workers finish what they have begun");
        supervisor.stop();
        let drained = drain_in_order(limit, &self.drains, |left| {
            let workers_failed = supervisor.wait(limit, left);
            Drained { aborted: 0, unfinished: 0, complete: true, workers_failed }
        });
        report(drained)
    }

    fn run_worker(mut self, count: usize, worker: &Worker) -> Result<()> {
        let signals = signals::listen(Role::Worker)?;
        worker.follow_supervisor()?;
        self.drain_timeout = worker_drain(self.drain_timeout);
        let shards = self.shard_count(count);
        self.settings.share_threads(count);
        let endpoints = self.checked(shards)?;
        self.settings.waiting_bytes_max = (self.settings.waiting_bytes_max / count).max(1);
        let (listeners, reports) = worker.listeners()?;
        if listeners.len() != endpoints.len() {
            let message = "a worker serves other addresses than its supervisor: main must build the \
                           same server each time";
            return Err(Error::Settings(message.into()));
        }
        let running = self.start_on(endpoints.into_iter().zip(listeners).collect(), shards)?;
        tracing::debug!(worker = worker.number, "ready");
        signals.wait();
        reports.drains();
        running.finish()
    }

    /// The number of shards of this process, one of so many.
    fn shard_count(&self, processes: usize) -> usize {
        if self.shards_chosen { self.settings.shards } else { share_of_cores(processes) }
    }

    /// The endpoints, if nothing is wrong with one of them or with the settings. The engine checks both
    /// too; here, no address has been bound yet.
    fn checked(&mut self, shards: usize) -> Result<Vec<threadline_engine::Endpoint>> {
        let endpoints = mem::take(&mut self.endpoints).into_iter().map(Endpoint::check);
        let endpoints = endpoints.collect::<Result<Vec<_>>>()?;
        if endpoints.is_empty() {
            return Err(Error::Settings("nothing to serve: add an endpoint".into()));
        }
        self.settings.check().map_err(Error::Settings)?;
        if shards == 0 {
            return Err(Error::Settings("shards is 0: it must be at least 1".into()));
        }
        Ok(endpoints)
    }

    fn bind(
        &self,
        endpoints: &[threadline_engine::Endpoint],
        shards: usize,
    ) -> io::Result<Vec<Listener>> {
        endpoints.iter().map(|endpoint| endpoint.bind(shards, self.settings.backlog)).collect()
    }

    fn start_on(
        self,
        endpoints: Vec<(threadline_engine::Endpoint, Listener)>,
        shards: usize,
    ) -> Result<Running> {
        // The content of long messages goes to files: a limit on their size must not end the process.
        signals::outlive_file_size_limit();
        let mut settings = self.settings;
        settings.shards = shards;
        let addresses: Arc<[_]> =
            endpoints.iter().map(|(_, listener)| listener.address().clone()).collect();
        let what = endpoints.iter().map(|(endpoint, _)| endpoint.name()).collect();
        let engine = Arc::new(Engine::prepare(settings, endpoints)?);
        // A monitor that was asked for sees the service before its first client does.
        let watched =
            Watched { engine: Arc::downgrade(&engine), addresses: Arc::clone(&addresses) };
        let _ = self.monitor.watched.set(watched);
        engine.begin()?;
        let (drain_timeout, drains) = (self.drain_timeout, self.drains);
        Ok(Running { engine, addresses, what, drain_timeout, drains })
    }
}

/// Cores are shared between worker processes.
fn share_of_cores(processes: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    (cores / processes).max(1)
}

/// A service that runs in the background. Dropping it stops it at once; [`Running::drain`] lets
/// clients finish.
#[derive(Debug)]
pub struct Running {
    engine: Arc<Engine>,
    addresses: Arc<[Address]>,
    what: Vec<&'static str>,
    drain_timeout: Duration,
    drains: Drains,
}

impl Running {
    /// Where it listens, in the order in which the server was built; a port 0 is replaced by the one
    /// that the kernel chose.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.engine.counts()
    }

    /// What is going on right now.
    pub fn gauges(&self) -> Gauges {
        self.engine.gauges()
    }

    /// The routes of everything that is served, each with what the engine has found out about it.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        self.engine.routes()
    }

    /// Stops listening, lets what is in flight finish within [`Server::drain_timeout`], and ends.
    pub fn drain(self) -> Drained {
        self.engine.stop_listening();
        drain_in_order(self.drain_timeout, &self.drains, |left| {
            let drained = self.engine.drain(left);
            let (aborted, complete) = (drained.aborted, drained.complete);
            Drained { aborted, unfinished: 0, complete, workers_failed: 0 }
        })
    }

    /// Drains because of a signal.
    fn finish(self) -> Result<()> {
        tracing::info!("stopping: what is in flight finishes first");
        report(self.drain())
    }
}

/// A drain from its beginning to its end, once nothing listens any more. `finish` finishes the connections
/// in the time that is left.
fn drain_in_order(
    limit: Duration,
    drains: &Drains,
    finish: impl FnOnce(Duration) -> Drained,
) -> Drained {
    let deadline = Instant::now() + limit;
    let cut = deadline - (limit / 8).min(CUT_BEFORE_MAX);
    let mut unfinished = drains.drain(DrainOrder::BeforeConnections, cut);
    let drained = finish(deadline.saturating_duration_since(Instant::now()));
    unfinished += drains.drain(DrainOrder::AfterConnections, deadline);
    Drained { unfinished, ..drained }
}

/// What is left of a drain's time for connections, at least, if a scheduler's runs do not end: this or an
/// eighth.
const CUT_BEFORE_MAX: Duration = Duration::from_millis(500);

fn report(drained: Drained) -> Result<()> {
    if drained.is_clean() {
        tracing::info!("stopped");
        return Ok(());
    }
    let Drained { aborted, unfinished, complete, workers_failed } = drained;
    tracing::warn!(aborted, unfinished, complete, workers_failed, "stopped at the drain deadline");
    Err(Error::Drain(drained))
}

/// Looks at a running service from inside its handlers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Monitor {
    watched: Arc<OnceLock<Watched>>,
}

/// Set when the service starts.
#[derive(Debug)]
struct Watched {
    engine: Weak<Engine>,
    addresses: Arc<[Address]>,
}

impl Monitor {
    /// What has happened and what is going on; `None` before the service has started and after it
    /// has ended.
    pub fn look(&self) -> Option<(Counts, Gauges)> {
        let engine = self.watched.get()?.engine.upgrade()?;
        Some((engine.counts(), engine.gauges()))
    }

    /// The routes of everything that is served; none before the service has started and after it has ended.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        let engine = self.watched.get().and_then(|watched| watched.engine.upgrade());
        engine.map_or_else(Vec::new, |engine| engine.routes())
    }

    /// Where the service listens, as [`Running::addresses`] says it; empty before it has started.
    pub fn addresses(&self) -> &[Address] {
        self.watched.get().map_or(&[], |watched| &watched.addresses)
    }
}
