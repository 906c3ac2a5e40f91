//! What can be said on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use threadline::{Address, Model, Server};

use crate::access_log::AccessLogArguments;

/// What stands at the end of a help page.
macro_rules! help_end {
    ($($example:literal)+) => {
        concat!(
            "Examples:\n",
            $("  threadline ", $example, "\n",)+
            "\nCtrl-C, SIGTERM or SIGHUP lets clients finish and ends; a second one ends at once.\n",
            "Exit codes: 0 everything was finished, 1 the service cannot run, 2 bad command line,\n",
            "3 something was cut off at the deadline of --drain, 128 + N ended by a second signal N.\n",
            "THREADLINE_LOG says what is logged on standard error: off, error, warn, info (default), debug\n",
            "(each request, and each refusal with its reason) or trace; MODULE=LEVEL,... for modules."
        )
    };
}

/// Network services in plain blocking Rust, on threads, at event-loop speed.
#[derive(Debug, Parser)]
#[command(name = "threadline", version, propagate_version = true, after_help = help_end!(
    "demo                        echo, chat and HTTP services on 127.0.0.1"
    "echo :12345                 an echo service, IPv4 and IPv6"
    "serve . --listing           the files of this directory on 127.0.0.1:8000"
))]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve echo, a chat room and HTTP side by side, to try things out
    #[command(after_help = help_end!(
        "demo                        echo, chat and HTTP services on 127.0.0.1"
        "demo --model pool           the same under another concurrency model"
        "demo --processes 2          the same in two worker processes"
    ))]
    Demo(Demo),
    /// Serve echo on ADDRESS: what a client sends comes back
    #[command(after_help = help_end!(
        "echo :12345                 an echo service, IPv4 and IPv6"
        "echo unix:/tmp/echo.sock    the same on a Unix socket"
        "echo :12345 --as lines      a line is answered as soon as it is whole"
    ))]
    Echo(Echo),
    /// Serve the files of DIRECTORY by HTTP
    #[command(after_help = help_end!(
        "serve . --listing                the files of this directory on 127.0.0.1:8000"
        "serve public :80 --cache 3600    a site for everybody, kept by clients for an hour"
        "serve . --access-log -           with a line for each request on standard output"
    ))]
    Serve(Serve),
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Address of the HTTP service
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) http: Address,
    /// Address of the echo service
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:12345")]
    pub(crate) echo: Address,
    /// Address of the chat room
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:12346")]
    pub(crate) chat: Address,
    #[command(flatten)]
    pub(crate) access_log: AccessLogArguments,
    #[command(flatten)]
    pub(crate) how: How,
}

#[derive(Debug, Args)]
pub(crate) struct Echo {
    /// Where to listen: HOST:PORT, :PORT, unix:PATH, unix:@NAME or fd:NUMBER
    pub(crate) address: Address,
    /// What a client sends
    #[arg(long = "as", value_enum, value_name = "KIND", default_value_t = Kind::Stream)]
    pub(crate) kind: Kind,
    #[command(flatten)]
    pub(crate) how: How,
}

/// How echo takes its input.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// Bytes: each client has a thread while it is connected
    Stream,
    /// Lines: a client between two lines costs no thread
    Lines,
    /// Frames of four bytes of length and so many bytes
    Frames,
    /// UDP datagrams
    Datagrams,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// What to serve; nothing outside of it is
    pub(crate) directory: PathBuf,
    /// Where to listen: HOST:PORT, :PORT, unix:PATH, unix:@NAME or fd:NUMBER
    #[arg(default_value = "127.0.0.1:8000")]
    pub(crate) address: Address,
    /// Show what is in directories without index.html [default: they are 404]
    #[arg(long)]
    pub(crate) listing: bool,
    /// How long clients may keep files without asking again [default: they ask each time]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) cache: Option<Duration>,
    /// Serve files and directories whose names begin with a dot, too
    #[arg(long)]
    pub(crate) dotfiles: bool,
    /// Follow symbolic links out of the directory, too
    #[arg(long)]
    pub(crate) follow_symlinks: bool,
    /// Send FILE.br, FILE.zst or FILE.gz in place of FILE to clients that take it
    #[arg(long)]
    pub(crate) precompressed: bool,
    #[command(flatten)]
    pub(crate) access_log: AccessLogArguments,
    #[command(flatten)]
    pub(crate) how: How,
}

/// How a service runs: the same for all of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "How it runs")]
pub(crate) struct How {
    /// Concurrency model: adaptive, event-loop, pool or thread-per-connection
    #[arg(long, default_value_t = Model::default())]
    model: Model,
    /// Event loops in each process [default: one for each core]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    shards: Option<usize>,
    /// Threads for handlers that block, at most [default: 1024, or half of those that the system allows]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    threads: Option<usize>,
    /// Worker processes, restarted when they die [default: none, this process serves]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    processes: Option<usize>,
    /// How many seconds the service may take to end once it is asked to stop, and clients to finish
    #[arg(long, value_name = "SECONDS", default_value = "8", value_parser = seconds)]
    drain: Duration,
    /// Connections at once, at most [default: 80 % of the descriptor limit]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    connections: Option<usize>,
}

impl How {
    /// The server with these settings.
    pub(crate) fn apply(&self, server: Server) -> Server {
        let server = server
            .model(self.model)
            .processes(self.processes.unwrap_or(0))
            .drain_timeout(self.drain);
        let server = match self.threads {
            Some(max) => server.pool_threads(max),
            None => server,
        };
        let server = match self.shards {
            Some(count) => server.shards(count),
            None => server,
        };
        match self.connections {
            Some(max) => server.settings(|settings| settings.connections_max = max),
            None => server,
        }
    }

    pub(crate) fn model(&self) -> Model {
        self.model
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("that is no whole number".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let whole = text.parse().map_err(|_| "that is no whole number of seconds")?;
    Ok(Duration::from_secs(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
