//! Forked work: all of it is done, once, wherever the caller is and whatever the pool is doing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::time::Duration;

use threadline_pool::ThreadPool;

use super::{Blocked, LONG};

fn pool(threads: usize) -> ThreadPool {
    ThreadPool::builder().threads_max(threads).build().expect("pool")
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

fn fib(pool: &ThreadPool, n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = pool.join(|| fib(pool, n - 1), || fib(pool, n - 2));
    a + b
}

fn sort(pool: &ThreadPool, numbers: &mut [u32]) {
    fn go<'s>(scope: &threadline_pool::Scope<'s>, numbers: &'s mut [u32]) {
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
fn nested_joins_give_the_result_with_any_number_of_threads() {
    for threads in [1, 2, 5] {
        assert_eq!(fib(&pool(threads), 20), 6_765);
    }
}

#[test]
fn nested_scopes_share_what_the_caller_owns() {
    for threads in [1, 2, 5] {
        let mut numbers = shuffled(20_000);
        let mut expected = numbers.clone();
        expected.sort_unstable();
        sort(&pool(threads), &mut numbers);
        assert!(numbers == expected);
    }
}

#[test]
fn the_caller_works_alone_when_no_thread_can_come() {
    // All threads are stuck.
    let busy = pool(2);
    let stuck = [Blocked::running(&busy), Blocked::running(&busy)];
    assert_eq!(fib(&busy, 15), 610);
    stuck.into_iter().for_each(Blocked::release);

    // The pool is shut down.
    let ended = pool(2);
    assert!(ended.shutdown(LONG));
    assert_eq!(fib(&ended, 15), 610);
    let mut numbers = shuffled(100);
    sort(&ended, &mut numbers);
    assert!(numbers.is_sorted());
}

#[test]
fn a_job_may_fork_on_its_own_pool() {
    for threads in [1, 3] {
        let pool = pool(threads);
        let inner = pool.clone();
        let task = pool.spawn(move || fib(&inner, 15)).expect("room");
        assert_eq!(task.join().expect("no panic"), 610);
    }
}

#[test]
fn two_halves_do_run_at_the_same_time() {
    let pool = pool(2);
    let both = Barrier::new(2);
    // Each half ends only when the other has begun.
    pool.join(|| both.wait(), || both.wait());
    pool.scope(|scope| {
        scope.spawn(|_| _ = both.wait());
        both.wait();
    });
}

#[test]
fn all_threads_are_invited_in_turn() {
    let pool = pool(4);
    let all = Barrier::new(4);
    pool.scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|_| _ = all.wait());
        }
        all.wait();
    });
}

#[test]
fn no_more_threads_take_part_than_the_pool_may_have() {
    let pool = pool(3);
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    pool.scope(|scope| {
        for _ in 0..2_000 {
            scope.spawn(|_| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 3);
    assert!(pool.stats().threads <= 2, "the caller is the third");
}

#[test]
fn many_callers_at_once() {
    let pool = pool(2);
    let total = AtomicUsize::new(0);
    std::thread::scope(|threads| {
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
}

#[test]
fn a_fork_of_one_pool_within_a_fork_of_another() {
    let (one, two) = (pool(2), pool(2));
    let (a, (b, c)) = one.join(|| fib(&two, 12), || two.join(|| fib(&one, 11), || fib(&two, 10)));
    assert_eq!((a, b, c), (144, 89, 55));
}

#[test]
fn a_panic_comes_out_when_both_halves_have_ended() {
    let pool = pool(2);
    let both = Barrier::new(2);
    let ended = AtomicUsize::new(0);
    let message = |run: &dyn Fn()| {
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it panics");
        panic.downcast_ref::<&str>().map(ToString::to_string).expect("a message")
    };
    let first = message(&|| {
        pool.join(
            || {
                both.wait();
                panic!("first");
            },
            || {
                both.wait();
                std::thread::yield_now();
                ended.fetch_add(1, Ordering::SeqCst);
            },
        );
    });
    assert_eq!((first.as_str(), ended.load(Ordering::SeqCst)), ("first", 1));
    let second = message(&|| {
        pool.join(|| {}, || panic!("second"));
    });
    assert_eq!(second, "second");
    assert_eq!(pool.join(|| 1, || 2), (1, 2), "the pool goes on");
}

#[test]
fn a_scope_hands_on_a_panic_when_all_jobs_have_ended() {
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
fn another_thread_may_spawn_into_a_scope() {
    let pool = pool(1);
    let ran = AtomicUsize::new(0);
    pool.scope(|scope| {
        std::thread::scope(|threads| {
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
fn a_join_within_a_scope_leaves_the_scopes_jobs_whole() {
    let pool = pool(2);
    let ran = AtomicUsize::new(0);
    pool.scope(|scope| {
        pool.join(
            || (0..10).for_each(|_| scope.spawn(|_| count(&ran))),
            || (0..10).for_each(|_| scope.spawn(|_| count(&ran))),
        );
    });
    assert_eq!(ran.into_inner(), 20);
}

#[test]
fn a_caller_sleeps_while_its_half_runs_elsewhere_and_wakes_at_its_end() {
    let pool = pool(2);
    let (release, gate) = mpsc::channel::<()>();
    let (taken, is_taken) = mpsc::channel();
    let (_, answer) = pool.join(
        // The second half is taken before the first ends.
        || is_taken.recv_timeout(LONG).expect("a thread comes"),
        move || {
            taken.send(()).expect("the caller listens");
            // Longer than anybody looks around: nothing is asserted about it.
            let _ = gate.recv_timeout(Duration::from_millis(20));
            42
        },
    );
    drop(release);
    assert_eq!(answer, 42);
}

#[test]
fn threads_come_back_to_the_pool() {
    let pool = pool(2);
    assert_eq!(fib(&pool, 18), 2_584);
    let task = pool.spawn(|| 7).expect("room");
    assert_eq!(task.join().expect("no panic"), 7);
    assert!(pool.shutdown(LONG), "nobody stays");
}
