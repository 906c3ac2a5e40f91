//! `half-sent`: bodies of which half arrives and then nothing, in a memory cgroup.
//!
//! All halves together are larger than the memory, so the service has to write them to files, or to refuse
//! them. On tmpfs files are memory as well. The run fails if the service was killed.

use std::path::Path;
use std::time::Duration;

use super::cgroup::Cgroup;
use super::crowd::{Client, Crowd, Leave};
use super::service::Service;
use super::traffic::Traffic;
use super::{Figures, Setup};

const BODY_LEN: usize = 1_000_000;
const SENT: usize = BODY_LEN / 2;
const MEMORY_MAX: u64 = 200 * 1024 * 1024;
const FAST: &str = "--connections 16 --rate 1000";

pub fn run(setup: &Setup, figures: &mut Figures) -> Result<(), String> {
    for (label, folder) in [("disk", "/var/tmp"), ("tmpfs", "/dev/shm")] {
        if Path::new(folder).is_dir() {
            in_folder(setup, figures, label, folder)?;
        } else {
            figures.note(format!("{label}: left out, there is no {folder}"));
        }
    }
    Ok(())
}

fn in_folder(
    setup: &Setup,
    figures: &mut Figures,
    label: &str,
    folder: &str,
) -> Result<(), String> {
    let count = setup.clients(1000, 20);
    let cgroup = Cgroup::with_memory(MEMORY_MAX);
    if let Err(error) = &cgroup {
        figures.note(format!("without a memory cgroup: {error}; look at the resident memory"));
    }
    let settings = [("--body-dir", folder.to_owned())];
    let mut service = Service::start_in(cgroup.as_ref().ok(), setup, &settings, figures)?;
    let half = Client::half_body("/body", BODY_LEN, SENT);
    let crowd = Crowd::start(service.address, vec![half; count])?;
    let what = format!("{label}: fast route beside them");
    let fast = Traffic::measure(setup, &service, figures, what, FAST)?;
    let limit = setup.pick(Duration::from_secs(20), Duration::from_secs(3));
    crowd.wait_until(limit, |tally| tally.sent + (count - tally.waiting) >= count);
    let (peak, resident) =
        (cgroup.as_ref().map_or(f64::NAN, Cgroup::peak_mb), service.rss_peak_mb());
    let (tally, _) = crowd.leave(Leave::Close)?;
    let is_up = service.is_up();

    figures.add_wanted(format!("{label}: up"), f64::from(u8::from(is_up)), "", "1");
    figures.add_wanted(format!("{label}: fast requests/s beside them"), fast.rate(), "", "1000");
    figures.add(format!("{label}: fast p99 beside them"), fast.p99_ms(), "ms");
    figures.add_wanted(format!("{label}: memory of the cgroup, peak"), peak, "MB", "at most 200");
    figures.add(format!("{label}: resident memory, peak"), resident, "MB");
    figures.note(format!("{label}: {} of {count} halves sent; {}", tally.sent, tally.in_words()));
    figures
        .must(is_up, || format!("{label}: the service has ended, killed for its memory perhaps"));
    figures.must(tally.wrong == 0, || format!("{label}: a wrong answer: {:?}", tally.first_wrong));
    Ok(())
}
