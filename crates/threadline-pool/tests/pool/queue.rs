//! `sync::Queue`: its bounds, who is woken, and the count of what is not done.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use threadline_pool::sync::{PutError, Queue};

use crate::LONG;

const SHORT: Duration = Duration::from_millis(1);

#[test]
fn each_kind_of_queue_has_its_bound() {
    type Make = fn(usize) -> Queue<u32>;
    let makes: [Make; 3] =
        [Queue::fifo, Queue::lifo, |len_max| Queue::by_priority(len_max, |n| i64::from(*n))];
    for make in makes {
        for (asked, len_max) in [(0, 1), (1, 1), (3, 3)] {
            let queue = make(asked);
            assert_eq!((queue.len_max(), queue.len(), queue.is_empty()), (len_max, 0, true));
            for n in 0..len_max {
                queue.try_put(7).expect("room");
                assert_eq!((queue.len(), queue.is_empty()), (n + 1, false));
            }
            assert!(matches!(queue.try_put(8), Err(PutError::Full(8))));
            assert!(matches!(queue.put_timeout(9, SHORT), Err(PutError::TimedOut(9))));
            assert_eq!(queue.len(), len_max);
            assert_eq!(queue.get(), Ok(7));
            queue.try_put(7).expect("room again");
            let shown = format!("{queue:?}");
            assert!(shown.contains(&format!("len: {len_max}")), "{shown}");
        }
    }
}

#[test]
fn a_putter_that_waits_goes_on_when_an_item_is_taken_and_a_getter_when_one_is_put() {
    for queue in [Queue::lifo(1), Queue::fifo(1), Queue::by_priority(1, |n| *n)] {
        queue.put(1).expect("room");
        let (putting, is_putting) = mpsc::channel();
        let (got, has_got) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                putting.send(()).expect("the test listens");
                queue.put(2).expect("open");
            });
            is_putting.recv().expect("the thread has begun");
            assert_eq!(queue.get_timeout(LONG), Ok(1));
            assert_eq!(queue.get_timeout(LONG), Ok(2));
            let queue = &queue;
            scope.spawn(move || got.send(queue.get()).expect("the test listens"));
            queue.put_timeout(3, LONG).expect("room");
            assert_eq!(has_got.recv_timeout(LONG), Ok(Ok(3)));
        });
    }
}

#[test]
fn each_error_of_a_queue_says_what_is_wrong() {
    let queue = Queue::lifo(1);
    queue.put(1).expect("room");
    let full = queue.try_put(2).expect_err("full");
    assert_eq!((full.to_string(), full.into_inner()), ("the queue is full".into(), 2));
    let late = queue.put_timeout(3, SHORT).expect_err("full");
    assert_eq!(
        (late.to_string(), late.into_inner()),
        ("the queue stayed full for too long".into(), 3)
    );
    assert_eq!(queue.get(), Ok(1));
    assert_eq!(queue.try_get().expect_err("empty").to_string(), "the queue is empty");
    let late = queue.get_timeout(SHORT).expect_err("empty");
    assert_eq!(late.to_string(), "the queue stayed empty for too long");
    queue.close();
    let closed = queue.put(4).expect_err("closed");
    assert_eq!(format!("{closed} {closed:?}"), "the queue is closed PutError(the queue is closed)");
    assert_eq!(queue.get().expect_err("closed").to_string(), "the queue is closed and empty");
}

#[test]
fn who_joins_a_queue_is_woken_by_the_last_that_is_done_and_not_before() {
    let queue = Queue::fifo(2);
    // Who waits already is woken by the last that is done, and not before.
    queue.put(1).expect("room");
    queue.put(2).expect("room");
    let (joining, is_joining) = mpsc::channel();
    let done = AtomicU32::new(0);
    thread::scope(|scope| {
        let joiner = scope.spawn(|| {
            joining.send(()).expect("the test listens");
            queue.join();
            done.load(Ordering::SeqCst)
        });
        is_joining.recv().expect("the thread has begun");
        for _ in 0..2 {
            queue.get().expect("there");
            done.fetch_add(1, Ordering::SeqCst);
            queue.task_done();
        }
        assert_eq!(joiner.join().expect("joiner"), 2);
    });
}

#[test]
fn task_done_once_too_often_leaves_the_count_right() {
    let queue = Queue::fifo(2);
    catch_unwind(AssertUnwindSafe(|| queue.task_done())).expect_err("nothing was put");
    queue.put(1).expect("room");
    assert!(!queue.join_timeout(Duration::ZERO));
    queue.task_done();
    assert!(queue.join_timeout(Duration::ZERO));
}
