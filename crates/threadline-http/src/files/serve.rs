//! From a request to its response: which file is meant, and whether it is a directory's page.
//!
//! Called by the router. May block on the disk, as every handler may.

use std::io;
use std::time::SystemTime;

use rustix::io::Errno;
use threadline_engine::log::limited;
use threadline_proto::Method;

use super::asset::{Asset, Tagging};
use super::precompressed::acceptable;
use super::reply::{self, Description};
use super::resolve::{Refusal, resolve};
use super::{Files, Found, listing};
use crate::Status;
use crate::framework_error::ErrorKind;
use crate::handler::{Handler, Needs};
use crate::request::Request;
use crate::response::Response;
use crate::router::RouteOptions;

/// Marks [`Files`] among handlers, which are functions otherwise. Always inferred.
#[derive(Debug)]
pub struct ServesFiles(());

impl Handler<ServesFiles> for Files {
    fn call(&self, request: &Request<'_>) -> Response {
        let whole = || request.path().strip_prefix('/').unwrap_or_default();
        let path = request.params().last().map_or_else(whole, |(_, path)| path);
        self.answer(request, path)
    }

    fn params(&self) -> Option<usize> {
        None
    }

    fn needs(&self, _needs: &mut Needs) {}

    fn route_options(&self) -> RouteOptions {
        self.options().clone()
    }
}

impl Files {
    /// Answers for the file at a percent-encoded path below the root.
    pub(crate) fn answer(&self, request: &Request<'_>, path: &str) -> Response {
        if !matches!(request.method(), Method::Get | Method::Head) {
            return Response::error_of(
                ErrorKind::Refused,
                Status::METHOD_NOT_ALLOWED,
                "files are read here: use GET",
            )
            .with_header("allow", "GET, HEAD");
        }
        let path = match resolve(path, self.dotfiles) {
            Ok(path) => path,
            Err(Refusal::Malformed) => {
                return Response::error_of(
                    ErrorKind::Refused,
                    Status::BAD_REQUEST,
                    "the path is no name of a file",
                );
            }
            Err(Refusal::Nothing) => return nothing(),
        };
        self.find(request, &path).unwrap_or_else(|error| failure(&error, &path))
    }

    fn find(&self, request: &Request<'_>, path: &str) -> io::Result<Response> {
        let is_directory = request.path().ends_with('/');
        Ok(match self.source.find(path)? {
            Some(Found::File(asset)) if !is_directory => self.file(request, path, asset)?,
            Some(Found::Directory) if is_directory => self.directory(request, path)?,
            Some(Found::Directory) => with_slash(request),
            _ => nothing(),
        })
    }

    /// A file, or the compressed sibling that the client would rather have.
    fn file(&self, request: &Request<'_>, path: &str, asset: Asset) -> io::Result<Response> {
        let (asset, coding) = match self.sibling(request, path, &asset)? {
            Some((sibling, coding)) => (sibling, Some(coding)),
            None => (asset, None),
        };
        let tagging = Tagging { hashes: &self.hashes, len_max: self.hashed_len_max };
        let about = Description {
            validators: asset.validators(coding, tagging, SystemTime::now())?,
            media_type: self.media_types.of(path),
            cache_control: self.cache.value(path),
            coding,
            varies: self.precompressed,
            ranges_max: self.ranges_max,
        };
        Ok(reply::respond(request, asset, about))
    }

    fn sibling(
        &self,
        request: &Request<'_>,
        path: &str,
        asset: &Asset,
    ) -> io::Result<Option<(Asset, &'static str)>> {
        if !self.precompressed {
            return Ok(None);
        }
        for coding in acceptable(request.headers()) {
            let sibling = self.source.find_file(&format!("{path}{}", coding.suffix))?;
            // An older one is of another version.
            let is_current = |sibling: &Asset| sibling.modified() >= asset.modified();
            if let Some(sibling) = sibling.filter(is_current) {
                return Ok(Some((sibling, coding.name)));
            }
        }
        Ok(None)
    }

    /// A directory's index, or what is in it.
    fn directory(&self, request: &Request<'_>, path: &str) -> io::Result<Response> {
        for name in &self.index {
            let path = if path.is_empty() { name.to_string() } else { format!("{path}/{name}") };
            if let Some(asset) = self.source.find_file(&path)? {
                return self.file(request, &path, asset);
            }
        }
        if !self.lists {
            return Ok(nothing());
        }
        let entries = self.source.list(path, self.dotfiles, self.listing_max)?;
        Ok(listing::respond(request, path, entries))
    }
}

/// The same answer whatever the reason.
fn nothing() -> Response {
    Response::error_of(ErrorKind::Refused, Status::NOT_FOUND, "there is no such file")
}

/// Sends the client to the directory's name with a slash: links in its page are relative to that. The
/// path is sent back as it came, which is clean ASCII. One that begins with two slashes, and so would
/// name a host, names no directory of ours.
fn with_slash(request: &Request<'_>) -> Response {
    let path = request.path();
    let location = match request.query() {
        Some(query) => format!("{path}/?{query}"),
        None => format!("{path}/"),
    };
    Response::new(Status::MOVED_PERMANENTLY).with_header("location", location)
}

/// What is wrong with us rather than with the path.
fn failure(error: &io::Error, path: &str) -> Response {
    // `AGAIN`: so much is renamed that no path can be followed to its end.
    let is_shortage = matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN)
    );
    limited!(error, "cannot read a file to serve", ?path, %error);
    if is_shortage {
        Response::error_of(
            ErrorKind::Refused,
            Status::SERVICE_UNAVAILABLE,
            "too busy to open the file, try again",
        )
        .with_header("retry-after", "1")
    } else {
        Response::error_of(
            ErrorKind::Refused,
            Status::INTERNAL_SERVER_ERROR,
            "the file cannot be read",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_passes_and_a_broken_disk_does_not() {
        for (errno, status) in [
            (Errno::MFILE, Status::SERVICE_UNAVAILABLE),
            (Errno::NFILE, Status::SERVICE_UNAVAILABLE),
            (Errno::NOMEM, Status::SERVICE_UNAVAILABLE),
            (Errno::AGAIN, Status::SERVICE_UNAVAILABLE),
            (Errno::IO, Status::INTERNAL_SERVER_ERROR),
        ] {
            let response = failure(&errno.into(), "a");
            assert_eq!(response.status(), status, "{errno}");
            let retries = response.header_bytes("retry-after").is_some();
            assert_eq!(retries, status == Status::SERVICE_UNAVAILABLE, "{errno}");
        }
    }
}
