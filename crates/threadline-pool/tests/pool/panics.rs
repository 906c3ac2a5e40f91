//! No panic of user code aborts the process, and user code never runs under a lock of the pool's.
//!
//! Each test runs in a process of its own: what goes wrong aborts it, or sets the process's panic hook.

use std::cell::RefCell;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::thread;
use std::time::{Duration, Instant};

use threadline_pool::sync::Queue;
use threadline_pool::{JoinError, OnDrop, Policy, Task, ThreadPool, as_completed};

use super::{Blocked, LONG, wait_for};

/// Runs a test again in a process of its own.
fn alone(name: &str, test: fn()) {
    const ALONE: &str = "THREADLINE_POOL_TEST_ALONE";
    let name = format!("panics::{name}");
    if std::env::var(ALONE).is_ok_and(|wanted| wanted == name) {
        return test();
    }
    let program = std::env::current_exe().expect("the test's program");
    let mut child = Command::new(program)
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, &name)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let read = |mut pipe: Box<dyn std::io::Read + Send>| {
        thread::spawn(move || {
            let mut text = Vec::new();
            pipe.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
        })
    };
    let (out, err) = (read(Box::new(out)), read(Box::new(err)));
    let deadline = Instant::now() + 2 * LONG;
    let status = loop {
        match child.try_wait().expect("a child") {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => {
                child.kill().expect("a child");
                child.wait().expect("a child");
                break None;
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = |pipe: thread::JoinHandle<std::io::Result<String>>| {
        pipe.join().expect("no panic").expect("a pipe")
    };
    let (out, err) = (text(out), text(err));
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{out}\n{err}");
    assert!(out.contains("1 passed"), "the test did not run:\n{out}");
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPool::builder().threads_max(threads).build().expect("a pool")
}

/// Panics when it is dropped, and throws another one of its kind.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Bomb);
    }
}

/// Counts its drops, and then does as a bomb.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic_any(Bomb);
    }
}

fn counted() -> (Counted, Arc<AtomicUsize>) {
    let drops = Arc::new(AtomicUsize::new(0));
    (Counted(Arc::clone(&drops)), drops)
}

/// Drops a value while a panic unwinds, where a second one would abort the process.
fn drop_unwinding<T>(value: T) {
    let panic = catch_unwind(AssertUnwindSafe(move || {
        let _value = value;
        panic!("on purpose");
    }));
    let payload = panic.expect_err("it panics");
    assert_eq!(payload.downcast_ref(), Some(&"on purpose"), "the first panic goes on");
}

/// What a scope threw; another bomb may be in it.
fn thrown(code: impl FnOnce()) -> Option<&'static str> {
    let payload = catch_unwind(AssertUnwindSafe(code)).expect_err("it panics");
    let message = payload.downcast_ref().copied();
    std::mem::forget(payload);
    message
}

#[test]
fn the_first_task_may_be_spawned_while_a_panic_unwinds() {
    struct Spawns(ThreadPool);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let task = self.0.spawn(|| -> u32 { panic!("within") }).expect("room");
            let Err(JoinError::Panicked(panic)) = task.join() else { panic!("it panicked") };
            assert_eq!((panic.message(), panic.location()), ("within", None));
            assert_eq!(self.0.spawn(|| 7).expect("room").join().expect("returned"), 7);
        }
    }
    alone("the_first_task_may_be_spawned_while_a_panic_unwinds", || {
        let pool = pool(1);
        drop_unwinding(Spawns(pool.clone()));
        // From now on places are known.
        let task = pool.spawn(|| panic!("on purpose")).expect("room");
        let Err(JoinError::Panicked(panic)) = task.join() else { panic!("it panicked") };
        assert!(panic.location().expect("known").contains("panics.rs"));
    });
}

thread_local! {
    static AT_EXIT: RefCell<Option<AtExit>> = const { RefCell::new(None) };
}

/// Does what destructors may do, after those of the pool's own thread-locals.
struct AtExit {
    pool: ThreadPool,
    done: mpsc::Sender<()>,
}

