//! `abandoned`: calls whose clients go away, by FIN and by reset, while the calls wait for a pool thread.
//!
//! Shows when the queue is empty, how many calls were run although nobody waited for them, and how long a new call
//! of the same route waits.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::calls::call;
use super::crowd::{Client, Crowd, Leave, Tally};
use super::service::Service;
use super::{Figures, Setup};

/// How long the queue and a new call are waited for.
const LIMIT: Duration = Duration::from_secs(90);

pub fn run(setup: &Setup, figures: &mut Figures) -> Result<(), String> {
    gone_by(setup, figures, "FIN", Leave::Close)?;
    gone_by(setup, figures, "reset", Leave::Reset)
}

fn gone_by(setup: &Setup, figures: &mut Figures, label: &str, how: Leave) -> Result<(), String> {
    let count = setup.clients(5000, 40);
    let call_takes = setup.pick(Duration::from_secs(4), Duration::from_millis(300));
    let settings = [("--pool-threads", "4".to_owned())];
    let settings = if setup.smoke { &settings[..] } else { &[] };
    let mut service = Service::start(setup, settings, figures)?;
    let path = format!("/sleep/{}", call_takes.as_millis());
    let client = Client::get(&path, b"slept").expecting(&[200, 503]);
    let crowd = Crowd::start(service.address, vec![client; count])?;
    let all_sent = |tally: &Tally| tally.sent + (count - tally.open) >= count;
    crowd.wait_until(Duration::from_secs(20), all_sent);
    // Whatever runs now was called before now, and so ends by then.
    let running_end = Instant::now() + call_takes;
    let queued = service.number("/gauges/pool_queue")?;
    let (tally, gone) = crowd.leave(how)?;
    let address = service.address;
    let new_call = std::thread::spawn(move || new_call(address));
    // That call may be in the queue as well.
    let emptied = service.wait_for("/gauges/pool_queue", 1.0, LIMIT)?;
    let emptied = emptied.map_or(f64::NAN, |_| gone.elapsed().as_secs_f64());
    let answered = new_call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if let Err(error) = &answered {
        figures.note(format!("{label}: the new call: {error}"));
    }
    // Of the new call's thread nothing is left; all others that run were called by those who have gone.
    service.wait_for("/gauges/pool_busy", 0.0, LIMIT)?;
    let run = service.number("/sleeps")? - f64::from(u8::from(answered.is_ok()));
    let since = |from: Instant| {
        let at = answered.as_ref().ok();
        at.map_or(f64::NAN, |at| seconds_between(from, *at))
    };

    figures.add(format!("{label}: calls in the queue when they went"), queued, "");
    figures.add_wanted(format!("{label}: queue empty after"), emptied, "s", "at most 1.5");
    figures.add(format!("{label}: new call answered after"), since(gone), "s");
    let wanted = "at most 1";
    let what = format!("{label}: new call answered after the end of the running ones");
    figures.add_wanted(what, since(running_end), "s", wanted);
    figures.add(format!("{label}: calls that were run, of {count}"), run, "");
    figures.note(format!("{label}: answers before they went: {}", tally.in_words()));
    figures.must(service.is_up(), || format!("{label}: the service has ended"));
    figures.must(tally.wrong == 0, || format!("{label}: a wrong answer: {:?}", tally.first_wrong));
    Ok(())
}

/// Calls the same route, so that it waits for the same threads. While the queue is full the call is refused, and
/// comes again soon. Returns when it was answered.
fn new_call(service: SocketAddr) -> Result<Instant, String> {
    let began = Instant::now();
    loop {
        match call(service, "/sleep/1", b"slept", LIMIT) {
            Ok(_) => return Ok(Instant::now()),
            Err(error) if began.elapsed() > LIMIT => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Negative if `to` is earlier.
fn seconds_between(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
        - from.saturating_duration_since(to).as_secs_f64()
}
