//! The concurrency models. The same handler runs under each.

use std::fmt;
use std::str::FromStr;

/// How connections and handlers share threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Model {
    /// A thread for each connection, idle or not: Python's `ThreadingMixIn`, Apache's worker.
    /// Easy to understand; falls over when idle clients outnumber threads.
    ThreadPerConnection,
    /// Connections are parked, every call goes to the thread pool through its bounded queue:
    /// `ThreadPoolExecutor`, gunicorn's gthread. Costs a wake-up a request.
    Pool,
    /// Every call runs on its shard's thread: nginx, Node. Fast, and one blocking call stops every
    /// client of the shard. Stream handlers still get threads, as they cannot do without.
    EventLoop,
    /// The default: calls that have proven fast run on the shard's thread, those that block on the pool, those that
    /// compute on a few threads of their own, and unknown ones on trial threads. A shard whose handler stalls is
    /// taken over by another thread.
    #[default]
    Adaptive,
}

impl Model {
    /// Every model, in the order of the documentation.
    pub const ALL: [Model; 4] =
        [Model::ThreadPerConnection, Model::Pool, Model::EventLoop, Model::Adaptive];

    /// The name that [`Model::from_str`] takes.
    pub fn name(self) -> &'static str {
        match self {
            Model::ThreadPerConnection => "thread-per-connection",
            Model::Pool => "pool",
            Model::EventLoop => "event-loop",
            Model::Adaptive => "adaptive",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownModel(String);

impl fmt::Display for UnknownModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Model::ALL.map(Model::name).join(", ");
        write!(f, "unknown model '{}': use one of {names}", self.0)
    }
}

impl std::error::Error for UnknownModel {}

impl FromStr for Model {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        let known = Model::ALL.into_iter().find(|model| model.name() == name);
        known.ok_or_else(|| UnknownModel(name.to_owned()))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for model in Model::ALL {
            assert_eq!(model.name().parse(), Ok(model));
        }
        let error = "threads".parse::<Model>().expect_err("no such model").to_string();
        assert!(error.contains("'threads'") && error.contains("event-loop"), "{error}");
    }
}
