//! Slow clients and overload: what a service does with them, and what others notice of it.
//!
//! Each scenario starts threadline's own service, puts bad clients on it, and measures ordinary ones beside
//! them. Figures are printed beside what is wanted, and not checked; what must hold on every machine
//! (the service is still up, every answer was right) is checked. Everything runs on all cores, the clients
//! too, which sleep while they have nothing to do.
//!
//! - `setup`, `figures`: sizes and settings of a run; what it gave
//! - `service`, `cgroup`: the service as a process, in a bounded group if that is asked for
//! - `crowd`, `traffic`, `calls`: bad clients in bulk; measured load by `lg`; single calls
//! - `compiler`: threads that compute on every core
//! - a file for each scenario

mod abandoned;
mod calls;
mod cgroup;
mod cold_route;
mod compiler;
mod compiling;
mod computing;
mod crowd;
mod figures;
mod half_sent;
mod non_readers;
mod service;
mod setup;
mod slow_bodies;
mod soak;
mod traffic;

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

pub use figures::{Figures, table};
pub use setup::Setup;

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Overload {
    pub name: &'static str,
    /// For `--help`: the clients, and what is measured.
    pub about: &'static str,
    run: fn(&Setup, &mut Figures) -> Result<(), String>,
}

/// Every scenario, in the order of the report. The soak comes last and is not part of `overload`.
pub const ALL: [Overload; 8] = [
    Overload {
        name: "slow-bodies",
        about: "520 bodies of 1 MB at 300 bytes/s beside a blocking route",
        run: slow_bodies::run,
    },
    Overload {
        name: "half-sent",
        about: "1000 bodies of 1 MB of which half comes, in a memory cgroup of 200 MB; body_dir on disk and on tmpfs",
        run: half_sent::run,
    },
    Overload {
        name: "non-readers",
        about: "600 clients that never read 10 MB (static, owned, file, iterator, compressed) beside a blocking and a fast route",
        run: non_readers::run,
    },
    Overload {
        name: "abandoned",
        about: "5000 calls of 4 s whose clients go, by FIN and by reset",
        run: abandoned::run,
    },
    Overload {
        name: "cold-route",
        about: "first calls of routes while 4, and 512, pool threads are stuck",
        run: cold_route::run,
    },
    Overload {
        name: "computing",
        about: "16 clients in argon2 (19 MiB) beside 32 on a fast route",
        run: computing::run,
    },
    Overload {
        name: "compiler",
        about: "first calls and a blocking route beside a thread that computes on every core, against thread per connection",
        run: compiling::run,
    },
    Overload {
        name: "soak",
        about: "--minutes of resets, slow clients, panics, uploads and non-readers: descriptors, threads, memory",
        run: soak::run,
    },
];

/// The scenarios that `name` means: one, or a group. Empty if it means none of these.
pub fn named(name: &str) -> Vec<Overload> {
    let wanted = |overload: &&Overload| match name {
        "overload" => overload.name != "soak",
        "smoke" => true,
        _ => overload.name == name,
    };
    ALL.iter().filter(wanted).copied().collect()
}

impl Overload {
    /// Runs the rounds, one after the other.
    ///
    /// # Errors
    /// If the service or the generator cannot be started, or the service has ended.
    pub fn run(&self, setup: &Setup, rounds: usize) -> Result<Vec<Figures>, String> {
        raise_descriptor_limit();
        (1..=rounds)
            .map(|round| {
                let mut figures = Figures::default();
                let ran = (self.run)(setup, &mut figures);
                ran.map_err(|error| format!("{}: {error}", self.name))?;
                eprintln!("{}: round {round} of {rounds}", self.name);
                Ok(figures)
            })
            .collect()
    }
}

/// As many descriptors as the process may have, for the clients and, since it inherits the limit, the service.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Up to the hard limit takes no privilege.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Looks at something until it is so; how long that took. `None` if it was not within the limit.
fn wait_until(limit: Duration, mut is_so: impl FnMut() -> bool) -> Option<Duration> {
    let began = Instant::now();
    loop {
        if is_so() {
            return Some(began.elapsed());
        }
        if began.elapsed() > limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
