//! Sizes and settings of a run, from the command line.
//!
//! Each scenario has two sizes, the full one and the smallest at which everything still happens, which the smoke
//! test uses. The number of bad clients and the time can be set for both.

use std::path::PathBuf;
use std::time::Duration;

/// What the command line says about overload scenarios.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// As small as it can be: a check that everything answers, not a measurement.
    pub smoke: bool,
    /// Bad clients; without it the scenario's own number.
    pub clients: Option<usize>,
    /// Seconds of each measurement.
    pub seconds: Option<f64>,
    /// How long the soak takes.
    pub minutes: Duration,
    /// The service's program, if it is not the one that was built with this one.
    pub service_program: Option<PathBuf>,
    /// Further arguments of the service.
    pub service_arguments: Vec<String>,
}

impl Setup {
    /// One of two sizes.
    pub fn pick<T>(&self, full: T, smoke: T) -> T {
        if self.smoke { smoke } else { full }
    }

    /// How many bad clients.
    pub fn clients(&self, full: usize, smoke: usize) -> usize {
        self.clients.unwrap_or_else(|| self.pick(full, smoke))
    }

    /// How long each measurement takes.
    pub fn seconds(&self) -> f64 {
        self.seconds.unwrap_or_else(|| self.pick(5.0, 0.3))
    }
}
