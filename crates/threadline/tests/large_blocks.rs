//! Memory of large blocks goes back to the system as soon as it is freed: in a process of its own, since that is a
//! setting of the process.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs;

use threadline::Server;
use threadline::http::Router;

/// As many bytes as hashing a password takes.
const LARGE: usize = 19 << 20;

/// Memory of this process that is resident, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

#[test]
fn large_blocks_do_not_stay_because_small_ones_are_among_them() {
    let service = Server::new().http("127.0.0.1:0", Router::new()).start().expect("it starts");
    let before = resident();
    // On a thread whose arena is its own.
    let kept = std::thread::spawn(|| {
        let mut kept = Vec::new();
        for round in 0..20_u8 {
            let large = vec![round; LARGE];
            // Large enough for the allocator not to have one at hand.
            kept.push(vec![round; 100_000 + 100 * usize::from(round)]);
            drop(large);
            kept.push(vec![round; 50_000 + 100 * usize::from(round)]);
        }
        kept
    });
    let kept = kept.join().expect("no panic");
    let held = resident().saturating_sub(before);
    assert!(held < LARGE, "{held} bytes are held for {} small blocks", kept.len());
    drop(service);
}
