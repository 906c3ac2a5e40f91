//! Sizes and settings of a run.

use std::path::PathBuf;

/// What the command line says about overload scenarios.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// As small as it can be: a check that everything answers, not a measurement.
    pub smoke: bool,
    /// Bad clients; without it the scenario's own number.
    pub clients: Option<usize>,
    /// Seconds of each measurement.
    pub seconds: Option<f64>,
    /// Minutes of the soak.
    pub minutes: f64,
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
