//! What the C library's allocator does with large blocks.
//!
//! glibc takes blocks from 128 KB on from the system one by one, and gives them back when they are freed. But each
//! time such a block is freed, it raises this limit to the block's size, up to 32 MB, and keeps the next ones in the
//! arena of the thread (mallopt(3), M_MMAP_THRESHOLD). A small block that lives longer then keeps a large one that
//! has been freed from being used again: two threads that hashed passwords, with 19 MiB for each call, held 316 MB
//! after a hundred calls.

#![allow(unsafe_code)] // mallopt(3): our dependencies do not wrap it

/// Fixes the limit from which on blocks of memory are given back to the system as soon as they are freed, in bytes.
/// Does nothing where the allocator is not glibc's, or where the environment has set it already.
pub(crate) fn give_back_from(len: usize) {
    #[cfg(target_env = "gnu")]
    {
        let tunables = std::env::var_os("GLIBC_TUNABLES").unwrap_or_default();
        let is_tuned =
            tunables.as_encoded_bytes().windows(14).any(|name| name == b"mmap_threshold");
        if is_tuned || std::env::var_os("MALLOC_MMAP_THRESHOLD_").is_some() {
            return;
        }
        // What glibc would have set itself after a block of this size, which it then no longer does.
        let threshold = libc::c_int::try_from(len).unwrap_or(libc::c_int::MAX);
        // SAFETY: mallopt(3) is MT-safe once there has been an allocation, and its parameters are plain numbers.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, threshold);
            libc::mallopt(libc::M_TRIM_THRESHOLD, threshold.saturating_mul(2));
        }
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = len;
}
