//! Limits on the process: those of its control groups, and how many threads it may have.
//!
//! A container's limits are those of its control group, in version 2 or version 1 of the interface. A group is bound
//! by the limits of all groups above it too, as far as they are visible here (cgroups(7)).

use std::fs;
use std::path::{Component, Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// How many threads there may be: in the control group, of the user (`RLIMIT_NPROC`, which does not bind root) and
/// on the machine. Others that count against these limits are not subtracted.
pub(crate) fn threads_max() -> u64 {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/sys/kernel/threads-max"));
    let machine = machine.and_then(|text| text.trim().parse().ok());
    let user = getrlimit(Resource::Nproc).current;
    let group = limit_of_groups(&THREADS, read);
    [machine, user, group].into_iter().flatten().min().unwrap_or(u64::MAX)
}

/// What a controller of control groups is called, and its files with the limit.
pub(super) struct Controller {
    name: &'static str,
    version_1: &'static str,
    version_2: &'static str,
}

pub(super) const MEMORY: Controller =
    Controller { name: "memory", version_1: "memory.limit_in_bytes", version_2: "memory.max" };
const THREADS: Controller =
    Controller { name: "pids", version_1: "pids.max", version_2: "pids.max" };

/// The smallest limit of the control groups that the process is in, if there is one.
pub(super) fn limit_of_groups(
    controller: &Controller,
    read: impl Fn(&Path) -> Option<String>,
) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let mounts = mounts.lines().filter_map(|line| Mount::of(line, controller));
    let limits = mounts.flat_map(|mount| {
        let (top, group) = mount.place(&groups, controller).unwrap_or_default();
        // From the group itself up to where the hierarchy is mounted.
        let folders: Vec<_> = group.ancestors().map(|folder| top.join(folder)).collect();
        let limit = |folder: PathBuf| read(&folder.join(mount.file))?.trim().parse::<u64>().ok();
        folders.into_iter().filter_map(limit).collect::<Vec<_>>()
    });
    limits.min()
}

/// A mounted hierarchy of control groups that has the controller.
struct Mount<'m> {
    /// The group that is seen at `top`.
    root: &'m Path,
    top: &'m Path,
    /// The name of the file that has a group's limit.
    file: &'static str,
    is_version_2: bool,
}

impl<'m> Mount<'m> {
    /// By a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
    fn of(line: &'m str, controller: &Controller) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, top) = (Path::new(place.next()?), Path::new(place.next()?));
        let mut kind = kind.split(' ');
        let (name, options) = (kind.next()?, kind.nth(1)?);
        match name {
            "cgroup2" => Some(Mount { root, top, file: controller.version_2, is_version_2: true }),
            "cgroup" if options.split(',').any(|option| option == controller.name) => {
                Some(Mount { root, top, file: controller.version_1, is_version_2: false })
            }
            _ => None,
        }
    }

    /// Where the hierarchy is mounted, and the process's group relative to that, by the text of
    /// `/proc/self/cgroup`. A group that is not below the mount is taken for the mount's own.
    fn place(&self, groups: &str, controller: &Controller) -> Option<(PathBuf, PathBuf)> {
        let group = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let is_it = if self.is_version_2 {
                controllers.is_empty()
            } else {
                controllers.split(',').any(|name| name == controller.name)
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
        limit_of(&MEMORY, files)
    }

    fn limit_of(controller: &Controller, files: &[(&str, &str)]) -> Option<u64> {
        let files: HashMap<_, _> = files.iter().copied().collect();
        let read = |path: &Path| files.get(path.to_str()?).map(|text| (*text).to_owned());
        limit_of_groups(controller, read)
    }

    const VERSION_2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
    const VERSION_1: &str = "\
        31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
        32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

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
    fn threads_have_a_controller_of_their_own() {
        let version_2 = [
            ("/proc/self/cgroup", "0::/outer/inner\n"),
            ("/proc/self/mountinfo", VERSION_2),
            ("/sys/fs/cgroup/outer/inner/memory.max", "1\n"),
            ("/sys/fs/cgroup/outer/inner/pids.max", "max\n"),
            ("/sys/fs/cgroup/outer/pids.max", "100\n"),
        ];
        assert_eq!(limit_of(&THREADS, &version_2), Some(100));
        let version_1 = [
            ("/proc/self/cgroup", "8:pids:/a\n4:memory:/b\n0::/\n"),
            ("/proc/self/mountinfo", "33 30 0:28 / /cgroup/pids rw - cgroup cgroup rw,pids\n"),
            ("/cgroup/pids/a/pids.max", "300\n"),
            ("/cgroup/pids/b/pids.max", "2\n"),
        ];
        assert_eq!(limit_of(&THREADS, &version_1), Some(300));
        assert!(threads_max() > 1);
    }

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        assert_eq!(limit(&[]), None);
        let files = [("/proc/self/cgroup", "nonsense"), ("/proc/self/mountinfo", "more - of it")];
        assert_eq!(limit(&files), None);
    }
}