impl Drop for AtExit {
    fn drop(&mut self) {
        catch_unwind(|| panic!("contained")).expect_err("it panics");
        // With no other thread free, the job is run here.
        let task = self.pool.spawn(|| panic!("contained, too")).expect("room");
        let error = task.join().expect_err("it panicked");
        assert!(error.to_string().contains("contained, too"));
        let ran = AtomicUsize::new(0);
        self.pool.scope(|scope| scope.spawn(|_| _ = ran.fetch_add(1, Ordering::SeqCst)));
        assert_eq!(ran.into_inner(), 1);
        self.pool.submit(|| panic!("contained, as well")).expect("room");
        self.done.send(()).expect("the test listens");
    }
}

#[test]
fn a_destructor_of_a_thread_local_may_panic_within_and_use_a_pool() {
    alone("a_destructor_of_a_thread_local_may_panic_within_and_use_a_pool", || {
        let (done, is_done) = mpsc::channel();
        let builder = ThreadPool::builder().threads_max(1).queue_len_max(1);
        let busy = builder.when_full(Policy::CallerRuns).build().expect("a pool");
        let stuck = Blocked::running(&busy);
        for (place, other) in [(0, pool(1)), (1, busy)] {
            let ended = pool(1);
            let done = done.clone();
            // Before any thread-local of the pool's is used on this thread, and after.
            let at_exit = move || {
                let at_exit = AtExit { pool: other, done };
                AT_EXIT.with_borrow_mut(|slot| *slot = Some(at_exit));
            };
            if place == 0 {
                ended.submit(at_exit).expect("room");
                ended.spawn(|| panic!("on purpose")).expect("room").join().expect_err("panicked");
            } else {
                ended.spawn(|| panic!("on purpose")).expect("room").join().expect_err("panicked");
                ended.submit(at_exit).expect("room");
            }
            assert!(ended.shutdown(LONG));
            is_done.recv_timeout(LONG).expect("the destructor has run");
        }
        stuck.release();
    });
}

#[test]
fn payloads_of_a_scope_may_panic_when_they_are_dropped() {
    alone("payloads_of_a_scope_may_panic_when_they_are_dropped", || {
        for threads in [1, 3] {
            let pool = pool(threads);
            // Several jobs, and the body, and what the body returned.
            let message = thrown(|| {
                pool.scope(|scope| {
                    let (ended, has_ended) = mpsc::channel::<()>();
                    let first = pool.stats().completed + 1;
                    scope.spawn(move |_| {
                        let _ended = ended;
                        panic!("the first");
                    });
                    has_ended.recv().expect_err("it unwinds");
                    wait_for("it has ended", || pool.stats().completed >= first);
                    (0..5).for_each(|_| scope.spawn(|_| panic_any(Bomb)));
                    panic_any(Bomb);
                });
            });
            assert_eq!(message, Some("the first"));
            let message = thrown(|| {
                std::mem::forget(pool.scope(|scope| {
                    scope.spawn(|_| panic!("a job"));
                    Bomb
                }));
            });
            assert_eq!(message, Some("a job"));
            // What a job captured goes with it.
            let (bomb, drops) = counted();
            let message = thrown(|| {
                pool.scope(|scope| {
                    scope.spawn(move |_| {
                        let _bomb = bomb;
                    });
                });
            });
            assert_eq!((message, drops.load(Ordering::SeqCst)), (None, 1));
            assert_eq!(pool.spawn(|| 1).expect("room").join().expect("returned"), 1);
        }
    });
}

