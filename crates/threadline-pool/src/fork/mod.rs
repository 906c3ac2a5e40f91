//! Fork-join: splitting work that borrows from the caller among the threads of a pool.
//!
//! | file | |
//! | --- | --- |
//! | `join.rs` | `ThreadPool::join`: two things at once |
//! | `scope.rs` | `ThreadPool::scope`: any number |
//! | `member.rs` | a thread that takes part: its deque, what it runs next, how it waits |
//! | `crew.rs` | all of them: stealing, sleeping, inviting |
//! | `latch.rs` | what a waiting thread waits for, and the bell it sleeps at |
//! | `errand.rs` | work without type or lifetime; the `unsafe` |
//!
//! `README.md` beside this file has the steps and why nothing waits for ever.

mod crew;
mod errand;
mod join;
mod latch;
mod member;
mod scope;

pub(crate) use crew::Crew;
pub use scope::Scope;
