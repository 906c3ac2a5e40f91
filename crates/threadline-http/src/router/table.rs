//! The table that requests are looked up in: by path, or in a tree of patterns; and then a few methods.

use std::fmt;
use std::sync::Arc;

use matchit::InsertError;
use threadline_engine::Route;
use threadline_proto::Method;
use threadline_proto::request::Target;

use crate::extensions::States;
use crate::framework_error::settle;
use crate::handler::{Erased, Needs};
use crate::middleware::layer::{Last, Layers, Next};
use crate::request::Request;
use crate::response::Response;
use crate::router::fallback::Fallback;
use crate::router::fixed::FixedPaths;
use crate::router::methods::Methods;
use crate::router::pattern::Pattern;
use crate::router::way::Way;
use crate::router::{RouterError, Slash};

/// One handler with its engine route.
pub(crate) struct Endpoint {
    pub(super) route: Arc<Route>,
    /// How many path parameters the handler needs, where that is known.
    pub(super) params: Option<usize>,
    pub(super) needs: Needs,
    /// Whether it is what answers `GET` at its place, and so `HEAD` too.
    pub(crate) answers_get: bool,
    /// The longest body in bytes, where the service's setting does not hold.
    pub(crate) body_len_max: Option<u64>,
    /// The engine's key for calls in which its handler reads a body while it arrives, if it does that.
    pub(crate) streamed: Option<Arc<Route>>,
    /// Around the handler. The outermost first.
    pub(super) layers: Layers,
    pub(super) handler: Erased,
}

impl Endpoint {
    /// The engine's key for it, shared by its name in logs and counters.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// What is around the handler.
    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Answers a request: the layers, then the handler.
    #[inline]
    pub(crate) fn answer(&self, request: &Request<'_>) -> Response {
        if self.layers.is_empty() {
            return settle((self.handler)(request), request.states);
        }
        Next::new(&self.layers, Last::Handler(&self.handler)).begin(request)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.route.name()).finish()
    }
}

