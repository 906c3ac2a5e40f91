//! [`Methods`]: the handlers of one path, by method, with their options.
//!
//! Made by [`get`], [`post`] and the like, and given to [`Router::route`](crate::Router::route). Options
//! belong to the value, not to what was added last, so their order does not matter. Nothing is checked here:
//! the table does that when the router is built.

use std::fmt;

use threadline_engine::{Hint, Route};
use threadline_proto::Method;

use super::options::RouteOptions;
use super::table::Endpoint;
use crate::handler::{Erased, Handler, Needs, erase};
use crate::middleware::layer::Middleware;
#[cfg(feature = "openapi")]
use crate::openapi::{ApiHandler, Description, Operation};

/// The handlers of a path, by method, with options: for [`Router::route`](crate::Router::route).
///
/// An option applies to all methods of the value, to those too that are added after it. An option for one
/// method is set on a value of its own, which [`Methods::and`] takes in:
///
/// ```
/// use threadline_http::{Hint, Router, get, post};
///
/// # fn list() {}
/// # fn create() {}
/// let router = Router::new()
///     // Both have the hint.
///     .route("/notes", get(list).hint(Hint::Blocking).post(create))
///     // Both have the hint, and only `POST` takes longer bodies.
///     .route("/files", get(list).and(post(create).body_len_max(100_000_000)).hint(Hint::Blocking));
/// # router.build().unwrap();
/// ```
///
/// There is no value without a method, and so no option of nothing:
///
/// ```compile_fail
/// use threadline_http::{Hint, Router};
///
/// let router = Router::new().hint(Hint::Inline);
/// ```
///
/// # Which option wins
/// The one that is set nearer to the handler:
///
/// | option | set on the value and on one that `and` took in | set twice on one value |
/// | --- | --- | --- |
/// | [`hint`](Methods::hint), [`body_len_max`](Methods::body_len_max), [`streamed`](Methods::streamed) | the inner one applies | the later one applies |
/// | [`layer`](Methods::layer) | the outer layers are around the inner ones | the later one is around the earlier one |
/// | `describe` | the inner one is asked last, and so may replace what the outer one has said | the later one is asked last |
///
/// Options that a handler itself has, such as [`Files`](crate::files::Files), are nearest to it.
///
/// # Requests that no handler of the path answers
/// A 405, and the reply to an `OPTIONS` without a handler, have the value's own layers around them, as they
/// have those of nested routers: a layer such as [`Cors`](crate::middleware::Cors) sees preflights. They do
/// not have the layers of values that `and` took in, which are those of single methods. If several calls of
/// [`Router::route`](crate::Router::route) give methods to one path, they have the layers of the first.
#[derive(Clone)]
#[must_use = "methods do nothing until a router has them"]
pub struct Methods {
    /// Not empty.
    pub(super) entries: Vec<Entry>,
    pub(super) options: RouteOptions,
}

/// A handler of one method.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) method: Method<'static>,
    handler: Prepared,
    /// What applies to this method alone.
    options: RouteOptions,
    /// What the handler's types say.
    #[cfg(feature = "openapi")]
    typed: Description,
}

/// A handler whose type is forgotten, and what it has said of itself. Becomes an engine route only when the
/// router is built: those of clones are proven and counted separately.
#[derive(Clone)]
pub(super) struct Prepared {
    params: Option<usize>,
    needs: Needs,
    handler: Erased,
}

/// Answers `GET`, and `HEAD` without the body. The beginning of a [`Methods`].
///
/// ```
/// use threadline_http::{Hint, Router, get};
///
/// let router = Router::new().route("/health", get(|| "fine").hint(Hint::Inline));
/// # router.build().unwrap();
/// ```
pub fn get<Args>(handler: impl Handler<Args>) -> Methods {
    on(Method::Get, handler)
}

/// Answers `POST`. The beginning of a [`Methods`].
pub fn post<Args>(handler: impl Handler<Args>) -> Methods {
    on(Method::Post, handler)
}

/// Answers `PUT`. The beginning of a [`Methods`].
pub fn put<Args>(handler: impl Handler<Args>) -> Methods {
    on(Method::Put, handler)
}

/// Answers `PATCH`. The beginning of a [`Methods`].
pub fn patch<Args>(handler: impl Handler<Args>) -> Methods {
    on(Method::Patch, handler)
}

/// Answers `DELETE`. The beginning of a [`Methods`].
pub fn delete<Args>(handler: impl Handler<Args>) -> Methods {
    on(Method::Delete, handler)
}

/// Answers `HEAD` otherwise than `GET` without its body; see [`Router::head`](crate::Router::head). The
/// beginning of a [`Methods`].
pub fn head<Args>(handler: impl Handler<Args>) -> Methods {
    on(Method::Head, handler)
}

/// Answers `OPTIONS` otherwise than with the methods there are. The beginning of a [`Methods`].
pub fn options<Args>(handler: impl Handler<Args>) -> Methods {
    on(Method::Options, handler)
}

