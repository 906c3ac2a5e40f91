//! Jobs that borrow: all of them end, once, wherever the caller is and whatever the pool is doing.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;

use threadline_pool::{Policy, Scope, ThreadPool, set_hook};

use super::{Blocked, LONG, wait_for};

fn pool(threads: usize) -> ThreadPool {
    ThreadPool::builder().threads_max(threads).build().expect("pool")
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

/// Nested scopes: one for each call.
fn fib(pool: &ThreadPool, n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (mut a, mut b) = (0, 0);
    pool.scope(|scope| {
        scope.spawn(|_| a = fib(pool, n - 1));
        scope.spawn(|_| b = fib(pool, n - 2));
    });
    a + b
}

fn sort(pool: &ThreadPool, numbers: &mut [u32]) {
    fn go<'s>(scope: &Scope<'s>, numbers: &'s mut [u32]) {
        let Some((&mut pivot, _)) = numbers.split_last_mut() else { return };
        let mut smaller = 0;
        for at in 0..numbers.len() - 1 {
            if numbers[at] < pivot {
                numbers.swap(at, smaller);
                smaller += 1;
            }
        }
        let last = numbers.len() - 1;
        numbers.swap(smaller, last);
        let (left, right) = numbers.split_at_mut(smaller);
        scope.spawn(move |scope| go(scope, left));
        scope.spawn(move |scope| go(scope, &mut right[1..]));
    }
    pool.scope(|scope| go(scope, numbers));
}

fn shuffled(len: u32) -> Vec<u32> {
    let mut state = 1_u32;
    let next = |state: &mut u32| {
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        *state
    };
    (0..len).map(|_| next(&mut state)).collect()
}

#[test]
fn nested_scopes_end_with_any_number_of_threads() {
    for threads in [1, 2, 5] {
        assert_eq!(fib(&pool(threads), 12), 144);
    }
}

#[test]
fn jobs_that_spawn_jobs_share_what_the_caller_owns() {
    for threads in [1, 2, 5] {
        let mut numbers = shuffled(2_000);
        let mut expected = numbers.clone();
        expected.sort_unstable();
        sort(&pool(threads), &mut numbers);
        assert!(numbers == expected);
    }
}

#[test]
fn the_caller_runs_all_jobs_when_no_thread_can_come() {
    // All threads are stuck.
    let busy = pool(2);
    let stuck = [Blocked::running(&busy), Blocked::running(&busy)];
    assert_eq!(fib(&busy, 10), 55);
    assert_eq!(busy.stats().queue_len, 0, "what the caller ran left the queue");
    stuck.into_iter().for_each(Blocked::release);

    // The pool is shut down.
    let ended = pool(2);
    assert!(ended.shutdown(LONG));
    assert_eq!(fib(&ended, 10), 55);
    let mut numbers = shuffled(100);
    sort(&ended, &mut numbers);
    assert!(numbers.is_sorted());
}

#[test]
fn the_caller_runs_what_the_queue_has_no_room_for_under_every_policy() {
    let policies =
        [Policy::Reject, Policy::Block { timeout: LONG }, Policy::CallerRuns, Policy::DropOldest];
    for (policy, room) in policies.into_iter().flat_map(|policy| [(policy, 0), (policy, 3)]) {
        let builder = ThreadPool::builder().threads_max(1).queue_len_max(room).when_full(policy);
        let pool = builder.build().expect("pool");
        let stuck = Blocked::running(&pool);
        let here = thread::current().id();
        let in_body = Mutex::new(true);
        let ran = AtomicUsize::new(0);
        pool.scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|_| {
                    assert_eq!(thread::current().id(), here);
                    assert!(!*in_body.lock().expect("no job runs before the body has ended"));
                    count(&ran);
                });
            }
            *in_body.lock().expect("nobody has it") = false;
        });
        assert_eq!(ran.into_inner(), 10);
        assert_eq!(pool.stats().queue_len, 0, "{policy:?}");
        stuck.release();
    }
}

#[test]
fn jobs_that_the_pool_drops_unrun_are_run_by_the_caller() {
    // By shutting down, and by a newer job that takes the place.
    let dropping: [fn(&ThreadPool); 2] = [
        |pool| assert!(!pool.shutdown_now(std::time::Duration::ZERO)),
        |pool| pool.submit(|| ()).expect("it takes the oldest one's place"),
    ];
    for drop_jobs in dropping {
        let builder = ThreadPool::builder().threads_max(1).queue_len_max(2);
        let pool = builder.when_full(Policy::DropOldest).build().expect("pool");
        let stuck = Blocked::running(&pool);
        let ran = AtomicUsize::new(0);
        pool.scope(|scope| {
            (0..2).for_each(|_| scope.spawn(|_| count(&ran)));
            drop_jobs(&pool);
        });
        assert_eq!(ran.into_inner(), 2);
        assert!(pool.stats().cancelled > 0);
        stuck.release();
    }
}

