//! Several parts of a file in one response: `multipart/byteranges` (RFC 9110 §14.6).
//!
//! The length is known before anything is read, so the connection stays usable. The parts are read
//! while they are sent; never more than one piece of them is in memory.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Cursor, Read};
use std::ops::Range;

use super::asset::Asset;
use crate::body::Body;

/// The media type and the content for these parts of a file, which is of `media_type`.
pub(super) fn byteranges(asset: Asset, media_type: &str, parts: &[Range<u64>]) -> (String, Body) {
    let boundary = boundary();
    let mut pieces = VecDeque::with_capacity(2 * parts.len() + 1);
    let mut len = 0;
    let mut text = format!("--{boundary}\r\n");
    for part in parts {
        let range = content_range(part, asset.len);
        text += &format!("content-type: {media_type}\r\ncontent-range: {range}\r\n\r\n");
        len += text.len() as u64 + (part.end - part.start);
        pieces.push_back(Piece::Text(Cursor::new(text.into_bytes())));
        pieces.push_back(Piece::Part(part.clone()));
        text = format!("\r\n--{boundary}\r\n");
    }
    let end = format!("\r\n--{boundary}--\r\n");
    len += end.len() as u64;
    pieces.push_back(Piece::Text(Cursor::new(end.into_bytes())));
    let reader = Parts { asset, pieces };
    (format!("multipart/byteranges; boundary={boundary}"), Body::sized_reader(reader, len))
}

/// `Content-Range` for a part that is not empty (§14.4).
pub(super) fn content_range(part: &Range<u64>, len: u64) -> String {
    format!("bytes {}-{}/{len}", part.start, part.end - 1)
}

/// Not to be guessed, so that no file can be written to have it in its content.
fn boundary() -> String {
    let random = || RandomState::new().hash_one("boundary");
    format!("{:016x}{:016x}", random(), random())
}

enum Piece {
    Text(Cursor<Vec<u8>>),
    Part(Range<u64>),
}

struct Parts {
    asset: Asset,
    pieces: VecDeque<Piece>,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(piece) = self.pieces.front_mut() {
            let count = match piece {
                Piece::Text(text) => text.read(buffer)?,
                Piece::Part(part) if part.is_empty() => 0,
                Piece::Part(part) => {
                    let left = usize::try_from(part.end - part.start).unwrap_or(usize::MAX);
                    let room = buffer.len().min(left);
                    let count = self.asset.content.read_at(&mut buffer[..room], part.start)?;
                    if count == 0 {
                        // The file has become shorter since its length was asked for.
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    part.start += count as u64;
                    count
                }
            };
            if count > 0 {
                return Ok(count);
            }
            self.pieces.pop_front();
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn asset() -> Asset {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"0123456789").expect("written");
        let metadata = file.metadata().expect("metadata");
        Asset::of_file(file, &metadata)
    }

    #[test]
    fn rfc9110_14_6_parts_have_heads_of_their_own() {
        let (media_type, body) = byteranges(asset(), "text/plain", &[0..2, 7..10]);
        let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").expect("one");
        let expected = format!(
            "--{boundary}\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-1/10\r\n\r\n01\r\n\
             --{boundary}\r\ncontent-type: text/plain\r\ncontent-range: bytes 7-9/10\r\n\r\n789\r\n\
             --{boundary}--\r\n"
        );
        assert_eq!(body.len(), Some(expected.len() as u64));
        assert_eq!(String::from_utf8(body.into_bytes().expect("read")), Ok(expected));
    }

    #[test]
    fn boundaries_differ() {
        assert_ne!(boundary(), boundary());
        assert_eq!(boundary().len(), 32);
    }

    #[test]
    fn a_file_that_has_become_shorter_is_an_error() {
        let asset = asset();
        let super::super::asset::Content::File(file) = &asset.content else { panic!("a file") };
        file.set_len(1).expect("cut");
        let (_, body) = byteranges(asset, "text/plain", &[0..2, 7..10]);
        let error = body.into_bytes().expect_err("too short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