/// Answers a method, which may be an extension method but not `CONNECT`. The beginning of a [`Methods`].
///
/// ```
/// use threadline_http::{Method, Router, on};
///
/// let router = Router::new().route("/cache", on(Method::Extension("PURGE"), || "purged"));
/// # router.build().unwrap();
/// ```
pub fn on<Args>(method: Method<'static>, handler: impl Handler<Args>) -> Methods {
    Methods::none().on(method, handler)
}

/// Methods. One that is there twice is a [`RouterError::Duplicate`](crate::RouterError::Duplicate) when the
/// router is built.
impl Methods {
    /// Answers `GET` too, and `HEAD` without the body.
    pub fn get<Args>(self, handler: impl Handler<Args>) -> Self {
        self.on(Method::Get, handler)
    }

    /// Answers `POST` too.
    pub fn post<Args>(self, handler: impl Handler<Args>) -> Self {
        self.on(Method::Post, handler)
    }

    /// Answers `PUT` too.
    pub fn put<Args>(self, handler: impl Handler<Args>) -> Self {
        self.on(Method::Put, handler)
    }

    /// Answers `PATCH` too.
    pub fn patch<Args>(self, handler: impl Handler<Args>) -> Self {
        self.on(Method::Patch, handler)
    }

    /// Answers `DELETE` too.
    pub fn delete<Args>(self, handler: impl Handler<Args>) -> Self {
        self.on(Method::Delete, handler)
    }

    /// Answers `HEAD` too, otherwise than `GET` without its body; see
    /// [`Router::head`](crate::Router::head).
    pub fn head<Args>(self, handler: impl Handler<Args>) -> Self {
        self.on(Method::Head, handler)
    }

    /// Answers `OPTIONS` too, otherwise than with the methods there are.
    pub fn options<Args>(self, handler: impl Handler<Args>) -> Self {
        self.on(Method::Options, handler)
    }

    /// Answers another method too, which may be an extension method but not `CONNECT`.
    pub fn on<Args>(mut self, method: Method<'static>, handler: impl Handler<Args>) -> Self {
        self.entries.push(Entry {
            method,
            options: handler.route_options(),
            handler: Prepared::new(handler),
            #[cfg(feature = "openapi")]
            typed: Description::default(),
        });
        self
    }

    /// Answers another method too, with a handler whose types describe it: see
    /// [`openapi`](crate::openapi).
    #[cfg(feature = "openapi")]
    pub fn operation<Args, H: ApiHandler<Args>>(self, method: Method<'static>, handler: H) -> Self {
        // A plain pointer: it has forgotten `Args`.
        let say: fn(Operation) -> Operation = H::describe;
        let mut methods = self.on(method, handler);
        if let Some(entry) = methods.entries.last_mut() {
            entry.typed.add(say);
        }
        methods
    }

    /// Takes in the methods of another value. Its options stay with them, and win over those of this value.
    ///
    /// ```
    /// use threadline_http::testing::TestClient;
    /// use threadline_http::{Router, post, put};
    ///
    /// let len = |body: Vec<u8>| body.len().to_string();
    /// let router = Router::new().route("/", post(len).and(put(len).body_len_max(10)).body_len_max(5));
    /// let client = TestClient::new(router)?;
    /// assert_eq!(client.put("/").body("ten bytes.").send().text(), "10");
    /// assert_eq!(client.post("/").body("ten bytes.").send().status().code(), 413);
    /// # Ok::<(), threadline_http::RouterError>(())
    /// ```
    pub fn and(mut self, inner: Methods) -> Self {
        for mut entry in inner.entries {
            entry.options = entry.options.inside(&inner.options);
            self.entries.push(entry);
        }
        self
    }
}

/// Options of all its methods.
impl Methods {
    /// Says what is known of the handlers beforehand, instead of letting the engine prove them:
    /// [`Hint::Inline`] for handlers that never block and must answer even while every pool thread is
    /// stuck, [`Hint::Blocking`] for those that always may, [`Hint::Computing`] for those that keep a core busy
    /// for long or need much memory. Default: [`Hint::Prove`].
    pub fn hint(mut self, hint: Hint) -> Self {
        self.options = self.options.hint(hint);
        self
    }

    /// Sets the longest request body in bytes, in place of
    /// [`HttpSettings::body_len_max`](crate::HttpSettings::body_len_max). Beyond it a request is a 413.
    pub fn body_len_max(mut self, bytes: u64) -> Self {
        self.options = self.options.body_len_max(bytes);
        self
    }

