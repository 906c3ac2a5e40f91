//! Synchronisation: every primitive, its time limits, and that a wait says when it blocks.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use threadline_pool::set_hook;
use threadline_pool::sync::{
    AcquireError, Barrier, BarrierBroken, Event, GetError, Latch, Permit, PutError, Queue,
    RateLimiter, Semaphore,
};

use crate::{LONG, wait_for};

const SHORT: Duration = Duration::from_millis(1);

thread_local! {
    /// What this thread does within its next wait.
    static STOP: Cell<Option<Box<dyn FnOnce()>>> = const { Cell::new(None) };
    static BLOCKS: Cell<u32> = const { Cell::new(0) };
}

/// How often the code says that it is about to block.
fn blocks<R>(code: impl FnOnce() -> R) -> u32 {
    BLOCKS.set(0);
    set_hook(Some(|| BLOCKS.set(BLOCKS.get() + 1)));
    let _ = code();
    set_hook(None);
    BLOCKS.get()
}

#[test]
fn an_event_holds_until_it_is_cleared() {
    let event = Arc::new(Event::new());
    assert!(!event.wait_timeout(SHORT));
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let event = Arc::clone(&event);
            thread::spawn(move || event.wait_timeout(LONG))
        })
        .collect();
    event.set();
    assert!(waiters.into_iter().all(|waiter| waiter.join().expect("waiter")));
    assert!(event.is_set());
    event.wait();
    event.clear();
    assert!(!event.is_set() && !event.wait_timeout(SHORT));
}

/// Each waiter is inside of its wait, and stopped there, when `set` and `clear` come: it learns of both
/// only afterwards.
#[test]
fn a_set_that_is_cleared_at_once_releases_all_that_waited() {
    const WAITERS: usize = 6;
    let event = Arc::new(Event::new());
    let (waiting, all_wait) = mpsc::channel();
    let (released, inbox) = mpsc::channel();
    let both_done = Arc::new(Latch::new(1));
    for number in 0..WAITERS {
        let (event, waiting, released) = (Arc::clone(&event), waiting.clone(), released.clone());
        let both_done = Arc::clone(&both_done);
        thread::spawn(move || {
            let stop = move || {
                waiting.send(()).expect("a listener");
                both_done.wait();
            };
            STOP.set(Some(Box::new(stop)));
            set_hook(Some(|| STOP.take().into_iter().for_each(|stop| stop())));
            let happened = if number % 2 == 0 {
                event.wait();
                true
            } else {
                event.wait_timeout(LONG)
            };
            released.send(happened).expect("a listener");
        });
    }
    (0..WAITERS).for_each(|_| all_wait.recv_timeout(LONG).expect("it waits"));
    event.set();
    event.clear();
    assert!(!event.is_set());
    both_done.count_down();
    for _ in 0..WAITERS {
        assert_eq!(inbox.recv_timeout(LONG), Ok(true));
    }
    assert!(!event.wait_timeout(SHORT), "it is cleared for those that come now");
}

#[test]
fn a_semaphore_lets_so_many_in() {
    let semaphore = Semaphore::new(3);
    let two = semaphore.acquire_many(2).expect("open");
    assert_eq!(semaphore.try_acquire(2).map(drop), Err(AcquireError::Unavailable));
    let one = semaphore.try_acquire(1).expect("free");
    assert_eq!(semaphore.acquire_timeout(1, SHORT).map(drop), Err(AcquireError::TimedOut));
    drop(two);
    assert_eq!(semaphore.available(), 2);
    one.forget();
    assert_eq!(semaphore.available(), 2);
    semaphore.add_permits(5);
    assert_eq!(semaphore.available(), 7);
}

