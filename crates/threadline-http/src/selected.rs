//! What a response that is not the whole representation stands for: told by handlers and layers that make
//! a 304 or a 206 to the layers around them.
//!
//! A 304 and a 206 must carry the fields that the 200 would (RFC 9110 §15.3.7, §15.4.5), and a layer that
//! changes these for some content cannot see what that content is: a 304 has none, and the media type of
//! several parts is not that of the whole. Never sent.

use threadline_proto::response::Status;

use crate::header_value::HeaderValue;
use crate::middleware::fields::has_element;
use crate::response::{Aside, Response, Selected};

impl Response {
    /// Tells the layers around what it stands for.
    pub(crate) fn with_selected(mut self, selected: Selected) -> Self {
        self.aside = Some(Box::new(Aside::Selected(selected)));
        self
    }

    /// What it stands for, if it has been told.
    #[cfg(any(feature = "gzip", feature = "brotli", feature = "zstd"))]
    pub(crate) fn selected(&self) -> Option<&Selected> {
        match self.aside.as_deref()? {
            Aside::Selected(selected) => Some(selected),
            Aside::Upgrade(_) | Aside::Pending(_) | Aside::Error(_) | Aside::Panicked(_) => None,
        }
    }

    /// What the response, if it is whole, is.
    pub(crate) fn as_selected(&self) -> Selected {
        Selected {
            media_type: self.content_type.as_ref().and_then(HeaderValue::to_text),
            len: self.body.len(),
            is_fixed: FIXED.iter().any(|name| self.header_bytes(name).is_some())
                || (self.header_bytes("content-range").is_some()
                    && self.status != Status::PARTIAL_CONTENT)
                || has_element(self, "cache-control", "no-transform"),
        }
    }
}

/// Fields of responses whose bytes must stay what they are: coded already, or with a digest (RFC 9530, RFC
/// 3230).
const FIXED: [&str; 5] =
    ["content-encoding", "content-digest", "repr-digest", "digest", "content-md5"];

/// Left with a request whose response will be coded by a layer around: a part of its content as it is would
/// be none of what the client gets as a whole (RFC 9110 §14.2), so `Range` is not followed where this holds.
pub(crate) struct CodedAround(Box<dyn Fn(&Selected) -> bool + Send + Sync>);

impl CodedAround {
    #[cfg(any(feature = "gzip", feature = "brotli", feature = "zstd"))]
    pub(crate) fn new(is_coded: impl Fn(&Selected) -> bool + Send + Sync + 'static) -> Self {
        CodedAround(Box::new(is_coded))
    }

    /// Whether a representation would be coded.
    pub(crate) fn applies(&self, selected: &Selected) -> bool {
        (self.0)(selected)
    }
}
