//! Bytes of a reply that are sent from where they are.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Bytes in memory that need not be copied to be sent: what a peer does not take at once waits where it is.
///
/// ```
/// use std::sync::Arc;
/// use threadline_engine::Bytes;
///
/// let page: Arc<[u8]> = Arc::from(&b"the same for all"[..]);
/// for bytes in [Bytes::from(page), Bytes::from("a constant"), Bytes::from(vec![1, 2, 3])] {
///     println!("{} bytes", bytes.len());
/// }
/// ```
#[derive(Clone)]
pub enum Bytes {
    /// Of this reply alone.
    Owned(Vec<u8>),
    /// Constants of the program. They never count as waiting bytes.
    Static(&'static [u8]),
    /// Shared with others. They count as waiting bytes only if all who hold them, by the count of references, are
    /// connections whose peers are slow, each of which counts for its share: what the program keeps anyway is not
    /// held because a peer waits. That is looked at when they begin to wait, and every few seconds.
    Shared(Arc<[u8]>),
}

impl Bytes {
    /// No bytes.
    pub const EMPTY: Bytes = Bytes::Static(b"");

    /// The memory that is free once they are dropped: none of shared ones that others hold too.
    pub fn memory(&self) -> usize {
        match self {
            Bytes::Owned(bytes) => bytes.capacity(),
            Bytes::Static(_) => 0,
            Bytes::Shared(bytes) if Arc::strong_count(bytes) > 1 => 0,
            Bytes::Shared(bytes) => bytes.len(),
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Static(bytes) => bytes,
            Bytes::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes::EMPTY
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::Owned(bytes)
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Bytes::Owned(text.into_bytes())
    }
}

impl From<&'static [u8]> for Bytes {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::Static(bytes)
    }
}

impl From<&'static str> for Bytes {
    fn from(text: &'static str) -> Self {
        Bytes::Static(text.as_bytes())
    }
}

impl From<Arc<[u8]>> for Bytes {
    fn from(bytes: Arc<[u8]>) -> Self {
        Bytes::Shared(bytes)
    }
}

impl From<Cow<'static, [u8]>> for Bytes {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => Bytes::Static(bytes),
            Cow::Owned(bytes) => Bytes::Owned(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_nobody_else_holds() {
        assert_eq!(Bytes::from(Vec::with_capacity(10)).memory(), 10);
        assert_eq!(Bytes::from("static").memory(), 0);
        let kept: Arc<[u8]> = Arc::from(vec![0; 10]);
        let shared = Bytes::from(Arc::clone(&kept));
        assert_eq!(shared.memory(), 0);
        drop(kept);
        assert_eq!(shared.memory(), 10);
    }
}