#[test]
fn permits_never_wrap() {
    let add = |semaphore: &Semaphore, count| {
        let added = catch_unwind(AssertUnwindSafe(|| semaphore.add_permits(count)));
        added.map_err(|payload| payload.downcast_ref::<String>().cloned().expect("a message"))
    };
    let semaphore = Semaphore::new(usize::MAX);
    let error = add(&semaphore, 1).expect_err("too many");
    assert!(error.contains("at most usize::MAX permits: 1 more"), "{error}");
    assert_eq!(semaphore.available(), usize::MAX);

    // Those that are taken come back.
    let taken = semaphore.acquire_many(usize::MAX).expect("open");
    assert_eq!((semaphore.available(), add(&semaphore, 1).is_err()), (0, true));
    assert_eq!(semaphore.acquire_timeout(1, SHORT).map(drop), Err(AcquireError::TimedOut));
    drop(taken);
    assert_eq!(semaphore.available(), usize::MAX);

    // Those that are forgotten do not.
    semaphore.try_acquire(3).expect("free").forget();
    add(&semaphore, 3).expect("room for as many as were forgotten");
    assert_eq!((semaphore.available(), add(&semaphore, 1).is_err()), (usize::MAX, true));
    let semaphore = Arc::new(semaphore);
    semaphore.acquire_owned().expect("open").forget();
    assert_eq!((add(&semaphore, 2).is_err(), add(&semaphore, 1)), (true, Ok(())));
}

#[test]
fn a_semaphore_is_fair_to_those_that_want_many() {
    let semaphore = Arc::new(Semaphore::new(2));
    let one = semaphore.acquire().expect("open");
    let (order, came) = mpsc::channel();
    let waiting = |count: usize, order: mpsc::Sender<usize>| {
        let semaphore = Arc::clone(&semaphore);
        thread::spawn(move || {
            let permit = semaphore.acquire_many(count).expect("open");
            order.send(count).expect("heard");
            drop(permit);
        })
    };
    let many = waiting(2, order.clone());
    // It waits: nobody overtakes it, although one permit is free.
    wait_for("the large one waits", || semaphore.try_acquire(1).map(drop).is_err());
    let few = waiting(1, order);
    assert_eq!(semaphore.available(), 1);
    drop(one);
    assert_eq!((came.recv(), came.recv()), (Ok(2), Ok(1)));
    many.join().expect("many");
    few.join().expect("few");
}

#[test]
fn permits_that_are_granted_are_taken_off_and_come_back() {
    let semaphore = Arc::new(Semaphore::new(0));
    let waiter = {
        let semaphore = Arc::clone(&semaphore);
        thread::spawn(move || semaphore.acquire_timeout(3, LONG).map(Permit::forget))
    };
    semaphore.add_permits(2);
    // Until the other one waits, the two are there for anybody.
    wait_for("it waits", || semaphore.try_acquire(1).map(drop).is_err());
    semaphore.add_permits(8);
    assert_eq!(waiter.join().expect("waiter"), Ok(()));
    assert_eq!(semaphore.available(), 7);
    let owned = semaphore.try_acquire_owned().expect("free");
    assert_eq!(semaphore.available(), 6);
    drop(owned);
    assert_eq!(semaphore.available(), 7);
}

#[test]
fn errors_of_a_semaphore_say_what_is_wrong() {
    let said = |error: AcquireError| error.to_string();
    assert_eq!(said(AcquireError::Unavailable), "too few permits are free");
    assert_eq!(said(AcquireError::TimedOut), "not enough permits came free in time");
    assert_eq!(said(AcquireError::Closed), "the semaphore is closed");
}

#[test]
fn who_gives_up_lets_those_behind_go_on() {
    let semaphore = Arc::new(Semaphore::new(1));
    let greedy = {
        let semaphore = Arc::clone(&semaphore);
        let (go, gone) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let _ = gone.recv();
            semaphore.acquire_timeout(5, Duration::from_millis(20)).map(drop)
        });
        (thread, go)
    };
    drop(greedy.1);
    wait_for("it waits", || semaphore.try_acquire(1).map(drop).is_err());
    // Behind one that wants more than there is; free again when that one gives up.
    drop(semaphore.acquire_timeout(1, LONG).expect("in time"));
    assert_eq!(greedy.0.join().expect("greedy"), Err(AcquireError::TimedOut));
}

#[test]
fn a_closed_semaphore_tells_all() {
    let semaphore = Arc::new(Semaphore::new(0));
    let waiter = {
        let semaphore = Arc::clone(&semaphore);
        thread::spawn(move || semaphore.acquire_owned().map(drop))
    };
    semaphore.close();
    assert_eq!(waiter.join().expect("waiter"), Err(AcquireError::Closed));
    assert_eq!(semaphore.try_acquire_owned().map(drop), Err(AcquireError::Closed));
}

