//! How much memory the process may use: that of the machine, or less if a control group limits it.
//!
//! A container's limit is that of its control group, in version 2 (`memory.max`) or version 1
//! (`memory.limit_in_bytes`) of the interface: see `limits.rs`.

#![allow(unsafe_code)] // malloc_trim(3): no safe wrapper among our dependencies

use std::fs;
use std::path::Path;

use super::limits::{MEMORY, limit_of_groups};

/// What is assumed where the kernel tells nothing: 1 GB.
const UNKNOWN: u64 = 1 << 30;

/// The bytes of memory that the process may use. Reads a few files of `/proc` and `/sys`.
pub(crate) fn memory_max() -> u64 {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|info| total_of(&info));
    let group = limit_of_groups(&MEMORY, read);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory() {
        assert_eq!(total_of("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
        assert!(memory_max() > 1 << 20);
    }
}
