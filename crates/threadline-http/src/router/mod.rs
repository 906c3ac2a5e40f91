//! The router: which handler answers which method and path.
//!
//! [`Router`] collects routes and is read by people; `Table` is what it is built into and is read by
//! every request. Mistakes in routes are kept until [`Router::build`], so that a chain of routes
//! reads well and every mistake is reported before the first connection.

#[cfg(feature = "openapi")]
mod describe;
mod error;
mod fallback;
mod fixed;
mod methods;
mod options;
mod pattern;
mod table;
mod way;

use std::sync::Arc;

use crate::extensions::States;
use crate::files::Files;
use crate::framework_error::{ErrorForm, FrameworkError};
use crate::handler::Handler;
use crate::middleware::layer::{Layers, Middleware};
use crate::request::Request;
use crate::response::Response;
use crate::service::HttpService;
use crate::settings::HttpSettings;

pub use error::RouterError;
pub use fallback::Fallback;
pub use methods::{Methods, delete, get, head, on, options, patch, post, put};
pub use options::RouteOptions;
pub(crate) use table::{Endpoint, Found, Table};

/// Collects routes.
///
/// Patterns are those of `matchit`: `/fixed`, `/{name}` for one segment, `/{*rest}` for all that
/// follows. A fixed segment goes before a parameter. `HEAD` is answered by the handler of `GET`,
/// and `OPTIONS` with the methods there are, unless they have routes of their own.
///
/// Equivalent spellings of a path are the same path (RFC 3986 §6.2.2), in requests and in patterns:
/// `/caf%C3%A9`, `/%63af%c3%a9` and the pattern `/café`. Handlers and middleware see it in its normal form,
/// by [`Request::path`](crate::Request::path). `%2F` is not a separator, but a character of its segment. A
/// request whose path has a malformed escape, or an encoded `.` or `..` for a segment, is a 400; `.` and `..`
/// that are not encoded are segments like others, as clients resolve those that they mean. Slashes count:
/// `/a/` is another path than `/a`, and `//a` has an empty segment, which no parameter matches.
///
/// ```
/// use threadline_http::{Hint, HttpSettings, Path, Router, get};
///
/// let service = Router::new()
///     .get("/", || "front page")
///     .get("/users/{id}", |Path(id): Path<u64>| format!("user {id}"))
///     // With options, or several methods of one path:
///     .route("/cache", get(|| "so many entries").delete(|| "emptied").hint(Hint::Inline))
///     .fallback(|| "never a 404")
///     .settings(HttpSettings::default().body_len_max(64 * 1024))
///     .build()?;
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
///
/// A clone shares handlers, layers and states with the original, also what they count; what is added to one
/// of the two, or set, the other does not have. Its routes are proven and counted separately.
///
/// ```
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Router, State};
///
/// let common = Router::new().get("/", |State(name): State<&'static str>| name);
/// let blue = TestClient::new(common.clone().state("blue"))?;
/// let green = TestClient::new(common.state("green"))?;
/// assert_eq!((blue.get("/").send().text(), green.get("/").send().text()), ("blue", "green"));
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a router does nothing until it is built"]
pub struct Router {
    routes: Vec<Planned>,
    fallback: Option<Fallback>,
    states: States,
    /// Around everything, answers without a route included. The outermost first.
    layers: Layers,
    settings: Option<HttpSettings>,
    error_form: Option<ErrorForm>,
    /// The first mistake that no route shows.
    mistake: Option<RouterError>,
}

#[derive(Debug, Clone)]
struct Planned {
    pattern: String,
    slash: Slash,
    /// The layers of nested routers are among its options.
    methods: Methods,
}

/// Whether a route also answers its path with a slash after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slash {
    AsWritten,
    /// The front page of a nested router.
    MayFollow,
}

impl Router {
    /// A router without routes: every path is a 404.
    pub fn new() -> Self {
        Router::default()
    }

    /// Answers `GET`, and `HEAD` without the body.
    pub fn get<Args>(self, pattern: &str, handler: impl Handler<Args>) -> Self {
        self.route(pattern, get(handler))
    }

    /// Answers `POST`.
    pub fn post<Args>(self, pattern: &str, handler: impl Handler<Args>) -> Self {
        self.route(pattern, post(handler))
    }

    /// Answers `PUT`.
    pub fn put<Args>(self, pattern: &str, handler: impl Handler<Args>) -> Self {
        self.route(pattern, put(handler))
    }