#[test]
fn captures_of_jobs_that_never_run_may_panic_when_they_are_dropped() {
    alone("captures_of_jobs_that_never_run_may_panic_when_they_are_dropped", || {
        let all = Arc::new(AtomicUsize::new(0));
        let job = || {
            let bomb = Counted(Arc::clone(&all));
            move || {
                let _bomb = bomb;
                unreachable!("it never runs");
            }
        };
        let pool = || {
            let builder = ThreadPool::builder().threads_max(1).queue_len_max(2);
            let builder = builder.when_full(Policy::DropOldest).on_drop(OnDrop::Cancel);
            let pool = builder.build().expect("a pool");
            let stuck = Blocked::running(&pool);
            (pool, stuck)
        };
        // Displaced, while a panic unwinds and while not; cancelled with the last handle, and by closing.
        let (full, stuck) = pool();
        full.submit(job()).expect("room");
        drop(full.spawn(job()).expect("room"));
        struct Submits(ThreadPool);
        impl Drop for Submits {
            fn drop(&mut self) {
                self.0.submit(|| ()).expect("it takes another one's place");
            }
        }
        drop_unwinding(Submits(full.clone()));
        full.submit(|| ()).expect("it takes another one's place");
        assert_eq!(all.load(Ordering::SeqCst), 2);
        stuck.release();

        let (dropped, stuck) = pool();
        dropped.submit(job()).expect("room");
        drop(dropped.spawn(job()).expect("room"));
        drop_unwinding(dropped);
        assert_eq!(all.load(Ordering::SeqCst), 4);
        stuck.release();

        let (closed, stuck) = pool();
        closed.submit_essential(job()).expect("room");
        drop(closed.spawn(job()).expect("room"));
        assert!(!closed.shutdown_now(Duration::ZERO));
        assert_eq!(all.load(Ordering::SeqCst), 6);
        stuck.release();

        // Cancelled by itself, with a callback.
        let (cancelled, stuck) = pool();
        let task = cancelled.spawn(job()).expect("room");
        task.on_done(|_| panic_any(Bomb));
        struct Cancels<T>(Task<T>);
        impl<T> Drop for Cancels<T> {
            fn drop(&mut self) {
                assert!(self.0.cancel());
            }
        }
        drop_unwinding(Cancels(task));
        let task = cancelled.spawn(job()).expect("room");
        assert!(task.cancel());
        assert_eq!(all.load(Ordering::SeqCst), 8);
        drop_unwinding(task);
        stuck.release();
    });
}

#[test]
fn results_that_nobody_takes_may_panic_when_they_are_dropped() {
    alone("results_that_nobody_takes_may_panic_when_they_are_dropped", || {
        let pool = pool(1);
        // Dropped by the pool's thread, which goes on.
        let (bomb, drops) = counted();
        drop(pool.spawn(move || bomb).expect("room"));
        wait_for("it is dropped", || drops.load(Ordering::SeqCst) == 1);
        // By the task's holder, while a panic unwinds and while not.
        for unwinding in [false, true] {
            let (bomb, drops) = counted();
            let task = pool.spawn(move || bomb).expect("room");
            assert!(task.wait_timeout(LONG));
            // The pool's side of the task is gone, too.
            assert_eq!(pool.spawn(|| 1).expect("room").join().expect("returned"), 1);
            if unwinding {
                drop_unwinding(task)
            } else {
                drop(task)
            }
            assert_eq!(drops.load(Ordering::SeqCst), 1);
        }
        // What was thrown, in an error that is dropped by `unwrap`, and in a task.
        let task = pool.spawn(|| panic_any(Bomb)).expect("room");
        let error = catch_unwind(AssertUnwindSafe(|| task.join().expect("it returned")));
        assert!(error.expect_err("it panicked").downcast_ref::<String>().is_some());
        let task = pool.spawn(|| panic_any(Bomb)).expect("room");
        assert!(task.wait_timeout(LONG));
        drop_unwinding(task);
        assert_eq!(pool.spawn(|| 1).expect("room").join().expect("returned"), 1);
        assert_eq!(pool.stats().threads_peak, 1, "the thread went on");
    });
}

#[test]
fn iterators_over_results_may_be_dropped_while_a_panic_unwinds() {
    alone("iterators_over_results_may_be_dropped_while_a_panic_unwinds", || {
        let drops = Arc::new(AtomicUsize::new(0));
        let result = |n: usize| {
            let bomb = Counted(Arc::clone(&drops));
            move || (n, bomb)
        };
        let pool = pool(2);
        let tasks: Vec<_> = (0..4).map(|n| pool.spawn(result(n)).expect("room")).collect();
        let mut completed = as_completed(tasks);
        std::mem::forget(completed.next().expect("four").expect("returned"));
        drop_unwinding(completed);
        wait_for("the others are dropped", || drops.load(Ordering::SeqCst) == 3);
        // Computed on the pool, and right here.
        for queue_len_max in [8, 0] {
            drops.store(0, Ordering::SeqCst);
            let builder = ThreadPool::builder().threads_max(1).queue_len_max(queue_len_max);
            let pool = builder.build().expect("a pool");
            let stuck = (queue_len_max == 0).then(|| Blocked::running(&pool));
            let drops_in_map = Arc::clone(&drops);
            let mut mapped = pool.map(0..8, move |_| Counted(Arc::clone(&drops_in_map)));
            mapped = mapped.in_flight_max(4);
            std::mem::forget(mapped.next().expect("eight").expect("returned"));
            drop_unwinding(mapped);
            assert!(stuck.is_some() || pool.shutdown(LONG));
            // Of three, those on the pool may not have begun.
            assert!(stuck.is_none() || drops.load(Ordering::SeqCst) == 3);
            drop(stuck);
        }
    });
}