#[test]
fn a_job_may_open_a_scope_on_its_own_pool() {
    for threads in [1, 3] {
        let pool = pool(threads);
        let inner = pool.clone();
        let task = pool.spawn(move || fib(&inner, 10)).expect("room");
        assert_eq!(task.join().expect("no panic"), 55);
    }
}

#[test]
fn jobs_run_at_the_same_time_on_threads_and_in_the_caller() {
    let pool = pool(2);
    let all = Barrier::new(3);
    // Each ends only when the others have begun.
    pool.scope(|scope| (0..3).for_each(|_| scope.spawn(|_| _ = all.wait())));
    // Nor do jobs wait for the body to end.
    let both = Barrier::new(2);
    pool.scope(|scope| {
        scope.spawn(|_| _ = both.wait());
        both.wait();
    });
}

#[test]
fn a_job_that_a_job_spawns_is_run_by_a_caller_that_waits() {
    let pool = pool(1);
    let here = thread::current().id();
    let both = Barrier::new(2);
    pool.scope(|scope| {
        let both = &both;
        let (begun, has_begun) = mpsc::channel();
        scope.spawn(move |scope| {
            begun.send(()).expect("the body listens");
            // The only thread is in this job until the caller has run the next.
            scope.spawn(move |_| {
                assert_eq!(thread::current().id(), here);
                both.wait();
            });
            both.wait();
        });
        has_begun.recv_timeout(LONG).expect("a thread comes");
    });
}

#[test]
fn a_queue_of_jobs_that_a_caller_ran_has_room_for_others() {
    let pool = ThreadPool::builder().threads_max(1).queue_len_max(2).build().expect("pool");
    let inner = pool.clone();
    let task = pool.spawn(move || {
        // On the only thread, so that nobody else takes anything out of the queue.
        for _ in 0..10 {
            let ran = AtomicUsize::new(0);
            inner.scope(|scope| (0..2).for_each(|_| scope.spawn(|_| count(&ran))));
            assert_eq!((ran.into_inner(), inner.stats().queue_len), (2, 0));
        }
        inner.try_submit(|| ()).expect("room");
    });
    task.expect("room").join().expect("no panic");
    assert!(pool.shutdown(LONG));
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.completed, stats.cancelled), (22, 22, 0));
    assert_eq!((stats.ran_in_caller, stats.rejected), (20, 0));
}

#[test]
fn many_callers_at_once() {
    let pool = pool(2);
    let total = AtomicUsize::new(0);
    thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                for _ in 0..50 {
                    pool.scope(|scope| {
                        for _ in 0..20 {
                            scope.spawn(|_| count(&total));
                        }
                    });
                }
            });
        }
    });
    assert_eq!(total.into_inner(), 8 * 50 * 20);
    assert!(pool.shutdown(LONG));
    let stats = pool.stats();
    assert_eq!(stats.submitted, stats.completed + stats.cancelled);
}

#[test]
fn scopes_of_two_pools_within_each_other() {
    let (one, two) = (pool(2), pool(2));
    let (mut a, mut b) = (0, 0);
    one.scope(|scope| {
        scope.spawn(|_| a = fib(&two, 9));
        scope.spawn(|_| two.scope(|scope| scope.spawn(|_| b = fib(&one, 8))));
    });
    assert_eq!((a, b), (34, 21));
}

#[test]
fn a_panic_comes_out_when_all_jobs_have_ended() {
    for threads in [1, 2] {
        let pool = pool(threads);
        let ran = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|scope| {
                for n in 0..10 {
                    let ran = &ran;
                    scope.spawn(move |_| {
                        ran.fetch_add(1, Ordering::SeqCst);
                        assert!(n % 5 != 0, "job {n}");
                    });
                }
            });
        }));
        assert!(result.is_err());
        assert_eq!(ran.load(Ordering::SeqCst), 10);

        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|scope| -> () {
                scope.spawn(|_| count(&ran));
                panic!("the body");
            })
        }));
        let panic = result.expect_err("it panics");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"the body"));
        assert_eq!(ran.load(Ordering::SeqCst), 11);
    }
}

