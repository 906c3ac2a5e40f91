//! [`OwnedHead`]: a head that is kept when the bytes that it came in are gone.
//!
//! Made for the few requests that outlive their handler's call. The text is copied once, into one buffer;
//! nothing is parsed again, neither when it is made nor when it is read.

use std::fmt;

use self_cell::self_cell;

use crate::Method;
use crate::request::headers::Field;
use crate::request::{Head, Headers};

/// A head with its own copy of the text that it borrows from: `Send`, `Sync` and `'static`.
///
/// ```
/// use threadline_proto::request::{self, HeaderSlots, Limits, OwnedHead, Parsed};
///
/// let mut slots = HeaderSlots::new();
/// let input = b"GET /notes?draft HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
/// let parsed = request::parse(&input, &mut slots, &Limits::default());
/// let Ok(Parsed::Head(head)) = parsed else { panic!("a whole head") };
/// let owned = OwnedHead::new(&head);
/// drop(input);
/// assert_eq!((owned.head().target.path(), owned.head().host()), ("/notes", Some("h")));
/// ```
pub struct OwnedHead(HeadCell);

// Two cells, since a head borrows from its fields, and these from the text.
self_cell!(
    struct FieldsCell {
        owner: Vec<u8>,
        #[covariant]
        dependent: Fields,
    }
);

self_cell!(
    struct HeadCell {
        owner: FieldsCell,
        #[covariant]
        dependent: HeadOf,
    }
);

type HeadOf<'a> = Head<'a, 'a>;

/// The parts of a text.
struct Fields<'a> {
    method: Method<'a>,
    target: &'a [u8],
    fields: Box<[Field<'a>]>,
}

impl OwnedHead {
    /// Copies a head.
    pub fn new(head: &Head<'_, '_>) -> Self {
        let (method, target, fields) = (head.method.as_str(), head.target.raw(), head.headers.0);
        let len = fields.iter().map(|field| field.name.len() + field.value.len()).sum::<usize>();
        let mut text = Vec::with_capacity(method.len() + target.len() + len);
        text.extend_from_slice(method.as_bytes());
        text.extend_from_slice(target);
        for field in fields {
            text.extend_from_slice(field.name);
            text.extend_from_slice(field.value);
        }
        let cell = FieldsCell::new(text, |text| Fields::cut(text, head));
        OwnedHead(HeadCell::new(cell, |cell| cell.borrow_dependent().head(head)))
    }

    /// The head.
    pub fn head(&self) -> &Head<'_, '_> {
        self.0.borrow_dependent()
    }
}

impl<'a> Fields<'a> {
    /// Cuts the text into pieces that are as long as those of `head`, in the order in which it was put
    /// together.
    fn cut(mut text: &'a [u8], head: &Head<'_, '_>) -> Self {
        let mut next = |len: usize| {
            let (piece, rest) = text.split_at(len);
            text = rest;
            piece
        };
        let method = next(head.method.as_str().len());
        let target = next(head.target.raw().len());
        let cut = |field: &Field<'_>| Field {
            name: next(field.name.len()),
            value: next(field.value.len()),
        };
        let fields = head.headers.0.iter().map(cut).collect();
        // It was text before it was copied.
        let method = Method::from_token(str::from_utf8(method).unwrap_or_default());
        Fields { method, target, fields }
    }

    /// `head`, with the text that is kept here.
    fn head(&'a self, head: &Head<'_, '_>) -> HeadOf<'a> {
        let headers = Headers(&self.fields);
        Head {
            method: self.method,
            target: head.target.moved(self.target),
            version: head.version,
            headers,
            // There is only one such field.
            host: head.host.and_then(|_| headers.get("host")),
            len: head.len,
            body: head.body,
            keep_alive: head.keep_alive,
            expects_continue: head.expects_continue,
            may_upgrade: head.may_upgrade,
        }
    }
}

impl fmt::Debug for OwnedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Form, HeaderSlots, Limits, Parsed, Version, parse};

    /// A copy of the head of `text`, which is gone by then.
    fn owned(text: &str) -> OwnedHead {
        let text = text.as_bytes().to_vec();
        let mut slots = HeaderSlots::new();
        match parse(&text, &mut slots, &Limits::default()) {
            Ok(Parsed::Head(head)) => OwnedHead::new(&head),
            other => panic!("not a head: {other:?}"),
        }
    }

    #[test]
    fn threads_can_share_it() {
        fn shared<T: Send + Sync + 'static>() {}
        shared::<OwnedHead>();
    }

    #[test]
    fn every_part_of_a_head_is_kept() {
        for text in [
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a?b=c&d HTTP/1.0\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: h:80\r\nA:\r\nA: b\r\na:  c \r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
            "PURGE http://a/b?c HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n",
            "POST https://a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: a/1, b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: a/1, b\r\n\r\n",
        ] {
            let mut slots = HeaderSlots::new();
            let parsed = parse(text.as_bytes(), &mut slots, &Limits::default());
            let Ok(Parsed::Head(head)) = parsed else { panic!("{text:?}: {parsed:?}") };
            let owned = owned(text);
            // Each field and its value are in the text of `Debug`.
            assert_eq!(format!("{owned:?}"), format!("{head:?}"));
            let copy = owned.head();
            assert!(copy.headers.iter().eq(head.headers.iter()), "{text:?}");
            assert!(copy.upgrades().eq(head.upgrades()), "{text:?}");
            assert_eq!((copy.host(), copy.target.form()), (head.host(), head.target.form()));
        }
    }

    #[test]
    fn values_that_are_not_text_are_kept() {
        let mut slots = HeaderSlots::new();
        let input = b"GET / HTTP/1.1\r\nHost: h\r\nX: \xe4\xff\r\n\r\n".to_vec();
        let parsed = parse(&input, &mut slots, &Limits::default());
        let Ok(Parsed::Head(head)) = parsed else { panic!("{parsed:?}") };
        let owned = OwnedHead::new(&head);
        drop(input);
        assert_eq!(owned.head().headers.get("x"), Some(&b"\xe4\xff"[..]));
        assert_eq!(owned.head().version, Version::Http11);
        assert_eq!(owned.head().target.form(), Form::Origin);
    }
}
