//! A thread that takes part in the forks of a pool: its deque, and how it waits.
//!
//! One that forks is a member from its outermost fork to that one's join; one that was invited, until
//! it finds no more work. Either runs what is in its own deque, newest first, then what others forked,
//! oldest first. It sleeps only when there is nothing of either.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::{hint, thread};

use crossbeam_deque::Worker;

use super::crew::{More, Post};
use super::errand::Errand;
use super::latch::{Bell, Latch};
use crate::shared::Shared;

/// How often a member looks around before it gives up. The first rounds follow each other closely; from
/// then on others may have the core in between. Some ten microseconds in all: less than it takes to
/// wake a thread.
const ROUNDS: u32 = 24;
const ROUNDS_CLOSE: u32 = 8;

thread_local! {
    // One for each pool whose forks this thread is in the midst of, the innermost last.
    static MEMBERSHIPS: RefCell<Vec<Rc<Member>>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct Member {
    shared: Arc<Shared>,
    deque: Worker<Errand>,
    post: Arc<Post>,
}

/// What came of looking for work.
enum Found {
    Errand(Errand),
    /// What it waits for is done.
    Set,
    Nothing,
}

/// A deque for a thread, and what others see of it.
pub(super) fn new_post() -> (Worker<Errand>, Arc<Post>) {
    let deque = Worker::new_lifo();
    let post = Arc::new(Post { stealer: deque.stealer(), bell: Arc::new(Bell::new()) });
    (deque, post)
}

/// The current thread as a member of the pool's crew, for as long as this lives.
pub(super) enum Membership {
    /// It was one before.
    Standing(Rc<Member>),
    /// It is one for this fork only.
    ForNow(Rc<Member>),
}

impl Membership {
    #[inline]
    pub(super) fn of_current(shared: &Arc<Shared>) -> Self {
        let standing = MEMBERSHIPS.with_borrow(|all| {
            all.iter().rev().find(|member| Arc::ptr_eq(&member.shared, shared)).map(Rc::clone)
        });
        standing.map_or_else(|| Self::begin(shared), Membership::Standing)
    }

    #[cold]
    fn begin(shared: &Arc<Shared>) -> Self {
        let (deque, post) = new_post();
        shared.crew().enter(&post);
        Self::note(Member { shared: Arc::clone(shared), deque, post })
    }

    fn note(member: Member) -> Self {
        let member = Rc::new(member);
        MEMBERSHIPS.with_borrow_mut(|all| all.push(Rc::clone(&member)));
        Membership::ForNow(member)
    }
}

impl Deref for Membership {
    type Target = Member;

    fn deref(&self) -> &Member {
        let (Membership::Standing(member) | Membership::ForNow(member)) = self;
        member
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Membership::ForNow(member) = self {
            // Empty after a join or a scope. Not if another thread spawned into somebody's scope.
            while let Some(errand) = member.deque.pop() {
                errand.run();
            }
            member.shared.crew().leave(&member.post);
            MEMBERSHIPS.with_borrow_mut(|all| all.retain(|other| !Rc::ptr_eq(other, member)));
        }
    }
}

/// What an invited thread does: work for others until there is none.
pub(super) fn take_part(shared: Arc<Shared>, (deque, post): (Worker<Errand>, Arc<Post>)) {
    let member = Membership::note(Member { shared, deque, post });
    loop {
        while let Some(errand) = member.deque.pop() {
            errand.run();
        }
        match member.look_around(None) {
            Found::Errand(errand) => errand.run(),
            Found::Set | Found::Nothing => return,
        }
    }
}

impl Member {
    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.post.bell
    }

    /// Leaves it for whoever comes first.
    #[inline]
    pub(super) fn push(&self, errand: Errand) {
        self.deque.push(errand);
        self.shared.crew().announce(&self.shared);
    }

    /// The newest of its own that nobody has taken.
    #[inline]
    pub(super) fn pop(&self) -> Option<Errand> {
        self.deque.pop()
    }

    /// Works until the latch is set, or sleeps if there is no work.
    #[cold]
    pub(super) fn wait_for(&self, latch: &Latch) {
        while !latch.is_set() {
            if let Some(errand) = self.deque.pop() {
                errand.run();
                continue;
            }
            match self.look_around(Some(latch)) {
                Found::Errand(errand) => errand.run(),
                Found::Set => return,
                Found::Nothing => self.sleep(latch),
            }
        }
    }

    fn look_around(&self, latch: Option<&Latch>) -> Found {
        let crew = self.shared.crew();
        crew.start_search();
        for round in 0..ROUNDS {
            if latch.is_some_and(Latch::is_set) {
                crew.end_search();
                return Found::Set;
            }
            if let Some((errand, more)) = crew.steal(&self.post) {
                crew.end_search();
                // It told nobody because this one was looking; so this one does.
                if more == More::Waits {
                    crew.announce(&self.shared);
                }
                return Found::Errand(errand);
            }
            if round < ROUNDS_CLOSE { hint::spin_loop() } else { thread::yield_now() }
        }
        crew.end_search();
        self.last_look()
    }

    fn last_look(&self) -> Found {
        self.shared
            .crew()
            .steal(&self.post)
            .map_or(Found::Nothing, |(errand, _)| Found::Errand(errand))
    }

    /// Until the latch is set or somebody has work.
    fn sleep(&self, latch: &Latch) {
        if !latch.announce_wait() {
            return;
        }
        let crew = self.shared.crew();
        crew.lie_down(self.bell());
        // Who forked before this could be seen asleep rang for nobody.
        match self.last_look() {
            Found::Errand(errand) => {
                crew.get_up(self.bell());
                errand.run();
            }
            Found::Set | Found::Nothing => {
                self.bell().sleep();
                crew.get_up(self.bell());
            }
        }
    }
}
