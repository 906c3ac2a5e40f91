//! `slow-bodies`: request bodies that arrive slowly, beside a blocking and a fast route.
//!
//! Shows whether a body holds a pool thread while it arrives, whether that slows other calls down, and when the
//! deadline of bodies ends the last of them. The service has its default settings.

use std::time::{Duration, Instant};

use super::crowd::{Client, Crowd, Leave, Tally};
use super::service::{Service, Setting};
use super::traffic::{ORDINARY, Traffic};
use super::{Figures, Setup};

const BODY_LEN: usize = 1_000_000;
const BYTES_PER_SECOND: f64 = 300.0;

pub fn run(setup: &Setup, figures: &mut Figures) -> Result<(), String> {
    let count = setup.clients(520, 20);
    let settings: &[Setting<'_>] = &[("--body-timeout", "1".to_owned())];
    let settings = if setup.smoke { settings } else { &[] };
    let mut service = Service::start(setup, settings, figures)?;
    let alone = Traffic::measure(setup, &service, figures, "ordinary clients alone", ORDINARY)?;

    let slow_body = Client::slow_body("/body", BODY_LEN, BYTES_PER_SECOND);
    let began = Instant::now();
    let crowd = Crowd::start(service.address, vec![slow_body; count])?;
    let sent = |tally: &Tally| tally.sent == count;
    if crowd.wait_until(Duration::from_secs(20), sent).is_none() {
        figures.note(format!("only {} bodies had begun after 20 s", crowd.tally().sent));
    }
    let held = service.held_threads()?;
    let beside =
        Traffic::measure(setup, &service, figures, "ordinary clients beside them", ORDINARY)?;
    let limit = setup.pick(Duration::from_secs(60), Duration::from_secs(3));
    let ended = crowd.wait_until(limit.saturating_sub(began.elapsed()), |t| t.waiting == 0);
    let ended = ended.map_or(f64::NAN, |_| began.elapsed().as_secs_f64());
    let (tally, _) = crowd.leave(Leave::Close)?;

    figures.add("blocking calls/s alone", alone.slow_rate(), "");
    figures.add_wanted("blocking calls/s beside them", beside.slow_rate(), "", "as alone");
    figures.add("blocking p99 alone", alone.slow_p99_ms(), "ms");
    figures.add_wanted("blocking p99 beside them", beside.slow_p99_ms(), "ms", "as alone");
    figures.add("fast p99 alone", alone.p99_ms(), "ms");
    figures.add_wanted("fast p99 beside them", beside.p99_ms(), "ms", "as alone");
    figures.add_wanted("pool threads held by bodies", held, "", "0");
    let wanted = "at most 34: 30 s, the rate, an eighth";
    figures.add_wanted("the last body ended after", ended, "s", wanted);
    figures.note(format!(
        "{count} bodies, their answers after at most {limit:?}: {}",
        tally.in_words()
    ));
    figures.must(service.is_up(), || "the service has ended".to_owned());
    figures.must(tally.wrong == 0, || format!("a wrong answer: {:?}", tally.first_wrong));
    Ok(())
}