#[test]
fn each_kind_of_queue_has_its_order() {
    let drained = |queue: Queue<u32>| {
        for n in [2, 3, 1] {
            queue.put(n).expect("room");
        }
        queue.close();
        queue.iter().collect::<Vec<_>>()
    };
    assert_eq!(drained(Queue::fifo(3)), [2, 3, 1]);
    assert_eq!(drained(Queue::lifo(3)), [1, 3, 2]);
    assert_eq!(drained(Queue::by_priority(3, |n| i64::from(*n))), [3, 2, 1]);
    assert_eq!(drained(Queue::by_priority(3, |n| -i64::from(*n))), [1, 2, 3]);
    assert_eq!(drained(Queue::by_priority(3, |_| 0)), [2, 3, 1], "equal ones keep their order");
}

#[test]
fn a_full_queue_gives_the_item_back() {
    let queue = Queue::fifo(1);
    queue.put("a").expect("room");
    assert!(matches!(queue.try_put("b"), Err(PutError::Full("b"))));
    assert!(matches!(queue.put_timeout("b", SHORT), Err(PutError::TimedOut("b"))));
    assert_eq!((queue.get(), queue.try_get()), (Ok("a"), Err(GetError::Empty)));
    assert_eq!(queue.get_timeout(SHORT), Err(GetError::TimedOut));
    queue.close();
    assert_eq!(queue.put("c").expect_err("closed").into_inner(), "c");
    assert_eq!(queue.get(), Err(GetError::Closed));
}

#[test]
fn producers_and_consumers_lose_nothing() {
    let queue = Arc::new(Queue::fifo(4));
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.iter().inspect(|_| queue.task_done()).sum::<u64>())
        })
        .collect();
    let producers: Vec<_> = (0..3)
        .map(|_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || (1..=1000).for_each(|n| queue.put(n).expect("open")))
        })
        .collect();
    producers.into_iter().for_each(|producer| producer.join().expect("producer"));
    assert!(queue.join_timeout(LONG), "all is done");
    queue.close();
    let sum: u64 = consumers.into_iter().map(|consumer| consumer.join().expect("consumer")).sum();
    assert_eq!(sum, 3 * 500_500);
}

#[test]
fn a_closed_queue_wakes_all_who_wait() {
    let (empty, full) = (Arc::new(Queue::<u32>::fifo(1)), Arc::new(Queue::fifo(1)));
    full.put(1).expect("room");
    let getter = {
        let empty = Arc::clone(&empty);
        thread::spawn(move || empty.get())
    };
    let putter = {
        let full = Arc::clone(&full);
        thread::spawn(move || full.put(2).is_err())
    };
    empty.close();
    full.close();
    assert_eq!(getter.join().expect("getter"), Err(GetError::Closed));
    assert!(putter.join().expect("putter"));
    assert_eq!(full.get(), Ok(1), "what was in it can be taken");
}

#[test]
#[should_panic(expected = "task_done")]
fn task_done_without_a_task_is_a_mistake() {
    Queue::<u32>::fifo(1).task_done();
}

#[test]
fn joining_a_queue_waits_for_what_is_unfinished() {
    let queue = Queue::fifo(2);
    queue.put(1).expect("room");
    queue.get().expect("there");
    assert!(!queue.join_timeout(SHORT), "taken is not done");
    queue.task_done();
    queue.join();
}

#[test]
fn a_latch_opens_once() {
    let latch = Arc::new(Latch::new(2));
    assert!(!latch.wait_timeout(SHORT));
    let waiter = {
        let latch = Arc::clone(&latch);
        thread::spawn(move || latch.wait_timeout(LONG))
    };
    latch.count_down();
    assert_eq!(latch.count(), 1);
    latch.count_down();
    latch.count_down();
    assert!(waiter.join().expect("waiter") && latch.wait_timeout(SHORT));
    assert_eq!(latch.count(), 0);
}

#[test]
fn a_barrier_is_passed_again_and_again_with_one_leader() {
    let barrier = Barrier::new(3);
    let leaders: usize = thread::scope(|scope| {
        let steps = || (0..50).filter(|_| barrier.wait().expect("whole").is_leader()).count();
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(steps)).collect();
        threads.into_iter().map(|thread| thread.join().expect("thread")).sum()
    });
    assert_eq!(leaders, 50);
}

