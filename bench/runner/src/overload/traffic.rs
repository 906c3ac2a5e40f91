//! Measured load beside the bad clients: runs of `lg`, the generator, which checks every reply.
//!
//! The generator shares the cores with the service and sleeps while it has nothing to do. A service that does
//! not answer it is a result here, not an error: figures are missing then, and a note says why.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::service::Service;
use super::{Figures, Setup};
use crate::servers;

/// Ordinary clients of a fast route at a fixed rate, and of one that blocks 50 ms.
pub const ORDINARY: &str = "--connections 16 --rate 2000 --slow 64 --slow-path /sleep";

/// A run under way. Killed when it is dropped.
#[derive(Debug)]
pub struct Traffic {
    child: Option<Child>,
    what: String,
}

/// What a run gave. All numbers are NaN if it gave nothing.
#[derive(Debug)]
pub struct Measured(Value);

impl Measured {
    pub fn number(&self, name: &str) -> f64 {
        self.0.pointer(&format!("/{name}")).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    pub fn rate(&self) -> f64 {
        self.number("rps")
    }

    pub fn p99_ms(&self) -> f64 {
        self.p99_of("requests", "latency_us/p99")
    }

    /// Of the connections on the slow path.
    pub fn slow_rate(&self) -> f64 {
        self.number("slow_rps")
    }

    pub fn slow_p99_ms(&self) -> f64 {
        self.p99_of("slow_requests", "slow_latency_us/p99")
    }

    /// NaN without a single reply: there is no latency then, least of all one of 0.
    fn p99_of(&self, requests: &str, latency: &str) -> f64 {
        let answered = self.number(requests) > 0.0;
        if answered { self.number(latency) / 1000.0 } else { f64::NAN }
    }
}

impl Traffic {
    /// Starts a run. `what` names it in notes.
    pub fn start(
        setup: &Setup,
        service: &Service,
        what: impl Into<String>,
        arguments: &str,
    ) -> Result<Traffic, String> {
        let mut command = Command::new(servers::generator());
        command.args(["--addr", &service.address.to_string(), "--sleeps"]);
        command.args(["--seconds", &setup.seconds().to_string()]);
        command.args(["--warmup", setup.pick("1", "0.2")]);
        command.args(arguments.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("cannot start lg: {error}"))?;
        Ok(Traffic { child: Some(child), what: what.into() })
    }

    /// Waits for its end. A run that the service has not answered is no error: that is what is measured.
    pub fn finish(mut self, figures: &mut Figures) -> Result<Measured, String> {
        let child = self.child.take().expect("finished once");
        let output = child.wait_with_output().map_err(|error| format!("lg: {error}"))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            figures.note(format!("{}: {}", self.what, error.trim()));
            return Ok(Measured(Value::Null));
        }
        let report: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("lg: {error}"))?;
        let errors = report["errors"].as_u64().unwrap_or(0);
        if errors > 0 {
            let first = report["first_error"].as_str().unwrap_or_default();
            figures.note(format!("{}: {errors} errors, the first: {}", self.what, first.trim()));
        }
        Ok(Measured(report))
    }

    /// Starts a run and waits for its end.
    pub fn measure(
        setup: &Setup,
        service: &Service,
        figures: &mut Figures,
        what: impl Into<String>,
        arguments: &str,
    ) -> Result<Measured, String> {
        Traffic::start(setup, service, what, arguments)?.finish(figures)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
