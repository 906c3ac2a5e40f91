//! A control group with a memory limit, for one service.
//!
//! Version 1 and 2 of control groups, below the root of the hierarchy; this takes root. Scenarios go on without
//! a group where there is none and look at the resident memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The group. Removed when it is dropped, after its processes have ended.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
    files: &'static Files,
}

/// What the two versions call the same.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    peak: &'static str,
}

const VERSION_1: Files =
    Files { limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes" };
const VERSION_2: Files = Files { limit: "memory.max", peak: "memory.peak" };

impl Cgroup {
    /// Makes a group below the root of the memory controller's hierarchy.
    ///
    /// # Errors
    /// Says what this machine lacks.
    pub fn with_memory(limit_bytes: u64) -> Result<Cgroup, String> {
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let (root, files) = hierarchy(&mounts).ok_or("no memory controller is mounted")?;
        let folder = root.join(format!("threadline-bench-{}", std::process::id()));
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir(&folder).map_err(failed)?;
        let group = Cgroup { folder: folder.clone(), files };
        fs::write(folder.join(files.limit), limit_bytes.to_string()).map_err(failed)?;
        Ok(group)
    }

    /// Starts a program that enters the group before it does anything else.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        command.arg(self.folder.join("cgroup.procs")).arg(program);
        command
    }

    /// The most memory that was charged to the group at a time, in MB: page cache and tmpfs included.
    pub fn peak_mb(&self) -> f64 {
        let text = fs::read_to_string(self.folder.join(self.files.peak)).unwrap_or_default();
        text.trim().parse().map_or(f64::NAN, |bytes: f64| bytes / 1024.0 / 1024.0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Where the memory controller is mounted, and by which version. A version 2 hierarchy that does not hand
/// the controller to its children is no use.
fn hierarchy(mounts: &str) -> Option<(PathBuf, &'static Files)> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut version_2 = None;
    for mount in fields.filter(|mount| mount.len() > 3) {
        let (at, kind, options) = (PathBuf::from(mount[1]), mount[2], mount[3]);
        if kind == "cgroup" && options.split(',').any(|option| option == "memory") {
            return Some((at, &VERSION_1));
        }
        if kind == "cgroup2" {
            let given = fs::read_to_string(at.join("cgroup.subtree_control")).unwrap_or_default();
            if given.split_whitespace().any(|controller| controller == "memory") {
                version_2 = Some((at, &VERSION_2));
            }
        }
    }
    version_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_controller_of_version_1_is_found_among_the_mounts() {
        let mounts = "proc /proc proc rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
            cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n";
        let (root, files) = hierarchy(mounts).expect("it is there");
        assert_eq!(root, Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(files.limit, "memory.limit_in_bytes");
    }

    #[test]
    fn a_hierarchy_without_the_memory_controller_is_no_use() {
        let folder = std::env::temp_dir();
        let mounts = format!("cgroup2 {} cgroup2 rw 0 0\n", folder.display());
        assert!(hierarchy(&mounts).is_none());
    }
}
