//! Operations over many tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use threadline_pool::{ThreadPool, Until, as_completed, wait};

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
