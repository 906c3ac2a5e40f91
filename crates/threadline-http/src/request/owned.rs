//! [`OwnedRequest`]: a request that outlives the call it came in.
//!
//! For handlers and layers that finish a request later or on another thread. The head's text and a body
//! in memory are copied once; after that a clone is a count. [`OwnedRequest::as_request`] lends it as a [`Request`], so
//! that every extractor and every function that takes one works on it.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use threadline_engine::Route;
use threadline_engine::protocol::StoredFile;
use threadline_proto::Method;
use threadline_proto::request::{Headers, OwnedHead, Version};

use super::{PathParams, Request};
use crate::body::{BodyError, BodyReader, Incoming};
use crate::extensions::{Extensions, States};
use crate::handler::FromRequest;
use crate::middleware::Deadline;

/// An owned copy of a request, with its whole body: `'static`, `Send` and `Sync`. Clones share everything.
///
/// Made by [`Request::to_owned`], or by the router for a handler that has it as a parameter.
///
/// It has the values that were in the extensions of the request when it was made. A value that is inserted
/// later into one of the two is not in the other: the layers around the request may have returned by then. It
/// shares the states of the service, and keeps them alive.
///
/// ```
/// use std::sync::mpsc;
/// use std::thread;
/// use threadline_http::testing::TestClient;
/// use threadline_http::{FromRequest, OwnedRequest, Path, Router, Status};
///
/// let (queue, jobs) = mpsc::channel::<OwnedRequest>();
/// let worker = thread::spawn(move || {
///     let job = jobs.recv().expect("a job");
///     let Path(id) = Path::<u64>::from_request(&job.as_request()).expect("a number");
///     format!("job {id} has {} bytes", job.bytes().expect("a body").len())
/// });
///
/// let router = Router::new().post("/jobs/{id}", move |request: OwnedRequest| {
///     queue.send(request).map(|()| Status::ACCEPTED).map_err(|_| Status::SERVICE_UNAVAILABLE)
/// });
/// let client = TestClient::new(router)?;
/// assert_eq!(client.post("/jobs/7").body("snail").send().status(), Status::ACCEPTED);
/// assert_eq!(worker.join().expect("no panic"), "job 7 has 5 bytes");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Clone)]
pub struct OwnedRequest(Arc<Kept>);

/// What clones share.
struct Kept {
    /// With the method that the handler saw.
    head: OwnedHead,
    params: Box<[(Box<str>, Box<str>)]>,
    body: KeptBody,
    is_decoded: bool,
    peer_addr: Option<SocketAddr>,
    deadline: Deadline,
    route: Arc<Route>,
    path: Option<Box<str>>,
    body_len_max: u64,
    states: Arc<States>,
    extensions: Extensions,
}

enum KeptBody {
    Memory(Vec<u8>),
    Stored(StoredFile),
}

impl Request<'_> {
    /// Copies the request, so that it outlives the call: see [`OwnedRequest`]. A body in a file stays there, and
    /// the file is kept. One that is still arriving is waited for, up to its limit, and is only in the copy
    /// afterwards.
    ///
    /// # Errors
    /// Those of [`Request::bytes`].
    pub fn to_owned(&self) -> Result<OwnedRequest, BodyError> {
        let body = match self.body {
            Incoming::Stored(file) => KeptBody::Stored(file.clone()),
            Incoming::Whole(_) | Incoming::Arriving(_) => {
                KeptBody::Memory(self.bytes()?.into_owned())
            }
        };
        Ok(self.kept(body))
    }

    fn kept(&self, body: KeptBody) -> OwnedRequest {
        let mut head = *self.head;
        head.method = self.method();
        let params = self.params().map(|(name, value)| (name.into(), value.into()));
        OwnedRequest(Arc::new(Kept {
            head: OwnedHead::new(&head),
            params: params.collect(),
            body,
            is_decoded: self.is_decoded,
            peer_addr: self.peer_addr,
            deadline: self.deadline,
            route: Arc::clone(self.route),
            path: self.path.map(Into::into),
            body_len_max: self.body_len_max,
            states: Arc::clone(self.states),
            extensions: self.extensions.snapshot(),
        }))
    }
}