#[test]
fn hooks_and_callbacks_may_panic_with_anything_and_captures_of_hooks_when_they_are_dropped() {
    alone(
        "hooks_and_callbacks_may_panic_with_anything_and_captures_of_hooks_when_they_are_dropped",
        || {
            let (start, starts) = counted();
            let (stop, stops) = counted();
            let builder = ThreadPool::builder()
                .threads_max(1)
                .on_thread_start(move || {
                    let _captured = &start;
                    panic_any(Bomb);
                })
                .on_thread_stop(move || {
                    let _captured = &stop;
                    panic_any(Bomb);
                });
            let pool = builder.clone().build().expect("a pool");
            let task = pool.spawn(|| ()).expect("room");
            task.on_done(|_| panic_any(Bomb));
            task.on_done(|_| panic_any(Bomb));
            task.join().expect("returned");
            assert!(pool.shutdown(LONG));
            assert_eq!(pool.stats().hook_panics, 2);
            // Either the thread or the test holds the last of them.
            drop_unwinding((builder, pool));
            let both = || starts.load(Ordering::SeqCst) + stops.load(Ordering::SeqCst);
            wait_for("they are dropped", || both() == 2);
            // A hook in place of another, and one of a pool that is not built.
            let (bomb, drops) = counted();
            let builder = ThreadPool::builder().on_thread_start(move || {
                let _captured = &bomb;
            });
            drop_unwinding(builder.on_thread_start(|| ()));
            assert_eq!(drops.load(Ordering::SeqCst), 1);
        },
    );
}

/// A waker of which every step is user code: each does what `step` says.
struct Steps {
    step: Box<dyn Fn(&str) + Send + Sync>,
}

/// As `Waker::from`, but the clone and the drop are user code as well, which no safe code can have.
#[allow(unsafe_code)]
fn waker(step: impl Fn(&str) + Send + Sync + 'static) -> Waker {
    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: `data` is from `Arc::into_raw`, and the waker keeps its count until it is dropped.
        let steps = unsafe { ManuallyDrop::new(Arc::from_raw(data.cast::<Steps>())) };
        (steps.step)("clone");
        RawWaker::new(Arc::into_raw(Arc::clone(&steps)).cast(), &VTABLE)
    }
    unsafe fn wake(data: *const ()) {
        // SAFETY: as in `clone`; this consumes the waker.
        let steps = unsafe { Arc::from_raw(data.cast::<Steps>()) };
        (steps.step)("wake");
    }
    unsafe fn wake_by_ref(data: *const ()) {
        // SAFETY: as in `clone`.
        let steps = unsafe { ManuallyDrop::new(Arc::from_raw(data.cast::<Steps>())) };
        (steps.step)("wake");
    }
    unsafe fn release(data: *const ()) {
        // SAFETY: as in `clone`; this consumes the waker.
        let steps = unsafe { Arc::from_raw(data.cast::<Steps>()) };
        (steps.step)("drop");
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);
    let data = Arc::into_raw(Arc::new(Steps { step: Box::new(step) })).cast();
    // SAFETY: the four functions are those of an `Arc`, which `data` is.
    unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) }
}

fn poll<T>(task: &mut Task<T>, waker: &Waker) -> Poll<Result<T, JoinError>> {
    Pin::new(task).poll(&mut Context::from_waker(waker))
}

#[test]
fn a_waker_may_wait_for_the_end_of_the_job_while_it_is_cloned() {
    alone("a_waker_may_wait_for_the_end_of_the_job_while_it_is_cloned", || {
        let pool = pool(1);
        let stuck = Blocked::running(&pool);
        let mut task = pool.spawn(|| 7).expect("room");
        let (ended, has_ended) = mpsc::channel();
        task.on_done(move |how| ended.send(how).expect("the waker listens"));
        let stuck = Mutex::new(Some(stuck));
        let has_ended = Mutex::new(has_ended);
        let waiting = waker(move |step| {
            if step == "clone" {
                drop(stuck.lock().expect("lock").take());
                has_ended.lock().expect("lock").recv_timeout(LONG).expect("the job ends meanwhile");
            }
        });
        assert!(matches!(poll(&mut task, &waiting), Poll::Ready(Ok(7))));
    });
}

