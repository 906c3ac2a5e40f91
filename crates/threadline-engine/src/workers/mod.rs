//! Threads that run calls off the shards, and what calls wait for.
//!
//! - `gate`: at most so many calls of one kind at a time; the others wait in line, parked

#[cfg_attr(not(test), expect(dead_code, reason = "no kind of call has a bound yet"))]
mod gate;