#[test]
fn a_barrier_breaks_for_all_when_one_gives_up() {
    let barrier = Arc::new(Barrier::new(3));
    let waiter = {
        let barrier = Arc::clone(&barrier);
        thread::spawn(move || barrier.wait())
    };
    assert_eq!(barrier.wait_timeout(SHORT), Err(BarrierBroken));
    assert_eq!(waiter.join().expect("waiter"), Err(BarrierBroken));
    assert_eq!((barrier.is_broken(), barrier.wait()), (true, Err(BarrierBroken)));
    barrier.reset();
    assert!(!barrier.is_broken());
    let passed: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| barrier.wait().is_ok())).collect();
        threads.into_iter().map(|thread| thread.join().expect("thread")).collect()
    });
    assert_eq!(passed, [true; 3]);
}

/// Each waits, for what comes a little later, as long as there is time.
#[test]
fn the_longest_of_all_time_limits_is_no_limit() {
    const NEVER: Duration = Duration::MAX;
    let (event, latch) = (Event::new(), Latch::new(1));
    let (semaphore, barrier) = (Semaphore::new(0), Barrier::new(2));
    let (queue, full) = (Queue::fifo(1), Queue::fifo(1));
    full.put(1).expect("room");
    thread::scope(|scope| {
        scope.spawn(|| assert!(event.wait_timeout(NEVER)));
        scope.spawn(|| assert!(latch.wait_timeout(NEVER)));
        scope.spawn(|| semaphore.acquire_timeout(1, NEVER).expect("a permit").forget());
        scope.spawn(|| barrier.wait_timeout(NEVER).expect("whole"));
        scope.spawn(|| assert_eq!(queue.get_timeout(NEVER), Ok(1)));
        scope.spawn(|| full.put_timeout(2, NEVER).expect("room at last"));
        event.set();
        latch.count_down();
        semaphore.add_permits(1);
        barrier.wait_timeout(NEVER).expect("whole");
        queue.put(1).expect("open");
        assert_eq!((full.get_timeout(NEVER), full.get_timeout(NEVER)), (Ok(1), Ok(2)));
    });
}

#[test]
fn waits_say_that_they_block_and_only_then() {
    let event = Event::new();
    assert_eq!(blocks(|| event.wait_timeout(SHORT)), 1);
    event.set();
    assert_eq!(blocks(|| event.wait()), 0);

    let semaphore = Semaphore::new(1);
    let mut permit = None;
    assert_eq!(blocks(|| permit = semaphore.acquire().ok()), 0);
    assert_eq!(blocks(|| semaphore.acquire_timeout(1, SHORT)), 1);
    drop(permit);

    let queue = Queue::fifo(1);
    assert_eq!(blocks(|| queue.put(1).expect("room")), 0);
    assert_eq!(blocks(|| queue.put_timeout(2, SHORT)), 1);
    assert_eq!(blocks(|| queue.get()), 0);
    assert_eq!(blocks(|| queue.get_timeout(SHORT)), 1);
    assert_eq!(blocks(|| queue.try_get()), 0);
    assert_eq!(blocks(|| queue.join_timeout(SHORT)), 1);

    let latch = Latch::new(1);
    assert_eq!(blocks(|| latch.wait_timeout(SHORT)), 1);
    latch.count_down();
    assert_eq!(blocks(|| latch.wait()), 0);

    let barrier = Barrier::new(2);
    assert_eq!(blocks(|| barrier.wait_timeout(SHORT)), 1);
    assert_eq!(blocks(|| Barrier::new(1).wait()), 0);

    let limiter = RateLimiter::per_second(1000.0, 1);
    assert_eq!(blocks(|| limiter.acquire()), 0);
    assert_eq!(blocks(|| limiter.acquire()), 1);
    assert!(!RateLimiter::per_second(0.001, 1).acquire_timeout(SHORT) || limiter.wait() < LONG);

    let pool = threadline_pool::ThreadPool::builder().build().expect("a pool");
    let (gate, wait) = mpsc::channel::<()>();
    let task = pool.spawn(move || wait.recv().is_err()).expect("room");
    assert_eq!(blocks(|| task.wait_timeout(SHORT)), 1);
    drop(gate);
    assert!(task.join().expect("returned"));
}
