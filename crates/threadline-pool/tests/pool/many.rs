//! Operations over many tasks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadline_pool::{Task, ThreadPool, Until, as_completed, set_hook, wait};

use crate::Blocked;

fn pool(threads: usize) -> ThreadPool {
    ThreadPool::builder().threads_max(threads).build().expect("a pool")
}

#[test]
fn map_keeps_the_order_and_the_bound() {
    let pool = pool(3);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let items = (0..200).inspect(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let (counter, peak) = (Arc::clone(&now), Arc::clone(&most));
    let mut results = pool
        .map(items, move |n: usize| {
            peak.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            counter.fetch_sub(1, Ordering::SeqCst);
            n * n
        })
        .in_flight_max(5);
    assert_eq!(taken.load(Ordering::SeqCst), 0, "nothing before the first is asked for");
    assert_eq!(results.next().expect("a result").expect("returned"), 0);
    assert!(taken.load(Ordering::SeqCst) <= 5, "lazily fed");
    let rest: Vec<_> = results.map(|result| result.expect("returned")).collect();
    assert_eq!(rest, (1..200).map(|n| n * n).collect::<Vec<_>>());
    assert!(most.load(Ordering::SeqCst) <= 3);
}

#[test]
fn a_panic_is_one_item_of_a_map() {
    let pool = pool(2);
    let results: Vec<_> = pool
        .map(0..3, |n| {
            assert_ne!(n, 1, "on purpose");
            n
        })
        .map(|result| result.map_err(|error| error.to_string()))
        .collect();
    assert_eq!((&results[0], &results[2]), (&Ok(0), &Ok(2)));
    assert!(results[1].as_ref().expect_err("panicked").contains("on purpose"));
}

#[test]
fn a_map_that_is_dropped_cancels_what_has_not_begun() {
    let pool = pool(1);
    let (gate, waiting) = mpsc::channel::<()>();
    let waiting = std::sync::Mutex::new(waiting);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let mut results = pool
        .map(0..10, move |n: u32| {
            counted.fetch_add(1, Ordering::SeqCst);
            if n == 1 {
                let _ = waiting.lock().expect("lock").recv();
            }
        })
        .in_flight_max(10);
    results.next().expect("the first").expect("returned");
    drop(results);
    drop(gate);
    assert!(pool.shutdown(Duration::from_secs(30)));
    assert!(runs.load(Ordering::SeqCst) <= 2);
}

#[test]
fn a_map_on_a_full_pool_works_here() {
    let pool = ThreadPool::builder().threads_max(1).queue_len_max(0).build().expect("a pool");
    let (gate, waiting) = mpsc::channel::<()>();
    pool.try_submit(move || {
        let _ = waiting.recv();
    })
    .expect("room");
    let here = std::thread::current().id();
    let mut threads = pool.map(0..3, move |_| std::thread::current().id());
    assert!(threads.all(|id| id.expect("returned") == here));
    drop(gate);
}

#[test]
fn tasks_come_in_the_order_of_their_ends() {
    let pool = pool(3);
    let gates: Vec<_> = (0..3).map(|_| mpsc::channel::<()>()).collect();
    let (openers, waits): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
    let tasks: Vec<_> = waits
        .into_iter()
        .enumerate()
        .map(|(n, wait)| {
            pool.spawn(move || {
                let _ = wait.recv();
                n
            })
            .expect("room")
        })
        .collect();
    let mut completed = as_completed(tasks);
    assert!(completed.next_timeout(Duration::from_millis(1)).is_none());
    assert_eq!(completed.left(), 3);
    let mut openers: Vec<_> = openers.into_iter().map(Some).collect();
    for expected in [2, 0, 1] {
        drop(openers[expected].take());
        assert_eq!(completed.next().expect("one").expect("returned"), expected);
    }
    assert!(completed.next().is_none());
}

#[test]
fn waiting_ends_at_the_first_at_an_error_or_at_all() {
    let pool = pool(3);
    let (gate, waiting) = mpsc::channel::<()>();
    let held = pool
        .spawn(move || {
            let _ = waiting.recv();
        })
        .expect("room");
    let quick = pool.spawn(|| ()).expect("room");
    let fails = pool.spawn(|| panic!("on purpose")).expect("room");
    let tasks = [held, quick];
    let first = wait(&tasks, Until::First, None);
    assert_eq!((first.done, first.pending), (vec![1], vec![0]));
    let timed = wait(&tasks, Until::All, Some(Duration::from_millis(1)));
    assert_eq!((timed.done, timed.pending), (vec![1], vec![0]));
    let [held, quick] = tasks;
    let tasks = [held, quick, fails];
    let failed = wait(&tasks, Until::FirstError, None);
    assert!(failed.done.contains(&2) && failed.pending.contains(&0));
    drop(gate);
    assert_eq!(wait(&tasks, Until::All, None).done, [0, 1, 2]);
}

#[test]
fn a_job_can_wait_for_others_of_its_pool_with_one_thread() {
    let pool = pool(1);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let spawn = |n: u64| inner.spawn(move || n).expect("room");
        let waited = [spawn(1), spawn(2)];
        assert_eq!(wait(&waited, Until::All, None).done, [0, 1]);
        let mapped: u64 = inner.map(0..10_u64, |n| n).map(|n| n.expect("returned")).sum();
        let completed: u64 = as_completed((0..10).map(spawn)).map(|n| n.expect("returned")).sum();
        mapped + completed
    });
    assert_eq!(task.expect("room").join().expect("returned"), 90);
}

