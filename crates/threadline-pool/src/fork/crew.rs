//! Who takes part in the forks of one pool: whose deques there are, who looks for work, who sleeps, and
//! whether another thread of the pool shall be invited.
//!
//! Every pool has one. Its members use it; it never runs work. Nothing here has to be exact for the
//! work to be done, as whoever forks does what nobody takes: what may go wrong is that a core idles.
//! `README.md` has the steps.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, PoisonError, RwLock};

use crossbeam_deque::{Steal, Stealer};

use super::errand::Errand;
use super::latch::Bell;
use super::member;
use crate::Priority;
use crate::primitive::{self, Mutex};
use crate::queue::Class;
use crate::shared::Shared;

/// What others may see of a member.
pub(super) struct Post {
    pub(super) stealer: Stealer<Errand>,
    pub(super) bell: Arc<Bell>,
}

/// One per pool.
pub(crate) struct Crew {
    posts: RwLock<Vec<Arc<Post>>>,
    /// Members that sleep until what they wait for is done, or somebody has work for them.
    asleep: Mutex<Vec<Arc<Bell>>>,
    /// Length of `asleep`, for a look without the lock.
    asleep_len: AtomicUsize,
    /// Members that look for work: they will find what is forked now.
    searching: AtomicUsize,
    /// Members there are, and the invited one.
    members: AtomicUsize,
    /// One has been invited and is not there yet.
    inviting: AtomicBool,
}

impl Crew {
    pub(crate) fn new() -> Self {
        Crew {
            posts: RwLock::default(),
            asleep: Mutex::new(Vec::new()),
            asleep_len: AtomicUsize::new(0),
            searching: AtomicUsize::new(0),
            members: AtomicUsize::new(0),
            inviting: AtomicBool::new(false),
        }
    }
}

/// Coming and going.
impl Crew {
    /// Whoever forks is a member, however many there are.
    pub(super) fn enter(&self, post: &Arc<Post>) {
        self.members.fetch_add(1, Ordering::Relaxed);
        self.enlist(post);
    }

    pub(super) fn leave(&self, post: &Arc<Post>) {
        let mut posts = self.posts.write().unwrap_or_else(PoisonError::into_inner);
        posts.retain(|other| !Arc::ptr_eq(other, post));
        drop(posts);
        self.members.fetch_sub(1, Ordering::Relaxed);
    }

    fn enlist(&self, post: &Arc<Post>) {
        self.posts.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(post));
    }
}

/// Work for others.
impl Crew {
    /// There is work that another could take: sees to it that somebody comes, if anybody can.
    #[inline]
    pub(super) fn announce(&self, shared: &Arc<Shared>) {
        if self.searching.load(Ordering::Relaxed) > 0 {
            return;
        }
        if self.asleep_len.load(Ordering::Relaxed) > 0 {
            self.wake_one();
        } else if self.may_invite(shared) {
            self.invite(shared);
        }
    }

    /// No more threads work on forks than the pool may have, the caller counted.
    #[inline]
    fn may_invite(&self, shared: &Shared) -> bool {
        self.members.load(Ordering::Relaxed) < shared.settings().threads_max
            && !self.inviting.load(Ordering::Relaxed)
            && shared.idle_or_growable()
    }

    #[cold]
    fn wake_one(&self) {
        let mut asleep = primitive::lock(&self.asleep);
        let bell = asleep.pop();
        self.asleep_len.store(asleep.len(), Ordering::Relaxed);
        drop(asleep);
        if let Some(bell) = bell {
            bell.ring();
        }
    }

    #[cold]
    fn invite(&self, shared: &Arc<Shared>) {
        if self.inviting.swap(true, Ordering::Relaxed) {
            return;
        }
        self.members.fetch_add(1, Ordering::Relaxed);
        let invitation = Invitation(Arc::clone(shared));
        // If the pool has no use for it, its drop takes it back.
        let _ = shared.try_submit(Class::Ordinary(Priority::Normal), move || invitation.accept());
    }
}

/// A job of the pool: to take part. Dropped without being run, it is void.
struct Invitation(Arc<Shared>);

impl Invitation {
    fn accept(self) {
        let post = member::new_post();
        self.0.crew().enter(&post.1);
        let shared = Arc::clone(&self.0);
        // The member is there; so may the next be invited.
        drop(self);
        member::take_part(shared, post);
    }
}

impl Drop for Invitation {
    fn drop(&mut self) {
        let crew = self.0.crew();
        crew.members.fetch_sub(1, Ordering::Relaxed);
        crew.inviting.store(false, Ordering::Relaxed);
    }
}

/// Looking for work, and sleeping.
impl Crew {
    pub(super) fn start_search(&self) {
        self.searching.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_search(&self) {
        self.searching.fetch_sub(1, Ordering::SeqCst);
        // Pairs with nothing on the other side: who forks does without a fence, which would double
        // the price of a fork. It may have seen this member searching a moment ago and have told
        // nobody, so the member looks once more when that thread's store must have come through.
        fence(Ordering::SeqCst);
        (0..64).for_each(|_| hint::spin_loop());
    }

    /// One look at all deques but the caller's own, beginning behind it. Also says whether
    /// there is more where the work came from.
    pub(super) fn steal(&self, own: &Arc<Post>) -> Option<(Errand, More)> {
        let posts = self.posts.read().unwrap_or_else(PoisonError::into_inner);
        let start = posts.iter().position(|post| Arc::ptr_eq(post, own)).map_or(0, |at| at + 1);
        let (before, behind) = posts.split_at(start);
        let others = behind.iter().chain(before).filter(|post| !Arc::ptr_eq(post, own));
        for post in others {
            loop {
                match post.stealer.steal() {
                    Steal::Success(errand) if post.stealer.is_empty() => {
                        return Some((errand, More::Unknown));
                    }
                    Steal::Success(errand) => return Some((errand, More::Waits)),
                    Steal::Empty => break,
                    Steal::Retry => hint::spin_loop(),
                }
            }
        }
        None
    }

    pub(super) fn lie_down(&self, bell: &Arc<Bell>) {
        let mut asleep = primitive::lock(&self.asleep);
        asleep.push(Arc::clone(bell));
        self.asleep_len.store(asleep.len(), Ordering::SeqCst);
    }

    /// Whoever was rung for work is off the list already.
    pub(super) fn get_up(&self, bell: &Arc<Bell>) {
        let mut asleep = primitive::lock(&self.asleep);
        asleep.retain(|other| !Arc::ptr_eq(other, bell));
        self.asleep_len.store(asleep.len(), Ordering::Relaxed);
    }
}

/// Whether there is more work where some came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Waits,
    Unknown,
}