    /// Answers `PATCH`.
    pub fn patch<Args>(self, pattern: &str, handler: impl Handler<Args>) -> Self {
        self.route(pattern, patch(handler))
    }

    /// Answers `HEAD` otherwise than `GET` without its body. An empty body says nothing of the length that
    /// `GET` would send; to declare one, set `content-length`, or give a body, which is not sent. So too
    /// where [`Router::fallback`] answers `HEAD`.
    ///
    /// ```
    /// use threadline_http::testing::TestClient;
    /// use threadline_http::{Method, Response, Router, Status};
    ///
    /// let router = Router::new()
    ///     .get("/report", || "dear to make")
    ///     .head("/report", || Response::new(Status::OK).with_header("content-length", "12"));
    /// let client = TestClient::new(router)?;
    /// let head = client.request(Method::Head, "/report").send();
    /// assert_eq!(head.header("content-length"), Some("12"));
    /// # Ok::<(), threadline_http::RouterError>(())
    /// ```
    pub fn head<Args>(self, pattern: &str, handler: impl Handler<Args>) -> Self {
        self.route(pattern, head(handler))
    }

    /// Answers `OPTIONS` otherwise than with the methods there are.
    pub fn options<Args>(self, pattern: &str, handler: impl Handler<Args>) -> Self {
        self.route(pattern, options(handler))
    }

    /// Answers `DELETE`.
    pub fn delete<Args>(self, pattern: &str, handler: impl Handler<Args>) -> Self {
        self.route(pattern, delete(handler))
    }

    /// Answers the methods of a [`Methods`] value, which has options for its handlers. To be called once or
    /// several times for a path; a method that is there twice is a [`RouterError::Duplicate`].
    ///
    /// ```
    /// use threadline_http::{Hint, Method, Router, get, on};
    ///
    /// let router = Router::new()
    ///     .route("/health", get(|| "fine").hint(Hint::Inline))
    ///     .route("/cache", on(Method::Extension("PURGE"), || "purged"));
    /// # router.build().unwrap();
    /// ```
    pub fn route(mut self, pattern: &str, methods: Methods) -> Self {
        let (pattern, slash) = (pattern.to_owned(), Slash::AsWritten);
        self.routes.push(Planned { pattern, slash, methods });
        self
    }

    /// Answers every path that has no route, in any method, instead of a 404.
    pub fn fallback<Args>(self, handler: impl Handler<Args>) -> Self {
        self.fallback_with(Fallback::new(handler))
    }

