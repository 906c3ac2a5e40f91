//! `computing`: password hashing beside a fast route.
//!
//! Shows each rate as a share of its rate alone, the latency of the fast route, and by the resident memory how many
//! hashes run at a time. Each load has a service of its own, so that the memory of one does not count for the
//! next.

use super::service::Service;
use super::traffic::{Measured, Traffic};
use super::{Figures, Setup};

const ARGON2_MB: f64 = 19.0;
const REST_MB: f64 = 64.0;

pub fn run(setup: &Setup, figures: &mut Figures) -> Result<(), String> {
    let hashing = setup.clients(16, 4);
    let fast = "--connections 32";
    let (fast_alone, _) = measure(setup, figures, "fast route alone", fast)?;
    let only_hashing = format!("--connections {hashing} --path /argon2");
    let (hash_alone, _) = measure(setup, figures, "argon2 alone", &only_hashing)?;
    let both = format!("{fast} --slow {hashing} --slow-path /argon2");
    let (together, peak) = measure(setup, figures, "both", &both)?;

    let fast_share = together.rate() / fast_alone.rate();
    let hash_share = together.slow_rate() / hash_alone.rate();
    figures.add("fast requests/s alone", fast_alone.rate(), "");
    figures.add("fast requests/s together", together.rate(), "");
    figures.add("hashes/s alone", hash_alone.rate(), "");
    figures.add("hashes/s together", together.slow_rate(), "");
    figures.add("fast, share of its rate alone", fast_share, "");
    figures.add("hashes, share of their rate alone", hash_share, "");
    figures.add_wanted("sum of the shares", fast_share + hash_share, "", "at least 1.0");
    figures.add("fast p99 alone", fast_alone.p99_ms(), "ms");
    figures.add_wanted("fast p99 together", together.p99_ms(), "ms", "at most 10");
    figures.add("hash p99 together", together.slow_p99_ms(), "ms");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = format!("at most {}", cores as f64 * ARGON2_MB + REST_MB);
    figures.add_wanted("resident, peak", peak, "MB", wanted);
    for (what, measured) in [("fast", fast_alone), ("argon2", hash_alone), ("both", together)] {
        let errors = measured.number("errors");
        figures.must(errors == 0.0, || format!("{what}: {errors} errors"));
    }
    Ok(())
}

/// One load on a service of its own; and the most memory that it took.
fn measure(
    setup: &Setup,
    figures: &mut Figures,
    what: &str,
    load: &str,
) -> Result<(Measured, f64), String> {
    let service = Service::start(setup, &[], figures)?;
    let measured = Traffic::measure(setup, &service, figures, what, load)?;
    Ok((measured, service.rss_peak_mb()))
}
