//! What the server process used while it was measured, from procfs.

use std::collections::HashMap;
use std::fs;

/// CPU time and memory of a process at one moment.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Nanoseconds on a core, by thread (schedstat).
    threads: HashMap<u32, u64>,
    /// All threads, ended ones included, in hundredths of a second.
    hundredths: u64,
    /// User memory in KB (RssAnon + RssFile), page tables and sockets not counted.
    pub rss_kb: u64,
    /// Of that, memory that is not mapped from a file.
    pub anon_kb: u64,
    /// Threads alive.
    pub thread_count: usize,
}

impl Usage {
    /// Looks at a process.
    pub fn of(pid: u32) -> Usage {
        let mut usage = Usage::default();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let stat = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
            let spent = stat.split(' ').next().and_then(|spent| spent.parse().ok());
            let tid = entry.file_name().to_string_lossy().parse().ok();
            if let (Some(tid), Some(spent)) = (tid, spent) {
                usage.threads.insert(tid, spent);
            }
        }
        usage.thread_count = usage.threads.len();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th after it.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        let field = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        usage.hundredths = field(12) + field(13);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kb = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB");
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap_or(0)
        };
        usage.rss_kb = kb("VmRSS");
        usage.anon_kb = kb("RssAnon");
        usage
    }

    /// Nanoseconds used since `earlier`, and whether that is exact. If threads have ended in between,
    /// their last share is known only to 10 ms.
    pub fn since(&self, earlier: &Usage) -> (u64, bool) {
        let ended = earlier.threads.keys().any(|tid| !self.threads.contains_key(tid));
        if ended {
            return ((self.hundredths - earlier.hundredths) * 10_000_000, false);
        }
        let spent = |(tid, now): (&u32, &u64)| now - earlier.threads.get(tid).copied().unwrap_or(0);
        (self.threads.iter().map(spent).sum(), true)
    }
}
