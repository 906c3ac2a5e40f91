//! The pools that are compared, each by its own plain API.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use threadline_pool::ThreadPool;

/// A pool of threads.
pub trait Pool: Sync + Sized {
    const NAME: &'static str;

    fn start(threads: usize) -> Self;

    /// Has a job run some time.
    fn execute(&self, job: impl FnOnce() + Send + 'static);

    /// Has a job run, and waits for its result.
    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, outcome) = mpsc::sync_channel(1);
        self.execute(move || drop(result.send(job())));
        outcome.recv().expect("the job ran")
    }
}

/// Ours. Its queue has no bound here, as the others' have none.
pub struct Threadline(pub ThreadPool);

impl Pool for Threadline {
    const NAME: &'static str = "threadline";

    fn start(threads: usize) -> Self {
        let builder = ThreadPool::builder().nice(0).queue_len_max(usize::MAX);
        Threadline(builder.threads_min(threads).threads_max(threads).build().expect("a pool"))
    }

    fn execute(&self, job: impl FnOnce() + Send + 'static) {
        self.0.try_submit(job).unwrap_or_else(|_| panic!("no room"));
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let task = self.0.spawn(job).unwrap_or_else(|_| panic!("no room"));
        task.join().expect("the job ran")
    }
}

/// The same without its histograms of waiting and running times, which no other has.
pub struct Unmeasured(Threadline);

impl Pool for Unmeasured {
    const NAME: &'static str = "threadline, no times";

    fn start(threads: usize) -> Self {
        let builder = ThreadPool::builder().nice(0).queue_len_max(usize::MAX).measure_times(false);
        let pool = builder.threads_min(threads).threads_max(threads).build();
        Unmeasured(Threadline(pool.expect("a pool")))
    }

    fn execute(&self, job: impl FnOnce() + Send + 'static) {
        self.0.execute(job);
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.0.run(job)
    }
}

/// Made for splitting a computation.
pub struct Rayon(rayon::ThreadPool);

impl Pool for Rayon {
    const NAME: &'static str = "rayon";

    fn start(threads: usize) -> Self {
        Rayon(rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool"))
    }

    fn execute(&self, job: impl FnOnce() + Send + 'static) {
        self.0.spawn(job);
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.0.install(job)
    }
}

/// The `threadpool` crate.
pub struct Threadpool(threadpool::ThreadPool);

impl Pool for Threadpool {
    const NAME: &'static str = "threadpool";

    fn start(threads: usize) -> Self {
        Threadpool(threadpool::ThreadPool::new(threads))
    }

    fn execute(&self, job: impl FnOnce() + Send + 'static) {
        self.0.execute(job);
    }
}

/// tokio's pool for blocking code.
pub struct SpawnBlocking(tokio::runtime::Runtime);

impl Pool for SpawnBlocking {
    const NAME: &'static str = "tokio spawn_blocking";

    fn start(threads: usize) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).max_blocking_threads(threads).build();
        SpawnBlocking(runtime.expect("a runtime"))
    }

    fn execute(&self, job: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn_blocking(job));
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.0.block_on(self.0.spawn_blocking(job)).expect("the job ran")
    }
}

/// What one writes by hand: threads that take boxed jobs from one channel.
pub struct Channel {
    jobs: Option<crossbeam_channel::Sender<Box<dyn FnOnce() + Send>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool for Channel {
    const NAME: &'static str = "crossbeam channel";

    fn start(threads: usize) -> Self {
        let (jobs, queue) = crossbeam_channel::unbounded::<Box<dyn FnOnce() + Send>>();
        let work = |_| {
            let queue = queue.clone();
            thread::spawn(move || queue.into_iter().for_each(|job| job()))
        };
        Channel { jobs: Some(jobs), threads: (0..threads).map(work).collect() }
    }

    fn execute(&self, job: impl FnOnce() + Send + 'static) {
        let jobs = self.jobs.as_ref().expect("open");
        jobs.send(Box::new(job)).expect("threads take jobs");
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        drop(self.jobs.take());
        self.threads.drain(..).for_each(|thread| thread.join().expect("a thread"));
    }
}

/// No pool: a thread for each job.
pub struct ThreadEach;

impl Pool for ThreadEach {
    const NAME: &'static str = "std::thread::spawn";

    fn start(_threads: usize) -> Self {
        ThreadEach
    }

    fn execute(&self, job: impl FnOnce() + Send + 'static) {
        drop(thread::spawn(job));
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        thread::spawn(job).join().expect("the job ran")
    }
}