/// Everything under one pattern.
#[derive(Debug)]
struct Place {
    /// As it was written first.
    written: String,
    /// In the spelling that paths are looked up in.
    normal: String,
    /// Few: searched in order.
    endpoints: Vec<(Method<'static>, Arc<Endpoint>)>,
    /// Around answers that no handler gives: those of the first methods here, and of their routers.
    layers: Layers,
    /// The value of `Allow`, made when the table is grown.
    allow: String,
}

/// What a request finds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'t> {
    /// A handler.
    Endpoint(&'t Endpoint),
    /// `OPTIONS`, and no handler for it: these methods are there.
    Options(&'t str),
    /// The path is there, but not with this method: these are.
    OtherMethods(&'t str),
    /// A method that no route at all has.
    UnknownMethod,
    /// Nothing at this path.
    Nothing,
    /// `CONNECT`: there is no tunnel here.
    NoProxy,
}

/// The routes of a service.
#[derive(Debug)]
pub(crate) struct Table {
    /// In the order of the first route of each pattern.
    places: Vec<Place>,
    /// From path to index in `places`: the patterns without parameters. They go before the others
    /// wherever both fit, so that the tree need not be asked.
    fixed: FixedPaths,
    /// From path to index in `places`: all patterns.
    tree: matchit::Router<usize>,
    /// All endpoints but the fallback. One may have several places.
    endpoints: Vec<Arc<Endpoint>>,
    fallback: Option<Endpoint>,
    /// Shared with requests that outlive their call.
    states: Arc<States>,
    /// Around every answer.
    layers: Layers,
    /// `Allow` for `OPTIONS *`: every method there is.
    allow: String,
}

impl Table {
    /// An empty table.
    pub(super) fn new(
        fallback: Option<Fallback>,
        states: States,
        layers: Layers,
    ) -> Result<Self, RouterError> {
        let tree = matchit::Router::new();
        let (places, endpoints) = (Vec::new(), Vec::new());
        let (allow, fixed, states) = (String::new(), FixedPaths::default(), Arc::new(states));
        let mut table =
            Table { places, fixed, tree, endpoints, fallback: None, states, layers, allow };
        if let Some(mut endpoint) = fallback.map(Fallback::into_endpoint) {
            check_params(&endpoint, 0)?;
            table.complete(&mut endpoint)?;
            table.fallback = Some(endpoint);
        }
        Ok(table)
    }

    /// What the handlers share.
    pub(crate) fn states(&self) -> &Arc<States> {
        &self.states
    }

    /// What is around every answer.
    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Checks what an endpoint needs, and puts the outer layers around it.
    fn complete(&self, endpoint: &mut Endpoint) -> Result<(), RouterError> {
        let missing = endpoint.needs.states.iter().find(|(id, _)| !self.states.has(*id));
        if let Some((_, name)) = missing {
            let route = endpoint.route.name().to_owned();
            return Err(RouterError::StateMissing { route, state: (*name).to_owned() });
        }
        endpoint.layers.add_all(&self.layers);
        Ok(())
    }

    /// Adds the routes of one pattern, and if `slash` says so the same again with a slash after it. Nothing
    /// is found until the table is grown.
    pub(super) fn plan(
        &mut self,
        pattern: String,
        slash: Slash,
        methods: Methods,
    ) -> Result<(), RouterError> {
        let pattern = Pattern::parse(pattern)?;
        let with_slash = (slash == Slash::MayFollow).then(|| pattern.with_slash());
        let mut layers = methods.options.layers.clone();
        layers.add_all(&self.layers);
        for entry in methods.entries {
            let method = entry.method;
            let mut endpoint = entry.into_endpoint(&pattern.written, &methods.options);
            self.complete(&mut endpoint)?;
            if Method::from_token(method.as_str()) != method
                || method == Method::Connect
                || !is_token(method.as_str())
            {
                return Err(RouterError::Method { route: endpoint.route.name().to_owned() });
            }
            check_params(&endpoint, pattern.params)?;
            let endpoint = Arc::new(endpoint);
            self.endpoints.push(Arc::clone(&endpoint));
            for pattern in [Some(&pattern), with_slash.as_ref()].into_iter().flatten() {
                self.put(method, pattern, &layers, &endpoint)?;
            }
        }
        Ok(())
    }

    /// Puts an endpoint where the pattern leads. `layers` are those around answers without a handler there,
    /// if it is the first.
    fn put(
        &mut self,
        method: Method<'static>,
        pattern: &Pattern,
        layers: &Layers,
        endpoint: &Arc<Endpoint>,
    ) -> Result<(), RouterError> {
        let known = self.places.iter().position(|place| place.normal == pattern.normal);
        let place = match known {
            Some(known) => &mut self.places[known],
            None => self.add_place(pattern, layers)?,
        };
        if place.endpoints.iter().any(|(known, _)| *known == method) {
            return Err(if place.written == pattern.written {
                RouterError::Duplicate { route: endpoint.route.name().to_owned() }
            } else {
                // Another spelling of the same paths.
                let (pattern, with) = (pattern.written.clone(), place.written.clone());
                RouterError::Conflict { pattern, with }
            });
        }
        place.endpoints.push((method, Arc::clone(endpoint)));
        Ok(())
    }

    fn add_place(&mut self, pattern: &Pattern, layers: &Layers) -> Result<&mut Place, RouterError> {
        let index = self.places.len();
        for spelling in [Some(&pattern.normal), pattern.raw.as_ref()].into_iter().flatten() {
            let inserted = self.tree.insert(&**spelling, index);
            inserted.map_err(|error| self.explain(error, pattern))?;
            if pattern.params == 0 {
                self.fixed.insert(spelling, index);
            }
        }
        let (written, normal) = (pattern.written.clone(), pattern.normal.clone());
        let (endpoints, layers, allow) = (Vec::new(), layers.clone(), String::new());
        self.places.push(Place { written, normal, endpoints, layers, allow });
        Ok(&mut self.places[index])
    }

    fn explain(&self, error: InsertError, pattern: &Pattern) -> RouterError {
        let written = pattern.written.clone();
        match error {
            InsertError::Conflict { with } => {
                let known = self.places.iter().find(|place| place.normal == with);
                let with = known.map_or(with, |place| place.written.clone());
                RouterError::Conflict { pattern: written, with }
            }
            InsertError::InvalidParam => {
                let reason = "a parameter is written `{name}`, all that follows `{*name}`, and a \
                              brace of the path itself twice";
                RouterError::Pattern { pattern: written, reason: reason.to_owned() }
            }
            other => RouterError::Pattern { pattern: written, reason: other.to_string() },
        }
    }

    /// Finishes the table.
    pub(super) fn grow(mut self) -> Result<Self, RouterError> {
        for place in &mut self.places {
            place.allow = allow(place.endpoints.iter().map(|(method, _)| *method));
        }
        let all = self.places.iter().flat_map(|place| &place.endpoints).map(|(method, _)| *method);
        self.allow = allow(all);
        Ok(self)
    }

    /// Where the target's path leads, if it is as it came the path of a pattern without parameters. Such a
    /// path is in normal form, as all patterns are.
    #[inline]
    pub(crate) fn fixed_way(&self, target: &Target<'_>) -> Option<Way<'static, 'static>> {
        let place = self.fixed.find(target.path_bytes())?;
        debug_assert_eq!(self.tree.at(target.path()).map(|at| *at.value), Ok(place));
        Some(Way::Fixed(place))
    }

    /// Finds where a path in normal form leads.
    #[inline]
    pub(crate) fn way<'p>(&self, path: &'p str) -> Way<'_, 'p> {
        match self.tree.at(path) {
            Ok(matched) => Way::Pattern(*matched.value, matched.params),
            Err(_) => Way::Nowhere,
        }
    }

    /// Finds what answers a request there.
    #[inline]
    pub(crate) fn find(&self, method: Method<'_>, way: &Way<'_, '_>) -> Found<'_> {
        let place = match way {
            Way::Fixed(place) | Way::Pattern(place, _) => &self.places[*place],
            Way::Nowhere => return self.find_nothing(method),
        };
        match place.endpoint(method) {
            Some(endpoint) => Found::Endpoint(endpoint),
            None => self.find_other(method, place),
        }
    }

    /// What is around an answer there that no handler gives.
    pub(crate) fn layers_at(&self, way: &Way<'_, '_>) -> &Layers {
        match way {
            Way::Fixed(place) | Way::Pattern(place, _) => &self.places[*place].layers,
            Way::Nowhere => &self.layers,
        }
    }

    /// The methods of all routes, for `OPTIONS *`.
    pub(crate) fn allow(&self) -> &str {
        &self.allow
    }

    /// All endpoints.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().map(|endpoint| &**endpoint).chain(&self.fallback)
    }

    #[cold]
    fn find_other<'t>(&self, method: Method<'_>, place: &'t Place) -> Found<'t> {
        if method == Method::Options {
            Found::Options(&place.allow)
        } else if self.is_unknown(method) {
            Found::UnknownMethod
        } else {
            Found::OtherMethods(&place.allow)
        }
    }

    #[cold]
    fn find_nothing(&self, method: Method<'_>) -> Found<'_> {
        match &self.fallback {
            Some(endpoint) => Found::Endpoint(endpoint),
            None if self.is_unknown(method) => Found::UnknownMethod,
            None => Found::Nothing,
        }
    }

    /// An extension method without a single route is not implemented, rather than not allowed here
    /// (RFC 9110 §9.1).
    fn is_unknown(&self, method: Method<'_>) -> bool {
        matches!(method, Method::Extension(_))
            && !self.places.iter().any(|place| place.endpoint(method).is_some())
    }
}

impl Place {
    #[inline]
    fn endpoint(&self, method: Method<'_>) -> Option<&Endpoint> {
        let of = |wanted: Method<'_>| {
            self.endpoints
                .iter()
                .find(|(method, _)| *method == wanted)
                .map(|(_, endpoint)| &**endpoint)
        };
        // The service leaves the body out (RFC 9110 §9.3.2).
        of(method).or_else(|| if method == Method::Head { of(Method::Get) } else { None })
    }
}

/// The value of `Allow`: the methods, sorted, with those that come by themselves.
fn allow(methods: impl Iterator<Item = Method<'static>>) -> String {
    let mut methods: Vec<_> = methods.collect();
    if methods.contains(&Method::Get) {
        methods.push(Method::Head);
    }
    methods.push(Method::Options);
    methods.sort_unstable();
    methods.dedup();
    methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ")
}

fn check_params(endpoint: &Endpoint, has: usize) -> Result<(), RouterError> {
    match endpoint.params {
        Some(takes) if takes != has => {
            Err(RouterError::Params { route: endpoint.route.name().to_owned(), has, takes })
        }
        _ => Ok(()),
    }
}

fn is_token(name: &str) -> bool {
    let is_separator = |byte: u8| b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !is_separator(byte))
}
