//! `bench`: starts servers and the load generator, in interleaved rounds, and reports.
//!
//! - `scenario`: what is measured, and with which parameters
//! - `servers`: what is measured against what, and how each is started
//! - `round`: one server, one load
//! - `report`: medians, spread and ratios, as a table and as a JSON file
//!
//! Each round runs every server of a scenario once, in random order, pinned to other cores than the
//! generator. A ratio is always against the reference of the same round.

mod report;
mod round;
mod scenario;
mod servers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Measures threadline against references and peers.
#[derive(Debug, Parser)]
#[command(
    after_help = "Scenarios: hello routed orders upload file pipelined echo echo-stream blocking mixed cpu idle \
quiet, \
all of them: all, a quick check of them: smoke"
)]
struct Arguments {
    /// Which to run
    #[arg(required = true)]
    scenarios: Vec<String>,
    /// Rounds; the default is the scenario's own
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds measured in each run
    #[arg(long)]
    seconds: Option<f64>,
    /// Only these servers, separated by commas
    #[arg(long, value_delimiter = ',')]
    servers: Option<Vec<String>>,
    /// Where the JSON files go
    #[arg(long, default_value = "results")]
    results: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: some replies were wrong or missing, see above");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether every reply was right.
fn run(arguments: &Arguments) -> Result<bool, String> {
    let smoke = arguments.scenarios.iter().any(|name| name == "smoke");
    let scenarios = scenario::named(&arguments.scenarios)?;
    let mut right = true;
    for mut scenario in scenarios {
        if let Some(wanted) = &arguments.servers {
            scenario.servers.retain(|name| wanted.iter().any(|wanted| wanted == name));
        }
        scenario.rounds = arguments.rounds.unwrap_or(scenario.rounds);
        scenario.seconds = arguments.seconds.unwrap_or(scenario.seconds);
        if smoke {
            scenario.shrink();
        }
        let runs = round::run_all(&scenario)?;
        right &= runs.iter().all(|run| run.errors() == 0);
        println!("{}", report::table(&scenario, &runs));
        if !smoke {
            let file = report::save(&arguments.results, &scenario, &runs)?;
            println!("raw runs: {}\n", file.display());
        }
    }
    Ok(right)
}
