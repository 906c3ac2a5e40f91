//! Static files: from a directory, or from the program itself.
//!
//! [`Files`] is a handler. It answers `GET` and `HEAD` for everything below a root, and says nothing
//! of what is outside of it: what is missing, forbidden, hidden or behind a link that is not followed
//! is the same 404. It never writes, and never reads anything but files and, for listings, directories.
//!
//! A request's way: `resolve` makes names of its path, `dir` or `embedded` finds what they name,
//! `precompressed` may choose a sibling, `reply` looks at the request's conditions and ranges. `serve`
//! leads the way.
//!
//! | file | |
//! | --- | --- |
//! | `resolve.rs` | what a path names below the root, as text; [`Dotfiles`] |
//! | `dir.rs` | opening below a directory, and nowhere else; [`Symlinks`] |
//! | `embedded.rs` | files that are part of the program |
//! | `source.rs` | one or the other |
//! | `serve.rs` | from a request to its response |
//! | `asset.rs` | a file that has been found, whichever source it is from, and its validators |
//! | `stamp.rs` | what the file system says of a file's version |
//! | `hashes.rs` | the hashes of files' content, each made once |
//! | `precompressed.rs` | which compressed siblings the client would rather have |
//! | `mime.rs` | which media type a file is sent as |
//! | `cache.rs` | what `Cache-Control` says |
//! | `reply.rs` | the response |
//! | `range.rs`, `multipart.rs` | which parts the client asks for; several in one response |
//! | `listing.rs` | what is in a directory, as a page or as JSON |

mod asset;
mod cache;
mod dir;
mod embedded;
mod hashes;
mod listing;
mod mime;
mod multipart;
mod precompressed;
mod range;
mod reply;
mod resolve;
mod serve;
mod source;
mod stamp;

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use threadline_engine::Hint;

use cache::CachePolicy;
use hashes::Hashes;
use mime::MediaTypes;
use source::{Found, Hidden, Source};

use crate::middleware::layer::Middleware;
#[cfg(feature = "openapi")]
use crate::openapi::Operation;
use crate::router::RouteOptions;

pub use dir::Symlinks;
pub use resolve::Dotfiles;
pub use serve::ServesFiles;

/// Serves static files, from a directory or from the program itself.
///
/// Give it to [`Router::files`](crate::Router::files), or use it as a handler: it takes the path from
/// the last parameter of the route's pattern, and where the pattern has none, the whole path.
///
/// ```
/// use std::time::Duration;
/// use threadline_http::Router;
/// use threadline_http::files::Files;
///
/// let public = Files::dir("src")?
///     .cache(Duration::from_secs(3600))
///     .immutable("assets/*")
///     .precompressed();
/// let router = Router::new()
///     .get("/hello", || "routes of their own go first")
///     .files("/", public)
///     .get("/sources/{*path}", Files::dir("src")?.listing());
/// # router.build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// | setting | default |
/// | --- | --- |
/// | [`index`](Files::index) | `index.html` |
/// | [`listing`](Files::listing) | none: a directory without index is a 404 |
/// | [`listing_max`](Files::listing_max) | 10 000 entries |
/// | [`precompressed`](Files::precompressed) | compressed siblings are not looked for |
/// | [`cache`](Files::cache), [`cache_control`](Files::cache_control) | `no-cache`: kept, and asked for each time |
/// | [`immutable`](Files::immutable) | nothing is |
/// | [`ranges_max`](Files::ranges_max) | 16 in one request, then 416 |
/// | [`hashed_len_max`](Files::hashed_len_max) | 1 MB |
/// | [`hashes_max`](Files::hashes_max) | 16 384 files |
/// | [`dotfiles`](Files::dotfiles) | [`Dotfiles::Hidden`] |
/// | [`symlinks`](Files::symlinks) | [`Symlinks::Inside`] |
/// | [`media_type`](Files::media_type) | by extension; `application/octet-stream` |
/// | [`charset`](Files::charset) | `utf-8`, for text |
/// | [`hint`](Files::hint) | none: the engine proves the routes |
/// | [`layer`](Files::layer) | none |
///
/// # Validators
/// A file of up to [`hashed_len_max`](Files::hashed_len_max) bytes has an `ETag` made of its content, which
/// is read once for each version. A longer one has a tag made of its inode and dates, which is not the same on
/// two machines. `Last-Modified` is left out where the file's date cannot be that of its content: before
/// 1990, as all files of images have that are built reproducibly, and after 9999. A file that was changed
/// within the last two seconds has a weak tag, or none if it is long, so that no client puts parts of two
/// versions together (RFC 9111 §3.4). For the same reason a client that asks for a part of the version of a date
/// (`If-Range`) gets the whole file where a tool has set that date (`cp -p`, `rsync -a`, `tar`): the inode was changed more than
/// two seconds after it.
#[derive(Debug, Clone)]
#[must_use = "files are served by a router only"]
pub struct Files {
    source: Source,
    index: Vec<Cow<'static, str>>,
    lists: bool,
    listing_max: usize,
    precompressed: bool,
    cache: CachePolicy,
    ranges_max: usize,
    /// Shared by the clones.
    hashes: Arc<Hashes>,
    hashed_len_max: u64,
    dotfiles: Dotfiles,
    media_types: MediaTypes,
    options: RouteOptions,
}