#[test]
fn the_first_panic_comes_out() {
    let pool = pool(1);
    let stuck = Blocked::running(&pool);
    let throw = |number: u32| resume_unwind(Box::new(number));
    let thrown = |body: &(dyn Fn(&Scope<'_>) + Sync)| {
        let panic = catch_unwind(AssertUnwindSafe(|| pool.scope(|scope| body(scope))));
        *panic.expect_err("it panics").downcast::<u32>().expect("a number")
    };
    // The caller runs jobs in their order.
    assert_eq!(thrown(&|scope| (1..4).for_each(|n| scope.spawn(move |_| throw(n)))), 1);
    let body = thrown(&|scope| {
        scope.spawn(move |_| throw(1));
        throw(2);
    });
    assert_eq!(body, 2);
    stuck.release();
    wait_for("the thread is idle", || pool.stats().idle == 1);
    let job = thrown(&|scope| {
        let before = pool.stats().completed;
        scope.spawn(move |_| throw(3));
        wait_for("a thread has run the job", || pool.stats().completed > before);
        throw(4);
    });
    assert_eq!(job, 3);
}

#[test]
fn captures_of_a_job_are_gone_when_the_scope_is() {
    let pool = pool(2);
    let captured = Arc::new(());
    for _ in 0..200 {
        pool.scope(|scope| {
            for _ in 0..4 {
                let captured = Arc::clone(&captured);
                scope.spawn(move |_| drop(captured));
            }
        });
        assert_eq!(Arc::strong_count(&captured), 1);
    }
}

#[test]
fn another_thread_may_spawn_into_a_scope() {
    let pool = pool(1);
    let ran = AtomicUsize::new(0);
    pool.scope(|scope| {
        thread::scope(|threads| {
            threads.spawn(|| {
                for _ in 0..100 {
                    scope.spawn(|_| count(&ran));
                }
            });
        });
    });
    assert_eq!(ran.into_inner(), 100);
}

#[test]
fn a_scope_within_a_scope_leaves_the_outer_ones_jobs_whole() {
    let pool = pool(2);
    let ran = AtomicUsize::new(0);
    pool.scope(|scope| {
        pool.scope(|inner| {
            let ran = &ran;
            (0..10).for_each(|_| scope.spawn(move |_| count(ran)));
            (0..10).for_each(|_| inner.spawn(move |_| count(ran)));
        });
    });
    assert_eq!(ran.into_inner(), 20);
}

#[test]
fn a_scope_says_how_things_stand() {
    let pool = pool(1);
    let stuck = Blocked::running(&pool);
    pool.scope(|scope| {
        scope.spawn(|_| ());
        let shown = format!("{scope:?}");
        assert!(shown.contains("waiting: 1") && shown.contains("running: 0"), "{shown}");
    });
    stuck.release();
}

#[test]
fn threads_come_back_to_the_pool() {
    let pool = pool(2);
    assert_eq!(fib(&pool, 10), 55);
    let task = pool.spawn(|| 7).expect("room");
    assert_eq!(task.join().expect("no panic"), 7);
    assert!(pool.shutdown(LONG), "nobody stays");
}

#[test]
fn scopes_end_on_a_pool_that_is_cut_short_meanwhile() {
    for round in 0..100 {
        let builder = ThreadPool::builder().threads_max(2).queue_len_max(8);
        let pool = builder.when_full(Policy::DropOldest).build().expect("pool");
        let ran = AtomicUsize::new(0);
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    pool.scope(|scope| {
                        for _ in 0..20 {
                            let ran = &ran;
                            scope.spawn(move |scope| {
                                count(ran);
                                scope.spawn(move |_| count(ran));
                            });
                        }
                    });
                });
            }
            // Others displace jobs of the scopes; then all that wait are dropped.
            (0..round).for_each(|_| _ = pool.submit(|| ()));
            assert!(pool.shutdown_now(LONG));
        });
        assert_eq!(ran.into_inner(), 80);
        let stats = pool.stats();
        assert_eq!(stats.submitted, stats.completed + stats.cancelled);
        assert_eq!(stats.queue_len, 0);
    }
}

#[test]
fn a_caller_waits_for_a_job_that_runs_elsewhere_and_says_that_it_blocks() {
    static BLOCKS: AtomicBool = AtomicBool::new(false);
    let pool = pool(1);
    let ended = Arc::new(AtomicBool::new(false));
    let (begun, has_begun) = mpsc::channel();
    set_hook(Some(|| BLOCKS.store(true, Ordering::SeqCst)));
    pool.scope(|scope| {
        let ended = Arc::clone(&ended);
        scope.spawn(move |_| {
            begun.send(()).expect("the body listens");
            wait_for("the caller waits", || BLOCKS.load(Ordering::SeqCst));
            ended.store(true, Ordering::SeqCst);
        });
        has_begun.recv_timeout(LONG).expect("a thread comes");
    });
    set_hook(None);
    assert!(ended.load(Ordering::SeqCst));
}