impl Request<'_> {
    /// A copy without the body, for layers that have to see a response which comes later.
    pub(crate) fn keep_head(&self) -> OwnedRequest {
        self.kept(KeptBody::Memory(Vec::new()))
    }
}

impl OwnedRequest {
    /// Borrows it as a [`Request`], which handlers, layers and extractors take.
    pub fn as_request(&self) -> Request<'_> {
        let kept = &*self.0;
        Request {
            head: kept.head.head(),
            method: None,
            params: PathParams::Kept(&kept.params),
            body: match &kept.body {
                KeptBody::Memory(bytes) => Incoming::Whole(bytes),
                KeptBody::Stored(file) => Incoming::Stored(file),
            },
            is_decoded: kept.is_decoded,
            peer_addr: kept.peer_addr,
            deadline: kept.deadline,
            route: &kept.route,
            path: kept.path.as_deref(),
            body_len_max: kept.body_len_max,
            states: &kept.states,
            extensions: &kept.extensions,
        }
    }

    /// As [`Request::method`].
    pub fn method(&self) -> Method<'_> {
        self.as_request().method()
    }

    /// As [`Request::path`].
    pub fn path(&self) -> &str {
        self.as_request().path()
    }

    /// As [`Request::path_as_sent`].
    pub fn path_as_sent(&self) -> &str {
        self.as_request().path_as_sent()
    }

    /// As [`Request::query`].
    pub fn query(&self) -> Option<&str> {
        self.as_request().query()
    }

    /// As [`Request::version`].
    pub fn version(&self) -> Version {
        self.as_request().version()
    }

    /// As [`Request::host`].
    pub fn host(&self) -> Option<&str> {
        self.as_request().host()
    }

    /// As [`Request::headers`].
    pub fn headers(&self) -> Headers<'_, '_> {
        self.as_request().headers()
    }

    /// As [`Request::header`].
    pub fn header(&self, name: &str) -> Option<&str> {
        self.as_request().header(name)
    }

    /// As [`Request::header_bytes`].
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.as_request().header_bytes(name)
    }

    /// As [`Request::param`].
    pub fn param(&self, name: &str) -> Option<&str> {
        self.as_request().param(name)
    }

    /// As [`Request::params`].
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        PathParams::Kept(&self.0.params).iter()
    }

    /// As [`Request::bytes`]: the whole body, read into memory if it is in a file.
    ///
    /// # Errors
    /// [`BodyError::NotStored`] if it cannot be read from its file.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, BodyError> {
        self.as_request().bytes()
    }

    /// As [`Request::reader`]: any number of times, each from the start.
    pub fn reader(&self) -> BodyReader<'_> {
        self.as_request().reader()
    }

    /// As [`Request::content_length`]: that of the body, also where the client has not said it.
    pub fn content_length(&self) -> Option<u64> {
        self.as_request().content_length()
    }

    /// As [`Request::body_len_max`].
    pub fn body_len_max(&self) -> u64 {
        self.0.body_len_max
    }

    /// As [`Request::route`].
    pub fn route(&self) -> &str {
        self.0.route.name()
    }

    /// As [`Request::state`].
    pub fn state<T: 'static>(&self) -> Option<&T> {
        self.0.states.get()
    }

    /// As [`Request::extensions`]; clones share them.
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// As [`Request::peer_addr`].
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.peer_addr
    }

    /// As [`Request::upgrades`].
    pub fn upgrades(&self) -> impl Iterator<Item = &str> {
        self.0.head.head().upgrades()
    }
}

impl FromRequest for OwnedRequest {
    type Rejection = BodyError;

    fn from_request(request: &Request<'_>) -> Result<Self, BodyError> {
        request.to_owned()
    }
}

