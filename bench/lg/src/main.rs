//! `lg`: the load generator. One thread, one epoll loop, every reply checked.
//!
//! - `arguments`: what it is asked to do
//! - `connection`: one connection: requests out, replies checked
//! - `load`: the loop; closed (as fast as replies come) or open (at a given rate)
//! - `server`: what the server process used meanwhile
//!
//! In open loop a latency counts from the moment the request was *scheduled*, whether or not a
//! connection was free then: a server that stalls is charged for everybody who had to wait ("no
//! coordinated omission").

mod arguments;
mod connection;
mod load;
mod server;

use clap::Parser;

fn main() {
    let arguments = arguments::Arguments::parse();
    match load::run(&arguments) {
        Ok(report) => match serde_json::to_string_pretty(&report) {
            Ok(json) => println!("{json}"),
            Err(error) => fail(&error.to_string()),
        },
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(message: &str) -> ! {
    eprintln!("lg: {message}");
    std::process::exit(1)
}
