//! Single calls by an ordinary HTTP client, each timed and its answer checked.
//!
//! For first calls and new calls, of which there are few. Load is put on the service by `traffic`, bad
//! clients by `crowd`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use threadline_bench_workload::LARGE_LEN;

/// Calls a path on a connection of its own, and checks the answer.
///
/// # Errors
/// If the answer is not 200 with this body, or has not come within `limit`.
pub fn call(
    service: SocketAddr,
    path: &str,
    expected: &[u8],
    limit: Duration,
) -> Result<Duration, String> {
    let began = Instant::now();
    let failed = |error: ureq::Error| format!("GET {path}: {error}");
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(limit)).build().into();
    let mut response = agent.get(format!("http://{service}{path}")).call().map_err(failed)?;
    let body = response.body_mut().with_config().limit(2 * LARGE_LEN as u64);
    let body = body.read_to_vec().map_err(failed)?;
    let took = began.elapsed();
    if body != expected {
        return Err(format!("GET {path}: a wrong body of {} bytes", body.len()));
    }
    Ok(took)
}

/// Runs `calls` on a thread that goes before others, so that waiting for a core counts as the service's time
/// and not as the client's. Takes a privilege; without it the figures are that much worse.
pub fn promptly<T: Send>(calls: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let prompt = scope.spawn(|| {
            // On Linux a nice value belongs to a thread.
            let _ = rustix::process::setpriority_process(None, -20);
            calls()
        });
        prompt.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
