//! The races of `README.md` under loom: tasks without a pool, their two sides on two threads.

use loom::sync::Arc;
use loom::thread;

use super::cell::{Cell, Ended, Joined, Work};
use super::{JoinError, Task};
use crate::primitive::{Mutex, lock};

struct Answer(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl Work for Answer {
    type Output = u32;

    fn work(self) -> u32 {
        // Not loom's: only counted, read when all threads have ended.
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        42
    }
}

type Runs = std::sync::Arc<std::sync::atomic::AtomicUsize>;

fn task() -> (std::sync::Arc<Cell<Answer>>, Runs) {
    let runs = Runs::default();
    (std::sync::Arc::new(Cell::new(Answer(runs.clone()), None)), runs)
}

fn count(runs: &Runs) -> usize {
    runs.load(std::sync::atomic::Ordering::SeqCst)
}

#[test]
fn cancel_and_begin_agree_on_who_was_first() {
    loom::model(|| {
        let (cell, runs) = task();
        let worker = {
            let cell = cell.clone();
            thread::spawn(move || cell.run())
        };
        let cancelled = cell.cancel();
        let ran = worker.join().expect("worker");
        assert_ne!(cancelled, ran);
        assert_eq!(count(&runs), usize::from(ran));
        let result = cell.wait_result(None).expect("ended");
        assert_eq!(result.is_ok(), ran);
    });
}

#[test]
fn a_join_sees_the_end_whenever_it_comes() {
    loom::model(|| {
        let (cell, runs) = task();
        let worker = {
            let cell = cell.clone();
            thread::spawn(move || cell.run())
        };
        assert!(matches!(cell.wait_result(None), Some(Ok(42))));
        assert!(worker.join().expect("worker"));
        assert_eq!(count(&runs), 1);
    });
}

#[test]
fn a_joiner_that_helps_and_a_worker_run_it_once() {
    loom::model(|| {
        let (cell, runs) = task();
        let worker = {
            let cell = cell.clone();
            thread::spawn(move || cell.run())
        };
        cell.help(&mut || ());
        assert!(matches!(cell.wait_result(None), Some(Ok(42))));
        worker.join().expect("worker");
        assert_eq!(count(&runs), 1);
    });
}

#[test]
fn a_wait_that_times_out_leaves_the_result_where_it_is() {
    loom::model(|| {
        let (cell, _runs) = task();
        let worker = {
            let cell = cell.clone();
            thread::spawn(move || cell.run())
        };
        // In the model every deadline passes at once.
        let early = cell.wait_result(Some(std::time::Instant::now()));
        worker.join().expect("worker");
        match early {
            Some(result) => assert!(matches!(result, Ok(42))),
            None => assert!(matches!(cell.wait_result(None), Some(Ok(42)))),
        }
    });
}

#[test]
fn a_handle_that_is_dropped_lets_the_job_run() {
    loom::model(|| {
        let (cell, runs) = task();
        let handle = Task::new(cell.clone() as std::sync::Arc<dyn Joined<u32>>, None);
        let worker = thread::spawn(move || cell.run());
        drop(handle);
        assert!(worker.join().expect("worker"));
        assert_eq!(count(&runs), 1);
    });
}

#[test]
fn a_callback_is_called_once_whenever_it_is_left() {
    loom::model(|| {
        let (cell, _runs) = task();
        let ends = Arc::new(Mutex::new(Vec::new()));
        let worker = {
            let cell = cell.clone();
            thread::spawn(move || cell.run())
        };
        let noted = Arc::clone(&ends);
        cell.on_done(Box::new(move |how| lock(&noted).push(how)));
        worker.join().expect("worker");
        assert_eq!(*lock(&ends), [Ended::Returned]);
    });
}

#[test]
fn a_job_that_is_dropped_unrun_ends_as_cancelled() {
    loom::model(|| {
        let (cell, runs) = task();
        let pool = {
            let cell = cell.clone();
            thread::spawn(move || cell.abandon())
        };
        let result = cell.wait_result(None).expect("ended");
        assert!(matches!(result, Err(JoinError::Cancelled)));
        pool.join().expect("pool");
        assert_eq!(count(&runs), 0);
    });
}