    /// Calls the handlers when the head of a request has come: they read its body while it arrives. By default
    /// the body is received first, without a thread, and its handler never waits for the client.
    ///
    /// Such a call holds a thread of the pool for as long as its client takes, so that there may be few of them at
    /// a time: half of the pool ([`Settings::streamed_max`](threadline_engine::Settings::streamed_max)); the others
    /// wait without a thread. Use it for bodies that must not be stored, or are to be answered before they end.
    /// A body comes once, even if it has come with its head: the first reader gets everything, and all others get
    /// [`BodyError::Consumed`](crate::BodyError::Consumed). Under the event loop model, where no handler may wait,
    /// bodies are received first all the same.
    ///
    /// ```
    /// use std::io::{self, Read};
    /// use threadline_http::{Request, Router, post};
    ///
    /// /// Counts a body of any length, and keeps nothing of it.
    /// fn count(request: &Request<'_>) -> io::Result<String> {
    ///     io::copy(&mut request.reader(), &mut io::sink()).map(|length| length.to_string())
    /// }
    ///
    /// let router = Router::new().route("/count", post(count).streamed().body_len_max(u64::MAX));
    /// # router.build().unwrap();
    /// ```
    pub fn streamed(mut self) -> Self {
        self.options = self.options.streamed();
        self
    }

    /// Puts middleware around the handlers of this value, inside of the router's layers. The layer that is
    /// added last is the outermost. It is around a 405 and the reply to `OPTIONS` at the path too, see
    /// [`Methods`].
    ///
    /// ```
    /// use threadline_http::middleware::BasicAuth;
    /// use threadline_http::testing::TestClient;
    /// use threadline_http::{Router, get, post};
    ///
    /// # fn list() -> &'static str { "all" }
    /// # fn create() {}
    /// let users = BasicAuth::users("notes", [("alice", "secret")]);
    /// // Who adds a note must say who they are; everyone may read.
    /// let router = Router::new().route("/notes", get(list).and(post(create).layer(users)));
    /// let client = TestClient::new(router)?;
    /// assert_eq!(client.get("/notes").send().text(), "all");
    /// assert_eq!(client.post("/notes").send().status().code(), 401);
    /// # Ok::<(), threadline_http::RouterError>(())
    /// ```
    pub fn layer(mut self, middleware: impl Middleware) -> Self {
        self.options = self.options.layer(middleware);
        self
    }

    /// Says for [OpenAPI](crate::openapi) what the handlers do, after what their types say.
    ///
    /// ```
    /// use threadline_http::{Router, get, post};
    ///
    /// # fn list() {}
    /// # fn create() {}
    /// let router = Router::new().route(
    ///     "/notes",
    ///     get(list)
    ///         .and(post(create).describe(|operation| operation.summary("Adds a note")))
    ///         .describe(|operation| operation.tag("notes").summary("All notes")),
    /// );
    /// let api = router.openapi("Notes", "1.0");
    /// let path = &api.document()["paths"]["/notes"];
    /// assert_eq!((&path["get"]["tags"][0], &path["get"]["summary"]), (&"notes".into(), &"All notes".into()));
    /// assert_eq!((&path["post"]["tags"][0], &path["post"]["summary"]), (&"notes".into(), &"Adds a note".into()));
    /// ```
    #[cfg(feature = "openapi")]
    pub fn describe(
        mut self,
        say: impl Fn(Operation) -> Operation + Send + Sync + 'static,
    ) -> Self {
        self.options = self.options.describe(say);
        self
    }

    /// No method yet. For those who add one at once: an option of nothing must be impossible.
    pub(crate) fn none() -> Self {
        Methods { entries: Vec::new(), options: RouteOptions::new() }
    }

    /// Sets all options, for a value that has none yet.
    pub(super) fn with_options(self, options: RouteOptions) -> Self {
        Methods { options, ..self }
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.entries.iter().map(|entry| entry.method.as_str());
        f.debug_tuple("Methods").field(&methods.collect::<Vec<_>>()).field(&self.options).finish()
    }
}

impl Entry {
    /// What answers this method at a pattern, with the options of the value around applied.
    pub(super) fn into_endpoint(self, pattern: &str, outer: &RouteOptions) -> Endpoint {
        let options = self.options.inside(outer);
        let answers_get = self.method == Method::Get;
        let name = format!("{} {pattern}", self.method);
        Endpoint { answers_get, ..self.handler.into_endpoint(name, options) }
    }

    /// What is said of it: by its types, by the value around, and by those who know it best.
    #[cfg(feature = "openapi")]
    pub(super) fn description(&self, outer: &RouteOptions) -> Description {
        let mut description = self.options.clone().inside(outer).description;
        description.put_first(&self.typed);
        description
    }
}

impl Prepared {
    pub(super) fn new<Args>(handler: impl Handler<Args>) -> Self {
        let mut needs = Needs::default();
        handler.needs(&mut needs);
        Prepared { params: handler.params(), needs, handler: erase(handler) }
    }

    pub(super) fn into_endpoint(self, name: String, options: RouteOptions) -> Endpoint {
        let Prepared { params, needs, handler } = self;
        let RouteOptions { hint, body_len_max, streamed, layers, .. } = options;
        let route = Route::with_hint(name, hint.unwrap_or_default());
        let streamed = streamed.unwrap_or(false).then(|| route.streamed());
        Endpoint {
            route,
            params,
            needs,
            answers_get: false,
            body_len_max,
            streamed,
            layers,
            handler,
        }
    }
}
