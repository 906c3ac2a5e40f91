//! [`JoinError`]: why a task has no result.

use std::any::Any;
use std::fmt;

use crate::contained::Payload;

/// Why a task has no result.
///
/// ```
/// use threadline_pool::{JoinError, ThreadPool};
///
/// let pool = ThreadPool::builder().build()?;
/// match pool.spawn(|| "7".parse::<u8>().expect("a number"))?.join() {
///     Ok(number) => assert_eq!(number, 7),
///     Err(JoinError::Panicked(panic)) => eprintln!("the job panicked: {}", panic.message()),
///     Err(JoinError::Cancelled) => eprintln!("it never ran"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum JoinError {
    /// Its job never ran: it was cancelled, or its pool dropped it (shut down, or by its policy).
    Cancelled,
    /// Its job panicked.
    Panicked(TaskPanic),
}

/// A panic of a job.
///
/// ```
/// use threadline_pool::{JoinError, ThreadPool};
///
/// let pool = ThreadPool::builder().build()?;
/// let task = pool.spawn(|| -> () { panic!("out of tea") })?;
/// let Err(JoinError::Panicked(panic)) = task.join() else { unreachable!() };
/// assert_eq!(panic.message(), "out of tea");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TaskPanic {
    pub(super) payload: Payload,
    pub(super) location: Option<String>,
}

impl JoinError {
    /// Whether the job never ran.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, JoinError::Cancelled)
    }

    /// Goes on with the job's panic in the calling thread, as if it had happened here.
    ///
    /// # Panics
    /// Always: that is its purpose. With a message of its own if the job never ran.
    pub fn resume(self) -> ! {
        match self {
            JoinError::Panicked(panic) => panic.payload.resume(),
            JoinError::Cancelled => panic!("the task was cancelled before it ran"),
        }
    }
}

impl TaskPanic {
    /// What the job said: the message of `panic!`, or that there was none.
    pub fn message(&self) -> &str {
        self.payload.message().unwrap_or("(no message)")
    }

    /// Where it was, as `file:line:column`. `None` if the process's panic hook has been replaced
    /// since the first task was spawned, if that was by a thread that unwinds (which cannot set the hook; the
    /// next spawn does), or if the panic went on from elsewhere (`resume_unwind`).
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// What was thrown. If this error is dropped instead, a panic of the payload's drop is contained.
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload.into_inner()
    }
}

impl fmt::Debug for TaskPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskPanic")
            .field("message", &self.message())
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Cancelled => f.write_str("the task was cancelled before it ran"),
            JoinError::Panicked(panic) => match &panic.location {
                Some(location) => write!(f, "the task panicked at {location}: {}", panic.message()),
                None => write!(f, "the task panicked: {}", panic.message()),
            },
        }
    }
}

impl std::error::Error for JoinError {}
