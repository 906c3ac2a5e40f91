//! What is measured.

/// One table of the report: some servers under some loads.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub servers: Vec<&'static str>,
    /// Each load is run in every round.
    pub loads: Vec<Load>,
    pub rounds: usize,
    pub seconds: f64,
    pub cores: Cores,
    /// The report lists every run, not only medians.
    pub list_all: bool,
}

/// Arguments of the generator, and what to call them.
#[derive(Debug, Clone)]
pub struct Load {
    pub label: String,
    pub arguments: Vec<String>,
    /// Connections in a blocking handler: their ideal throughput is this over 50 ms.
    pub slow: usize,
}

/// Which cores the server and the generator run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// Server on core 0, generator on core 1.
    Apart,
    /// Both wherever the kernel puts them.
    Shared,
}

const PEERS: [&str; 9] =
    ["hyper", "axum", "actix", "may", "tiny", "astra", "nginx", "go", "thread-per-connection"];

fn load(label: impl Into<String>, arguments: &str, slow: usize) -> Load {
    let arguments = arguments.split_whitespace().map(str::to_owned).collect();
    Load { label: label.into(), arguments, slow }
}

fn scenario(name: &'static str, servers: &[&'static str], loads: Vec<Load>) -> Scenario {
    let servers = servers.to_vec();
    let cores = Cores::Apart;
    Scenario { name, servers, loads, rounds: 5, seconds: 1.5, cores, list_all: false }
}

/// Every scenario, in the order of the report.
pub fn every() -> Vec<Scenario> {
    let hello_servers = [&["raw-epoll", "threadline"][..], &PEERS].concat();
    let connections =
        |count: usize| load(format!("{count} connections"), &format!("--connections {count}"), 0);
    let hello = scenario("hello", &hello_servers, [64, 256, 1024].map(connections).to_vec());
    let pipelined = scenario(
        "pipelined",
        &["raw-epoll", "threadline", "hyper", "actix", "may"],
        vec![load("64 connections, depth 16", "--connections 64 --pipeline 16", 0)],
    );
    let echo_load = |count: usize| {
        let arguments = format!("--proto echo --size 64 --connections {count}");
        load(format!("{count} connections"), &arguments, 0)
    };
    let echo = scenario(
        "echo",
        &["raw-epoll-echo", "threadline-line"],
        [64, 1000].map(echo_load).to_vec(),
    );
    let echo_stream = scenario(
        "echo-stream",
        &["thread-per-connection-echo", "threadline-stream", "python-echo"],
        [64, 1000].map(echo_load).to_vec(),
    );
    let beside = |slow: usize| {
        let arguments = format!("--connections 64 --rate 10000 --slow {slow} --warmup 1");
        load(format!("K = {slow}"), &arguments, slow)
    };
    let blocking = Scenario {
        rounds: 6,
        seconds: 3.0,
        list_all: true,
        ..scenario(
            "blocking",
            &["threadline", "thread-per-connection", "hyper", "go"],
            [0, 10, 100, 1000].map(beside).to_vec(),
        )
    };
    let mixed = scenario(
        "mixed",
        &["thread-per-connection", "oneshot", "threadline", "raw-epoll", "hyper"],
        vec![load("64 connections", "--connections 64 --path /mixed", 0)],
    );
    let cpu = Scenario {
        cores: Cores::Shared,
        seconds: 3.0,
        rounds: 6,
        list_all: true,
        ..scenario(
            "cpu",
            &["thread-per-connection", "threadline-2", "go"],
            vec![load(
                "8 spinning",
                "--connections 64 --rate 2000 --slow 8 --slow-path /cpu --warmup 1",
                0,
            )],
        )
    };
    let idle = scenario(
        "idle",
        &["threadline", "raw-epoll", "nginx", "go"],
        vec![
            load("no idle connections", "--connections 64", 0),
            load("15 000 idle connections", "--connections 64 --idle 15000", 0),
        ],
    );
    let quiet = Scenario {
        rounds: 3,
        seconds: 10.0,
        ..scenario(
            "quiet",
            &["threadline"],
            vec![load("nobody, after one request", "--connections 1 --rate 0.001 --idle 1", 0)],
        )
    };
    let over = |path: &str, servers: &[&'static str], name| {
        let load = |count| {
            load(format!("{count} connections"), &format!("--connections {count} --path {path}"), 0)
        };
        scenario(name, servers, [64, 256].map(load).to_vec())
    };
    let frameworks = ["raw-epoll", "threadline", "hyper", "axum", "actix", "may", "go"];
    let routed = over("/users/1234", &frameworks, "routed");
    let orders =
        over("/orders", &["raw-epoll", "threadline", "hyper", "axum", "actix", "go"], "orders");
    let upload = over("/upload", &["threadline", "hyper", "axum", "actix", "go"], "upload");
    let file = over("/file", &["threadline", "nginx", "go"], "file");
    vec![
        hello,
        routed,
        orders,
        upload,
        file,
        pipelined,
        echo,
        echo_stream,
        blocking,
        mixed,
        cpu,
        idle,
        quiet,
    ]
}

/// The scenarios of these names; `all` and `smoke` are every one.
pub fn named(names: &[String]) -> Result<Vec<Scenario>, String> {
    if names.iter().any(|name| name == "all" || name == "smoke") {
        return Ok(every());
    }
    let find = |name: &String| {
        let known = every().into_iter().find(|scenario| scenario.name == name);
        known.ok_or_else(|| format!("no scenario is called {name}; --help lists them"))
    };
    names.iter().map(find).collect()
}

impl Scenario {
    /// As small as it can be: a check that everything answers, not a measurement.
    pub fn shrink(&mut self) {
        self.rounds = 1;
        self.seconds = 0.2;
        self.servers.retain(|name| crate::servers::is_ours(name));
        for load in &mut self.loads {
            for argument in &mut load.arguments {
                if argument == "15000" {
                    *argument = "200".to_owned();
                }
            }
        }
    }
}
