//! Compression and decompression, each tested by the other.

mod compress;
mod decompress;

use std::borrow::Cow;

use super::*;
use crate::Response;
use crate::body::{BodyError, BodyReader, Incoming};
use crate::middleware::testing::{Stack, request, request_with};
use crate::request::Request;

/// Decodes with this crate's decoder, without bounds that matter.
fn decoded(coding: Coding, bytes: &[u8]) -> Result<Vec<u8>, BodyError> {
    let bounds = decoder::Bounds { len_max: u64::MAX, ratio_max: u32::MAX };
    let decoder = decoder::Decoded::new(coding, Incoming::Whole(bytes), bounds);
    Incoming::Arriving(&decoder).bytes().map(Cow::into_owned)
}

fn encoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    encoder::encode(bytes, coding, Effort::Balanced).expect("encoded")
}

fn text(len: usize) -> String {
    "all work and no play makes Jack a dull boy\n".repeat(len / 40)[..len].to_owned()
}