impl Files {
    /// The files in a directory and in those below it.
    ///
    /// The path is looked up for each request: a directory that is replaced, or a link to the latest
    /// release that is pointed elsewhere, is noticed. A relative one is relative to the working
    /// directory of now.
    ///
    /// # Errors
    /// If it is not a directory, or cannot be opened. The message names it.
    pub fn dir(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Files::of(Source::dir(path.as_ref())?))
    }

    /// Files that are part of the program, as paths and content. They have no date, and a validator
    /// made of their content.
    ///
    /// ```
    /// use threadline_http::Router;
    /// use threadline_http::files::Files;
    /// use threadline_http::testing::TestClient;
    ///
    /// const ASSETS: &[(&str, &[u8])] = &[
    ///     ("index.html", b"<!doctype html><title>Hello</title>"),
    ///     ("source.rs", include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs"))),
    /// ];
    /// let client = TestClient::new(Router::new().files("/about", Files::embedded(ASSETS)))?;
    /// assert!(client.get("/about/").send().text().contains("Hello"));
    /// # Ok::<(), threadline_http::RouterError>(())
    /// ```
    ///
    /// # Panics
    /// If a path cannot be asked for (write it as `css/main.css`: no slash at either end, no `..`), is
    /// there twice, or is a file and a directory.
    pub fn embedded(files: &[(&'static str, &'static [u8])]) -> Self {
        Files::of(Source::embedded(files))
    }

    fn of(source: Source) -> Self {
        Files {
            source,
            index: vec![Cow::Borrowed("index.html")],
            lists: false,
            listing_max: 10_000,
            precompressed: false,
            cache: CachePolicy::default(),
            ranges_max: 16,
            hashes: Arc::new(Hashes::new(16_384)),
            hashed_len_max: 1024 * 1024,
            dotfiles: Dotfiles::default(),
            media_types: MediaTypes::default(),
            options: RouteOptions::new(),
        }
    }

    /// Sets the names that are looked for when a directory is asked for, the first that is there wins.
    /// None: a directory has no page of its own.
    pub fn index<N: Into<Cow<'static, str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.index = names.into_iter().map(Into::into).collect();
        self
    }

    /// Shows what is in a directory that has no index: as a page, or as JSON to clients whose `Accept`
    /// prefers it. Without this, such a directory is a 404.
    pub fn listing(mut self) -> Self {
        self.lists = true;
        self
    }

    /// Sets how many entries a listing shows. What is beyond is left out, in no particular order.
    pub fn listing_max(mut self, entries: usize) -> Self {
        self.listing_max = entries;
        self
    }

    /// Sends `app.js.br`, `app.js.zst` or `app.js.gz` in place of `app.js` to clients that would rather
    /// have it, if it is there and not older than the file itself.
    pub fn precompressed(mut self) -> Self {
        self.precompressed = true;
        self
    }

    /// Lets everybody keep files for so long without asking again. Counted in whole seconds.
    pub fn cache(mut self, age: Duration) -> Self {
        self.cache.set_age(age);
        self
    }

    /// Sets `Cache-Control`, as it is sent. Of [`Files::cache`] and this, the later one holds.
    pub fn cache_control(mut self, value: impl Into<Cow<'static, str>>) -> Self {
        self.cache.set(value.into());
        self
    }

    /// Lets everybody keep the files of a pattern for ever (RFC 8246): for names that change with
    /// their content. The pattern is of the path below the root, `*` is any characters, slashes
    /// included: `assets/*`, `*.min.js`. May be said several times.
    pub fn immutable(mut self, pattern: impl Into<String>) -> Self {
        self.cache.add_immutable(pattern.into());
        self
    }

    /// Sets how many ranges a client may ask for in one request; more are answered with 416. Ranges
    /// that overlap are joined. 0: there are no ranges at all.
    pub fn ranges_max(mut self, ranges: usize) -> Self {
        self.ranges_max = ranges;
        self
    }

    /// Sets the longest file in bytes whose content is read to make its `ETag`, once for each version. With
    /// 0, only empty files have an `ETag` of their content. If several machines serve the same long files,
    /// raise it to the length of the longest: tags of content are the same on all of them. Default 1 MB.
    pub fn hashed_len_max(mut self, bytes: u64) -> Self {
        self.hashed_len_max = bytes;
        self
    }

    /// Sets for how many files the hash of the content is kept, at some 100 bytes each. With more files than
    /// that, some are read again for their `ETag`. Default 16 384.
    pub fn hashes_max(mut self, files: usize) -> Self {
        self.hashes = Arc::new(Hashes::new(files));
        self
    }

    /// Sets which names that begin with a dot are served.
    pub fn dotfiles(mut self, dotfiles: Dotfiles) -> Self {
        self.dotfiles = dotfiles;
        self
    }

    /// Sets which symbolic links are followed. Means nothing to embedded files.
    pub fn symlinks(mut self, symlinks: Symlinks) -> Self {
        self.source.set_symlinks(symlinks);
        self
    }

    /// Sets the media type of the files with an extension, as it is sent. `extension` is the part
    /// behind the last dot, in any case.
    pub fn media_type(mut self, extension: &str, media_type: impl Into<Cow<'static, str>>) -> Self {
        self.media_types.add(extension, media_type.into());
        self
    }

    /// Sets the charset that text is said to have: `text/*` and JavaScript. `None`: it is not said.
    pub fn charset(mut self, charset: Option<&'static str>) -> Self {
        self.media_types.set_charset(charset.map(Cow::Borrowed));
        self
    }

    /// Says what is known of all routes of these files beforehand, as
    /// [`Methods::hint`](crate::Methods::hint): [`Hint::Blocking`] for a disk that is always slow.
    ///
    /// ```
    /// use threadline_http::files::Files;
    /// use threadline_http::{Hint, Router};
    ///
    /// let router = Router::new().files("/archive", Files::dir("src")?.hint(Hint::Blocking));
    /// # router.build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hint(mut self, hint: Hint) -> Self {
        self.options = self.options.hint(hint);
        self
    }

    /// Puts middleware around all routes of these files, inside of the router's layers. The layer that is
    /// added last is the outermost. As with [`Methods::layer`](crate::Methods::layer), it is around a 405 and
    /// the reply to `OPTIONS` at their paths too, where they were added by
    /// [`Router::files`](crate::Router::files).
    pub fn layer(mut self, middleware: impl Middleware) -> Self {
        self.options = self.options.layer(middleware);
        self
    }

    /// Says for [OpenAPI](crate::openapi) what all routes of these files do. To leave them out of the
    /// document: `.describe(Operation::hidden)`.
    #[cfg(feature = "openapi")]
    pub fn describe(
        mut self,
        say: impl Fn(Operation) -> Operation + Send + Sync + 'static,
    ) -> Self {
        self.options = self.options.describe(say);
        self
    }

    /// What applies to all routes of these files.
    pub(crate) fn options(&self) -> &RouteOptions {
        &self.options
    }
}
