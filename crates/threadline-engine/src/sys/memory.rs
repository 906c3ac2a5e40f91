//! How much memory the process may use: that of the machine, or less if a control group limits it.
//!
//! A container's limit is that of its control group, in version 2 (`memory.max`) or version 1
//! (`memory.limit_in_bytes`) of the interface. A group is bound by the limits of all groups above it too, as
//! far as they are visible here (cgroups(7)).

#![allow(unsafe_code)] // malloc_trim(3): no safe wrapper among our dependencies

use std::fs;
use std::path::{Component, Path, PathBuf};

/// What is assumed where the kernel tells nothing: 1 GB.
const UNKNOWN: u64 = 1 << 30;

/// The bytes of memory that the process may use. Reads a few files of `/proc` and `/sys`.
pub(crate) fn memory_max() -> u64 {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|info| total_of(&info));
    let group = limit_of_groups(read);
    machine.into_iter().chain(group).min().unwrap_or(UNKNOWN)
}

/// Returns memory to the system that the allocator has and the program does not use. glibc's keeps what was freed
/// in the middle of its heaps; with other allocators this does nothing.
pub(crate) fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time from any thread; it takes the allocator's own locks. If the
    // program has another allocator, the heap that this trims is hardly used.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The machine's memory, by the text of `/proc/meminfo`.
fn total_of(info: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The smallest limit of the control groups that the process is in, if there is one.
fn limit_of_groups(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let limits = mounts.lines().filter_map(Mount::of).flat_map(|mount| {
        let (top, group) = mount.place(&groups).unwrap_or_default();
        // From the group itself up to where the hierarchy is mounted.
        let folders: Vec<_> = group.ancestors().map(|folder| top.join(folder)).collect();
        let limit = |folder: PathBuf| read(&folder.join(mount.file))?.trim().parse::<u64>().ok();
        folders.into_iter().filter_map(limit).collect::<Vec<_>>()
    });
    limits.min()
}

/// A mounted hierarchy of control groups that limits memory.
struct Mount<'m> {
    /// The group that is seen at `top`.
    root: &'m Path,
    top: &'m Path,
    /// The name of the file that has a group's limit.
    file: &'static str,
}

impl<'m> Mount<'m> {
    /// By a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
    fn of(line: &'m str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, top) = (Path::new(place.next()?), Path::new(place.next()?));
        let mut kind = kind.split(' ');
        let (name, options) = (kind.next()?, kind.nth(1)?);
        match name {
            "cgroup2" => Some(Mount { root, top, file: "memory.max" }),
            "cgroup" if options.split(',').any(|option| option == "memory") => {
                Some(Mount { root, top, file: "memory.limit_in_bytes" })
            }
            _ => None,
        }
    }

    /// Where the hierarchy is mounted, and the process's group relative to that, by the text of
    /// `/proc/self/cgroup`. A group that is not below the mount is taken for the mount's own.
    fn place(&self, groups: &str) -> Option<(PathBuf, PathBuf)> {
        let is_version_2 = self.file == "memory.max";
        let group = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let is_it = if is_version_2 {
                controllers.is_empty()
            } else {
                controllers.split(',').any(|controller| controller == "memory")
            };
            is_it.then_some(Path::new(path))
        })?;
        let below = group.strip_prefix(self.root).unwrap_or(Path::new(""));
        let is_visible = below.components().all(|part| matches!(part, Component::Normal(_)));
        let below = if is_visible { below } else { Path::new("") };
        Some((self.top.to_owned(), below.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// The limit that is found in these files.
    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        let files: HashMap<_, _> = files.iter().copied().collect();
        limit_of_groups(|path| files.get(path.to_str()?).map(|text| (*text).to_owned()))
    }

    const VERSION_2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
    const VERSION_1: &str = "\
        31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
        32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn the_machine_has_memory() {
        assert_eq!(total_of("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
        assert!(memory_max() > 1 << 20);
    }

    #[test]
    fn the_smallest_limit_of_a_group_and_those_above_it_counts() {
        let files = [
            ("/proc/self/cgroup", "0::/outer/inner\n"),
            ("/proc/self/mountinfo", VERSION_2),
            ("/sys/fs/cgroup/outer/inner/memory.max", "max\n"),
            ("/sys/fs/cgroup/outer/memory.max", "209715200\n"),
        ];
        assert_eq!(limit(&files), Some(200 << 20));
        let own = ("/sys/fs/cgroup/outer/inner/memory.max", "1048576\n");
        assert_eq!(limit(&[files[0], files[1], own, files[3]]), Some(1 << 20));
        assert_eq!(limit(&files[..3]), None, "no limit");
    }

    #[test]
    fn version_1_has_a_hierarchy_for_memory() {
        let files = [
            ("/proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/b\n0::/\n"),
            ("/proc/self/mountinfo", VERSION_1),
            ("/sys/fs/cgroup/memory/b/memory.limit_in_bytes", "4096\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/cpu/a/memory.limit_in_bytes", "1\n"),
        ];
        assert_eq!(limit(&files), Some(4096));
    }

    /// A container sees its own group as the root of the mount, whatever its name is outside.
    #[test]
    fn a_group_that_is_mounted_as_the_root_is_found() {
        let mount = "32 30 0:28 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        for group in ["4:memory:/docker/1f\n", "4:memory:/\n", "4:memory:/../other\n"] {
            let files = [
                ("/proc/self/cgroup", group),
                ("/proc/self/mountinfo", mount),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "8192\n"),
            ];
            assert_eq!(limit(&files), Some(8192), "{group}");
        }
    }

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        assert_eq!(limit(&[]), None);
        let files = [("/proc/self/cgroup", "nonsense"), ("/proc/self/mountinfo", "more - of it")];
        assert_eq!(limit(&files), None);
    }
}