#[test]
fn a_waker_may_panic_in_every_step() {
    alone("a_waker_may_panic_in_every_step", || {
        let pool = pool(1);
        let fails_in = |wanted: &'static str| {
            waker(move |step| {
                if step == wanted {
                    panic_any(Bomb);
                }
            })
        };
        let [clone, wake, dropped] = ["clone", "wake", "drop"].map(fails_in);
        let stuck = Blocked::running(&pool);
        let mut task = pool.spawn(|| 7).expect("room");
        assert_eq!(thrown(|| _ = poll(&mut task, &clone)), None);
        assert!(poll(&mut task, &dropped).is_pending());
        // The one before is dropped here, and panics.
        assert!(poll(&mut task, &wake).is_pending());
        stuck.release();
        assert!(task.wait_timeout(LONG));
        assert!(matches!(poll(&mut task, &clone), Poll::Ready(Ok(7))));
        // The pool's thread has woken it, and goes on.
        assert_eq!(pool.spawn(|| 1).expect("room").join().expect("returned"), 1);
        assert_eq!(pool.stats().threads_peak, 1);
        // A waker that is left in a task which is dropped.
        let stuck = Blocked::running(&pool);
        let mut task = pool.spawn(|| 7).expect("room");
        assert!(poll(&mut task, &dropped).is_pending());
        drop_unwinding(task);
        stuck.release();
        assert!(pool.shutdown(LONG));
        std::mem::forget(dropped);
    });
}

#[test]
fn items_of_a_queue_may_panic_when_they_are_dropped() {
    alone("items_of_a_queue_may_panic_when_they_are_dropped", || {
        let drops = Arc::new(AtomicUsize::new(0));
        let (key_bomb, key_drops) = counted();
        let by_key = move |_: &Counted| {
            let _captured = &key_bomb;
            0
        };
        for queue in [Queue::fifo(3), Queue::lifo(3), Queue::by_priority(3, by_key)] {
            (0..3).for_each(|_| _ = queue.put(Counted(Arc::clone(&drops))));
            drop_unwinding(queue);
        }
        assert_eq!((drops.load(Ordering::SeqCst), key_drops.load(Ordering::SeqCst)), (9, 1));
    });
}

#[test]
fn the_key_of_a_queue_by_priority_may_use_the_queue_and_panic() {
    alone("the_key_of_a_queue_by_priority_may_use_the_queue_and_panic", || {
        static QUEUE: OnceLock<Queue<i64>> = OnceLock::new();
        let queue = QUEUE.get_or_init(|| {
            Queue::by_priority(4, |item| {
                let queue = QUEUE.get().expect("it is there");
                assert!(*item >= 0, "less than nothing");
                // Puts and takes, too.
                if *item == 3 {
                    queue.put(1).expect("room");
                    assert_eq!(queue.get(), Ok(2));
                }
                item + queue.len() as i64
            })
        });
        queue.put(2).expect("room");
        assert_eq!(thrown(|| queue.put(-1).expect("it panics")), Some("less than nothing"));
        queue.put(3).expect("room");
        assert_eq!((queue.len(), queue.get(), queue.get()), (2, Ok(3), Ok(1)));
        (0..3).for_each(|_| queue.task_done());
        assert!(queue.join_timeout(Duration::ZERO), "three were put, and the count is right");
    });
}

#[test]
fn the_panic_hook_may_use_a_queue_that_it_hears_of() {
    alone("the_panic_hook_may_use_a_queue_that_it_hears_of", || {
        static LEN: AtomicUsize = AtomicUsize::new(usize::MAX);
        let queue = Arc::new(Queue::<u32>::fifo(1));
        let asked = Arc::clone(&queue);
        std::panic::set_hook(Box::new(move |_| LEN.store(asked.len(), Ordering::SeqCst)));
        catch_unwind(AssertUnwindSafe(|| queue.task_done())).expect_err("nothing was put");
        assert_eq!(LEN.load(Ordering::SeqCst), 0);
    });
}