/// Within a job on the only thread of a pool: a task that has not begun, and whether its job ran.
fn on_the_only_thread(code: fn(Task<()>, &AtomicUsize)) {
    let pool = pool(1);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let waiting = inner.spawn(move || _ = counted.fetch_add(1, Ordering::SeqCst));
        code(waiting.expect("room"), &runs);
    });
    task.expect("room").join().expect("no panic");
}

const SHORT: Duration = Duration::from_millis(1);

#[test]
fn a_wait_with_a_time_limit_never_runs_a_job() {
    on_the_only_thread(|task, runs| {
        let tasks = [task];
        for until in [Until::First, Until::All, Until::FirstError] {
            assert_eq!(wait(&tasks, until, Some(SHORT)).pending, [0]);
        }
        assert_eq!(runs.load(Ordering::SeqCst), 0);
        assert_eq!(wait(&tasks, Until::All, None).done, [0]);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    });
    on_the_only_thread(|task, runs| {
        let mut results = as_completed([task]);
        assert!(results.next_timeout(SHORT).is_none());
        assert_eq!((runs.load(Ordering::SeqCst), results.left()), (0, 1));
        results.next().expect("the only one").expect("it returned");
        assert_eq!((runs.load(Ordering::SeqCst), results.left()), (1, 0));
        assert!(results.next_timeout(SHORT).is_none());
    });
    on_the_only_thread(|task, runs| {
        assert!(!task.wait_timeout(SHORT));
        let task = task.join_timeout(SHORT).expect_err("it has not begun");
        assert_eq!(runs.load(Ordering::SeqCst), 0);
        task.join().expect("it returned");
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_result_that_comes_in_time_is_the_next_one() {
    let pool = pool(2);
    let mut results = as_completed([1, 2].map(|n| pool.spawn(move || n).expect("room")));
    let long = Duration::from_secs(30);
    let mut both =
        [(); 2].map(|()| results.next_timeout(long).expect("in time").expect("returned"));
    both.sort_unstable();
    assert_eq!((both, results.left()), ([1, 2], 0));
    // None is left: this does not wait.
    assert!(results.next_timeout(Duration::MAX).is_none());
}

#[test]
fn a_map_draws_a_bounded_number_of_items_ahead_whatever_the_pool() {
    for (threads_max, ahead) in [(1, 2), (3, 6), (64, 128), (10_000, 128), (usize::MAX, 128)] {
        let pool = ThreadPool::builder().threads_max(threads_max).build().expect("a pool");
        let drawn = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&drawn);
        let items = (0..).inspect(move |_: &u32| _ = counted.fetch_add(1, Ordering::SeqCst));
        let mut results = pool.map(items, |n| n);
        assert_eq!(results.next().expect("endless").expect("returned"), 0);
        assert_eq!(drawn.load(Ordering::SeqCst), ahead, "{threads_max} threads at most");
        assert_eq!(results.next().expect("endless").expect("returned"), 1);
        assert_eq!(drawn.load(Ordering::SeqCst), ahead + 1);
    }
}

#[test]
fn a_map_tells_how_many_are_left() {
    let pool = pool(2);
    let mut results = pool.map(0..10, |n: u32| n).in_flight_max(3);
    assert_eq!(results.size_hint(), (10, Some(10)));
    assert!(results.next().is_some());
    assert_eq!(results.size_hint(), (9, Some(9)));
    assert_eq!(results.by_ref().count(), 9);
    assert_eq!(pool.map(0..4, |n: u32| n).in_flight_max(0).count(), 4, "at least 1");
}

#[test]
fn a_map_that_is_dropped_leaves_the_queue() {
    let pool = pool(1);
    let stuck = Blocked::running(&pool);
    let builder = ThreadPool::builder().threads_max(1).queue_len_max(4);
    let other = builder.build().expect("a pool");
    let gate = Blocked::running(&other);
    // The first item is waited for elsewhere, so that the others stay in flight.
    let mut results = other.map(0..4, |n: u32| n).in_flight_max(4);
    std::thread::scope(|threads| {
        let first = threads.spawn(|| results.next());
        crate::wait_for("all are in flight", || other.stats().queue_len == 4);
        gate.open();
        first.join().expect("no panic").expect("an item").expect("returned");
    });
    drop(results);
    assert_eq!(other.stats().queue_len, 0);
    stuck.release();
}

#[test]
fn waits_for_tasks_say_that_they_block() {
    static GATE: Mutex<Option<mpsc::Sender<()>>> = Mutex::new(None);
    let pool = pool(1);
    let blocks: [fn(Task<()>); 4] = [
        |task| task.join().expect("returned"),
        |task| as_completed([task]).next().expect("the only one").expect("returned"),
        |task| assert_eq!(wait(&[task], Until::All, None).done, [0]),
        |task| assert!(task.wait_timeout(Duration::from_secs(30))),
    ];
    for block in blocks {
        let (gate, waiting) = mpsc::channel::<()>();
        *GATE.lock().expect("lock") = Some(gate);
        let task = pool.spawn(move || _ = waiting.recv()).expect("room");
        // The job ends only when the thread that waits for it says so.
        set_hook(Some(|| drop(GATE.lock().expect("lock").take())));
        block(task);
        set_hook(None);
    }
}