    /// As [`Router::fallback`], with options. Of several fallbacks the last one counts.
    pub fn fallback_with(mut self, fallback: Fallback) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// Serves files below a prefix such as `/static`, or `/` for all paths without a route of their own:
    /// the prefix itself, with and without a slash behind it, and everything that follows.
    ///
    /// ```
    /// use threadline_http::Router;
    /// use threadline_http::files::Files;
    ///
    /// let router = Router::new().files("/static", Files::dir("src")?);
    /// # router.build().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn files(self, prefix: &str, files: Files) -> Self {
        let prefix = prefix.trim_end_matches('/');
        let options = files.options().clone();
        let files = Arc::new(files);
        let root = {
            let files = Arc::clone(&files);
            move |request: &Request<'_>| files.answer(request, "")
        };
        let below = move |request: &Request<'_>| {
            files.answer(request, request.param("path").unwrap_or_default())
        };
        let root = || get(root.clone()).with_options(options.clone());
        let router = if prefix.is_empty() { self } else { self.route(prefix, root()) };
        router
            .route(&format!("{prefix}/"), root())
            .route(&format!("{prefix}/{{*path}}"), get(below).with_options(options.clone()))
    }

    /// Shares a value with all handlers: by [`State<T>`](crate::State), or
    /// [`Request::state`](crate::Request::state). One for each type.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(value);
        self
    }

    /// Puts middleware around everything that this router answers, those routes included that are
    /// added later, and the answers where no route is found. The layer that is added last is the
    /// outermost. For some handlers alone there are [`Methods::layer`] and its kin, whose layers are inside
    /// of these.
    pub fn layer(mut self, middleware: impl Middleware) -> Self {
        self.layers.add(middleware);
        self
    }

    /// Takes over the routes of another router, behind a prefix such as `/api`. Its route `/` answers the
    /// prefix with and without a slash after it. Its handlers and layers see the whole path, with the
    /// prefix. Its layers stay around its routes alone, and around what is answered at their paths without
    /// a handler (405, and `OPTIONS`, preflights included); a 404 has the layers of this router. Its states
    /// are shared where this router has none of the type.
    ///
    /// A fallback, settings and the form of errors are those of a whole service: if `inner` has some,
    /// [`Router::build`] fails with [`RouterError::NestedFallback`], [`RouterError::NestedSettings`] or
    /// [`RouterError::NestedErrors`].
    ///
    /// ```
    /// use threadline_http::testing::TestClient;
    /// use threadline_http::{Path, Router};
    ///
    /// let users = Router::new().get("/", || "all").get("/{id}", |Path(id): Path<u64>| id.to_string());
    /// let client = TestClient::new(Router::new().get("/", || "front").nest("/users", users))?;
    /// assert_eq!(client.get("/users").send().text(), "all");
    /// assert_eq!(client.get("/users/").send().text(), "all");
    /// assert_eq!(client.get("/users/7").send().text(), "7");
    /// # Ok::<(), threadline_http::RouterError>(())
    /// ```
    pub fn nest(mut self, prefix: &str, inner: Router) -> Self {
        let prefix = prefix.trim_end_matches('/');
        let mistake = inner.mistake.or_else(|| match (inner.fallback, inner.settings) {
            (Some(_), _) => Some(RouterError::NestedFallback { prefix: prefix.to_owned() }),
            (_, Some(_)) => Some(RouterError::NestedSettings { prefix: prefix.to_owned() }),
            (None, None) => inner
                .error_form
                .is_some()
                .then(|| RouterError::NestedErrors { prefix: prefix.to_owned() }),
        });
        self.mistake = self.mistake.or(mistake);
        for mut planned in inner.routes {
            planned.pattern = match &*planned.pattern {
                // The inner router's front page is the prefix itself.
                "/" if !prefix.is_empty() => {
                    planned.slash = Slash::MayFollow;
                    prefix.to_owned()
                }
                pattern => format!("{prefix}{pattern}"),
            };
            planned.methods.options.layers.add_all(&inner.layers);
            self.routes.push(planned);
        }
        self.states.merge(inner.states);
        self
    }

    /// Takes over the routes of another router as they are; as [`Router::nest`] without a prefix.
    pub fn merge(self, other: Router) -> Self {
        self.nest("", other)
    }

    /// Sets limits and deadlines.
    pub fn settings(mut self, settings: HttpSettings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Decides the form of every error that the framework makes: refusals of requests (400, 404, 413, 431, 503
    /// and the like), of extractors and of ready-made layers, and the 500s of panics. `form` gets the error as
    /// data. By default they are a line of text; [`FrameworkError::to_problem`] makes `application/problem+json`.
    ///
    /// Of the form the body is used, its media type and fields, and the status if it is one of an error. Fields
    /// of the error that it does not have, such as `Allow` and `Retry-After`, are added. The body must be in
    /// memory. If `form` panics, the text is sent.
    ///
    /// `form` must not block: some refusals are made by the thread that serves all connections. What handlers and
    /// layers of the program answer, also by [`Response::error`](crate::Response::error), is not changed.
    ///
    /// ```
    /// use threadline_http::testing::TestClient;
    /// use threadline_http::{FrameworkError, Response, Router};
    ///
    /// fn own(error: &FrameworkError) -> Response {
    ///     let (code, kind) = (error.status().code(), error.kind().name());
    ///     Response::text(format!("{{\"code\":{code},\"kind\":\"{kind}\"}}"))
    ///         .with_content_type("application/json")
    /// }
    ///
    /// let client = TestClient::new(Router::new().errors(own))?;
    /// assert_eq!(client.get("/").send().text(), r#"{"code":404,"kind":"not-found"}"#);
    /// # Ok::<(), threadline_http::RouterError>(())
    /// ```
    pub fn errors(
        mut self,
        form: impl Fn(&FrameworkError) -> Response + Send + Sync + 'static,
    ) -> Self {
        self.error_form = Some(ErrorForm::new(form));
        self
    }

    /// Makes the service.
    ///
    /// # Errors
    /// [`RouterError`] names the first route that cannot work.
    pub fn build(self) -> Result<HttpService, RouterError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let mut states = self.states;
        if let Some(form) = self.error_form {
            states.insert(form);
        }
        let mut table = Table::new(self.fallback, states, self.layers)?;
        for Planned { pattern, slash, methods } in self.routes {
            table.plan(pattern, slash, methods)?;
        }
        Ok(HttpService::new(table.grow()?, self.settings.unwrap_or_default()))
    }
}
