//! The response for a file that has been found: whole, in parts, or not at all.
//!
//! The order is that of RFC 9110 §13.2.2: conditions first, then the range. Every answer carries the
//! validators, so that a cache can renew what it has. Content goes out by the kernel (`sendfile`)
//! where it is one piece.

use std::borrow::Cow;
use std::ops::Range;
use std::time::SystemTime;

use threadline_proto::Method;

use super::asset::Asset;
use super::multipart::{byteranges, content_range};
use super::range::{Selection, select};
use crate::conditional::{Access, Conditions, Validators, Verdict};
use crate::date;
use crate::framework_error::ErrorKind;
use crate::request::Request;
use crate::response::{Response, Selected};
use crate::selected::CodedAround;
use crate::{Body, Status};

/// How a file is described, apart from itself.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) validators: Validators,
    pub(super) media_type: Cow<'static, str>,
    pub(super) cache_control: Cow<'static, str>,
    /// The coding of a compressed sibling.
    pub(super) coding: Option<&'static str>,
    /// Whether another client may get a compressed sibling.
    pub(super) varies: bool,
    /// How many ranges a client may ask for at a time.
    pub(super) ranges_max: usize,
}

/// Answers a `GET` or `HEAD` with a file.
pub(super) fn respond(request: &Request<'_>, asset: Asset, about: Description) -> Response {
    let conditions = Conditions::of(request.headers());
    match conditions.judge(Some(&about.validators), Access::Read) {
        Verdict::Go => {}
        Verdict::NotModified => {
            let selected = selected(&asset, &about);
            return described(Status::NOT_MODIFIED, &about).with_selected(selected);
        }
        Verdict::Failed => {
            let hint = "the file is not the version that the request is meant for";
            return Response::error_of(ErrorKind::Refused, Status::PRECONDITION_FAILED, hint);
        }
    }
    match asked_range(request, &conditions, &asset, &about) {
        Selection::Whole => whole(asset, about),
        Selection::Unsatisfiable => unsatisfiable(&asset, &about),
        Selection::Parts(parts) => partial(asset, about, &parts),
    }
}

/// What of it the client wants. Only `GET` has ranges (RFC 9110 §14.2).
fn asked_range(
    request: &Request<'_>,
    conditions: &Conditions<'_>,
    asset: &Asset,
    about: &Description,
) -> Selection {
    let mut fields = request.headers().all("range");
    // Two fields are as good as a malformed one.
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => std::str::from_utf8(field).ok(),
        _ => None,
    };
    match field {
        Some(field)
            if request.method() == Method::Get
                && conditions.allow_range(&about.validators)
                && !is_coded_around(request, asset, about) =>
        {
            select(field.trim(), asset.len, about.ranges_max)
        }
        _ => Selection::Whole,
    }
}

/// Whether an outer layer codes the file, so that its ranges are not served.
fn is_coded_around(request: &Request<'_>, asset: &Asset, about: &Description) -> bool {
    let coded = request.extensions().get::<CodedAround>();
    coded.is_some_and(|coded| coded.applies(&selected(asset, about)))
}

/// What the layers around have to know of a file that is not sent, or not as a whole.
fn selected(asset: &Asset, about: &Description) -> Selected {
    Selected {
        media_type: Some(about.media_type.clone()),
        len: Some(asset.len),
        is_fixed: about.coding.is_some() || is_no_transform(&about.cache_control),
    }
}

fn is_no_transform(cache_control: &str) -> bool {
    cache_control.split(',').any(|element| element.trim().eq_ignore_ascii_case("no-transform"))
}

/// Everything that a 200 and a 304 have in common (§15.4.5).
fn described(status: Status, about: &Description) -> Response {
    let mut response =
        Response::new(status).with_header("cache-control", about.cache_control.clone());
    if let Some(etag) = &about.validators.etag {
        response.append_header("etag", etag.clone());
    }
    if let Some(modified) = about.validators.modified {
        // Never in the future (§8.8.2.1).
        let modified = modified.min(SystemTime::now());
        response.append_header("last-modified", date::text(modified));
    }
    if about.varies {
        response.append_header("vary", "accept-encoding");
    }
    response
}

/// What is said of content, besides.
fn with_content(status: Status, about: &Description) -> Response {
    let mut response = described(status, about)
        .with_header("accept-ranges", "bytes")
        .with_header("x-content-type-options", "nosniff");
    if let Some(coding) = about.coding {
        response.append_header("content-encoding", coding);
    }
    response
}

fn whole(asset: Asset, about: Description) -> Response {
    let response = with_content(Status::OK, &about);
    let all = 0..asset.len;
    response.with_content_type(about.media_type).with_body(asset.content.into_body(all))
}

fn partial(asset: Asset, about: Description, parts: &[Range<u64>]) -> Response {
    let selected = selected(&asset, &about);
    let mut response = with_content(Status::PARTIAL_CONTENT, &about).with_selected(selected);
    let (media_type, body): (Cow<'static, str>, Body) = match parts {
        [part] => {
            response.append_header("content-range", content_range(part, asset.len));
            (about.media_type, asset.content.into_body(part.clone()))
        }
        parts => {
            let (media_type, body) = byteranges(asset, &about.media_type, parts);
            (media_type.into(), body)
        }
    };
    response.with_content_type(media_type).with_body(body)
}

/// 416, with the length there is (§15.5.17).
fn unsatisfiable(asset: &Asset, about: &Description) -> Response {
    let (len, max) = (asset.len, about.ranges_max);
    let hint = format_args!("the file has {len} bytes, and may be asked for in {max} ranges");
    Response::error_of(ErrorKind::Refused, Status::RANGE_NOT_SATISFIABLE, hint)
        .with_header("content-range", format!("bytes */{len}"))
        .with_header("accept-ranges", "bytes")
}