impl fmt::Debug for OwnedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_tuple("OwnedRequest");
        text.field(&self.as_request()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;
    use crate::testing::TestClient;
    use crate::{
        Extension, IntoResponse, Next, OwnedNext, Path, PeerAddr, Response, Router, State, Status,
    };

    /// Whatever a test keeps beyond a call.
    type Shelf<T> = Arc<Mutex<Option<T>>>;

    fn put<T>(shelf: &Shelf<T>, value: T) {
        *shelf.lock().expect("not poisoned") = Some(value);
    }

    fn take<T>(shelf: &Shelf<T>) -> T {
        shelf.lock().expect("not poisoned").take().expect("put there")
    }

    /// Everything that a request says, except for its address in memory.
    fn told(request: &Request<'_>) -> String {
        let host = (request.host(), request.version(), request.peer_addr());
        let path = (request.path(), request.path_as_sent(), request.query());
        let params: Vec<_> = request.params().collect();
        let route = (request.route(), request.param("id"), params);
        let fields: Vec<_> = request.headers().iter().collect();
        let upgrades: Vec<_> = request.upgrades().collect();
        let body =
            (request.bytes().expect("a body"), request.content_length(), request.body_len_max());
        let state = (request.state::<u8>(), request.extensions().get::<&'static str>());
        let header = request.header("X-Text");
        format!(
            "{:?}",
            (request.method(), host, path, route, fields, header, upgrades, body, state)
        )
    }

    #[test]
    fn threads_can_share_it() {
        fn shared<T: Clone + Send + Sync + 'static>() {}
        shared::<OwnedRequest>();
        shared::<OwnedNext>();
    }

    #[test]
    fn it_says_what_the_request_said() {
        let shelf = Shelf::default();
        let kept = Arc::clone(&shelf);
        let keep = move |request: &Request<'_>, next: Next<'_>| {
            request.extensions().insert("left");
            put(&kept, (told(request), request.to_owned().expect("a body")));
            next.run(request)
        };
        let as_put = |request: &Request<'_>, next: Next<'_>| {
            next.run(&request.with_method(Method::Extension("LINK")))
        };
        let router = Router::new()
            .get("/", || "")
            .route("/a/{id}/{*rest}", crate::on(Method::Extension("PURGE"), || ""))
            .route("/b/{id}", crate::post(|| "").body_len_max(9))
            .state(7_u8)
            .layer(keep);
        let client = TestClient::new(router.clone()).expect("a router");
        let linking = TestClient::new(router.layer(as_put)).expect("a router");
        for request in [
            "GET /?a=b&c HTTP/1.1\r\nHost: h:80\r\nX-Text: \u{e4}\r\nX-Text: b\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET /%61/nothing HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x/1, y\r\n\r\n",
            "PURGE /%61/%31/x%2fy//z HTTP/1.1\r\nHost: h\r\n\r\n",
            "PURGE http://h/a/2/x?y HTTP/1.1\r\nHost: h\r\n\r\n",
            "POST /b/%C3%A9 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nsnail",
            "POST /b/7 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
            "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n",
            "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
        ] {
            for client in [&client, &linking] {
                assert!(!client.raw(request).is_empty(), "{request}");
                let (expected, owned): (String, OwnedRequest) = take(&shelf);
                assert_eq!(told(&owned.as_request()), expected, "{request}");
                let again = owned.as_request().to_owned().expect("a body");
                assert_eq!(told(&again.as_request()), expected, "{request}");
            }
        }
    }

    #[test]
    fn its_own_methods_say_the_same_as_the_request_that_it_lends() {
        let shelf = Shelf::default();
        let kept = Arc::clone(&shelf);
        let router = Router::new()
            .post("/a/{id}", move |request: OwnedRequest| put(&kept, request))
            .state(7_u8);
        let client = TestClient::new(router).expect("a router");
        client.raw(
            "POST /%61/7?q HTTP/1.1\r\nHost: h\r\nX-A: b\r\nContent-Length: 2\r\n\
             Connection: upgrade\r\nUpgrade: x\r\n\r\nhi",
        );
        let owned: OwnedRequest = take(&shelf);
        let lent = owned.as_request();
        assert_eq!((owned.method(), owned.version()), (lent.method(), lent.version()));
        assert_eq!((owned.path(), owned.path_as_sent()), ("/a/7", "/%61/7"));
        assert_eq!((owned.query(), owned.host()), (Some("q"), Some("h")));
        assert_eq!((owned.headers().len(), owned.header("x-a")), (5, Some("b")));
        assert_eq!(owned.header_bytes("x-a"), Some(&b"b"[..]));
        assert_eq!((owned.param("id"), owned.params().count()), (Some("7"), 1));
        assert_eq!(
            (&*owned.bytes().expect("a body"), owned.content_length()),
            (&b"hi"[..], Some(2))
        );
        assert_eq!((owned.body_len_max(), owned.route()), (lent.body_len_max(), "POST /a/{id}"));
        assert_eq!((owned.state::<u8>(), owned.peer_addr()), (Some(&7), lent.peer_addr()));
        assert_eq!(owned.upgrades().collect::<Vec<_>>(), ["x"]);
        assert!(format!("{owned:?}").contains("/a/7"));
    }

    #[test]
    fn extractors_take_it_on_another_thread() {
        let parts =
            |Path((id, rest)): Path<(u32, String)>,
             State(state): State<&'static str>,
             Extension(left): Extension<u16>,
             PeerAddr(peer): PeerAddr,
             text: String| format!("{id} {rest} {state} {left} {} {text}", peer.port());
        let elsewhere = |request: &Request<'_>, next: Next<'_>| {
            request.extensions().insert(5_u16);
            let (request, next) = (request.to_owned()?, next.to_owned());
            let answer = move || next.run(&request.as_request());
            Ok::<_, BodyError>(thread::spawn(answer).join().expect("an answer"))
        };
        let router = Router::new().post("/{id}/{*rest}", parts).state("state").layer(elsewhere);
        let client = TestClient::new(router).expect("a router");
        let response = client.post("/3/a%20b").body("hi").send();
        assert_eq!(response.text(), "3 a b state 5 1 hi");
        let wrong = client.post("/x/y").body("hi").send();
        assert_eq!(wrong.status(), Status::BAD_REQUEST);
        assert!(wrong.text().contains("`id`"), "{}", wrong.text());
    }

    #[cfg(all(feature = "form", feature = "json"))]
    #[test]
    fn typed_bodies_and_queries_are_read_from_it() {
        use std::collections::BTreeMap;

        use crate::cookies::Cookies;
        use crate::{Form, Json, Query};

        type Map = BTreeMap<String, String>;
        let read = |request: OwnedRequest| {
            thread::spawn(move || {
                let request = request.as_request();
                let body = Json::<Map>::from_request(&request).map(|Json(map)| map);
                let body =
                    body.or_else(|_| Form::<Map>::from_request(&request).map(|Form(map)| map));
                let Query(query) = Query::<Map>::from_request(&request).expect("a query");
                let Ok(cookies) = Cookies::from_request(&request);
                format!("{:?} {query:?} {:?}", body.expect("a body"), cookies.get("c"))
            })
            .join()
            .expect("read")
        };
        let client = TestClient::new(Router::new().post("/", read)).expect("a router");
        let post = |media_type: &str, body: &str| {
            let request = client.post("/?q=1").header("content-type", media_type);
            request.header("cookie", "c=d").body(body).send().text().to_owned()
        };
        let expected = r#"{"a": "b"} {"q": "1"} Some("d")"#;
        assert_eq!(post("application/json", r#"{"a":"b"}"#), expected);
        assert_eq!(post("application/x-www-form-urlencoded", "a=b"), expected);
    }

    #[cfg(feature = "multipart")]
    #[test]
    fn forms_with_files_are_read_from_it() {
        use crate::multipart::Multipart;

        let read = |request: OwnedRequest| {
            thread::spawn(move || {
                let request = request.as_request();
                let mut parts = Multipart::of(&request).expect("a form");
                let part = parts.next_part().expect("in order").expect("a part");
                format!("{} {}", part.name().to_owned(), part.text().expect("text"))
            })
            .join()
            .expect("read")
        };
        let client = TestClient::new(Router::new().post("/", read)).expect("a router");
        let request = client.post("/").header("content-type", "multipart/form-data; boundary=b");
        let body = "--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\nvalue\r\n--b--\r\n";
        assert_eq!(request.body(body).send().text(), "n value");
    }

    #[test]
    fn extensions_begin_as_those_of_the_request_and_are_those_of_all_clones() {
        let keep = |request: &Request<'_>| {
            request.extensions().insert(1_u8);
            let owned = request.to_owned().expect("a body");
            let clone = owned.clone();
            clone.extensions().insert(2_u8);
            clone.extensions().insert("new");
            request.extensions().insert(3_u16);
            let request = request.extensions();
            assert_eq!(request.get::<u8>().as_deref(), Some(&1));
            assert_eq!(request.get::<&'static str>(), None);
            assert_eq!(owned.extensions().get::<u8>().as_deref(), Some(&2));
            assert_eq!(owned.extensions().get::<&'static str>().as_deref(), Some(&"new"));
            assert_eq!(owned.extensions().get::<u16>(), None);
        };
        let client = TestClient::new(Router::new().get("/", keep)).expect("a router");
        assert_eq!(client.get("/").send().status(), Status::NO_CONTENT);
    }

    #[test]
    fn it_can_be_answered_when_its_service_is_gone() {
        let shelf = Shelf::default();
        let kept = Arc::clone(&shelf);
        let keep = move |request: &Request<'_>, next: Next<'_>| {
            put(&kept, (request.to_owned()?, next.to_owned()));
            Ok::<_, BodyError>(next.run(request))
        };
        let add = |request: &Request<'_>, next: Next<'_>| next.run(request).with_header("x", "y");
        let state = Arc::new("state");
        let handler = |State(state): State<Arc<&'static str>>, Path(id): Path<u8>, body: String| {
            format!("{state} {id} {body}")
        };
        let router =
            Router::new().post("/{id}", handler).state(Arc::clone(&state)).layer(add).layer(keep);
        let client = TestClient::new(router).expect("a router");
        let answer = |request: &OwnedRequest, next: &OwnedNext| {
            let route =
                || threadline_engine::log::current_route().map(|route| route.name().to_owned());
            assert_eq!(route(), None);
            let response = next.run(&request.as_request());
            assert_eq!((response.header("x"), route()), (Some("y"), None));
            (response.status(), response.into_body().into_bytes().expect("in memory"))
        };
        client.post("/7").body("hi").send();
        let (request, next): (OwnedRequest, OwnedNext) = take(&shelf);
        client.put("/7").send();
        let (unrouted, not_allowed): (OwnedRequest, OwnedNext) = take(&shelf);
        client.get("/").send();
        let (nowhere, not_found): (OwnedRequest, OwnedNext) = take(&shelf);
        drop(client);
        thread::spawn(move || {
            for _ in 0..2 {
                let (status, body) = answer(&request, &next.clone());
                assert_eq!((status, &*body), (Status::OK, &b"state 7 hi"[..]));
            }
            let answered = next.as_next().run(&request.as_request());
            assert_eq!(answered.status(), Status::OK);
            let (status, body) = answer(&unrouted, &not_allowed);
            assert_eq!(status, Status::METHOD_NOT_ALLOWED);
            assert!(body.starts_with(b"405 Method Not Allowed: this path answers"), "{body:?}");
            assert_eq!(answer(&nowhere, &not_found).0, Status::NOT_FOUND);
        })
        .join()
        .expect("answered");
        assert_eq!(Arc::strong_count(&state), 1, "the last request keeps the states alive");
    }

    #[test]
    fn code_that_runs_elsewhere_knows_its_route() {
        let name = || {
            let route = threadline_engine::log::current_route();
            route.map_or(String::new(), |route| route.name().to_owned())
        };
        let elsewhere = |request: &Request<'_>, next: Next<'_>| {
            let (request, next) = (request.to_owned()?, next.to_owned());
            let answer = move || next.run(&request.as_request());
            Ok::<_, BodyError>(thread::spawn(answer).join().expect("an answer"))
        };
        let router = Router::new().get("/who", name).layer(elsewhere);
        let client = TestClient::new(router).expect("a router");
        assert_eq!(client.get("/who").send().text(), "GET /who");
    }

    #[test]
    fn a_status_that_cannot_be_sent_is_refused_elsewhere_too() {
        let elsewhere = |request: &Request<'_>, next: Next<'_>| {
            let response = next.to_owned().run(&request.to_owned().expect("a body").as_request());
            response.status().to_string().into_response()
        };
        let router = Router::new().get("/", || Response::new(Status::EARLY_HINTS)).layer(elsewhere);
        let client = TestClient::new(router).expect("a router");
        assert_eq!(client.get("/").send().text(), "500 Internal Server Error");
    }
}
