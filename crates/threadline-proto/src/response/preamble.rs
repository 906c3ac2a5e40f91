//! The start of a response, made once a second and copied into each.

/// How the commonest response begins: its status line and its date, ready to be copied.
///
/// Made once a second; every response begins with all of it, or with its date line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble([u8; Preamble::LEN]);

impl Preamble {
    pub(super) const STATUS_LINE: &[u8] = b"HTTP/1.1 200 OK\r\n";
    const LEN: usize = Self::STATUS_LINE.len() + b"date: ".len() + 29 + b"\r\n".len();

    /// `date` is an IMF-fixdate (RFC 9110 §5.6.7). The clock is the caller's.
    pub const fn new(date: &[u8; 29]) -> Self {
        let parts: [&[u8]; 4] = [Self::STATUS_LINE, b"date: ", date, b"\r\n"];
        let (mut text, mut len, mut part) = ([0; Self::LEN], 0, 0);
        while part < parts.len() {
            let (_, place) = text.split_at_mut(len);
            let (place, _) = place.split_at_mut(parts[part].len());
            place.copy_from_slice(parts[part]);
            (len, part) = (len + parts[part].len(), part + 1);
        }
        Preamble(text)
    }

    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    pub(super) fn date_line(&self) -> &[u8] {
        &self.0[Self::STATUS_LINE.len()..]
    }
}
