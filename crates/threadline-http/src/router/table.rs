//! The table that requests are looked up in: by path, or in a tree of patterns; and then a few methods.

use std::fmt;
use std::sync::Arc;

use matchit::InsertError;
use threadline_engine::Route;
use threadline_proto::Method;
use threadline_proto::request::Target;

use crate::extensions::States;
use crate::handler::{Erased, Needs};
use crate::middleware::layer::{Layers, Next};
use crate::request::Request;
use crate::response::Response;
use crate::router::RouterError;
use crate::router::fixed::FixedPaths;
use crate::router::way::Way;

/// One handler with its engine route.
pub(crate) struct Endpoint {
    pub(super) route: Arc<Route>,
    /// How many path parameters the handler needs, where that is known.
    pub(super) params: Option<usize>,
    pub(super) needs: Needs,
    /// Whether it is what answers `GET` at its place, and so `HEAD` too.
    pub(crate) answers_get: bool,
    /// The longest body in bytes, where the service's setting does not hold.
    pub(crate) body_max: Option<u64>,
    /// Around the handler. The outermost first.
    pub(super) layers: Layers,
    pub(super) handler: Erased,
}

impl Endpoint {
    /// Answers a request: the layers, then the handler.
    #[inline]
    pub(crate) fn answer(&self, request: &Request<'_>) -> Response {
        if self.layers.is_empty() {
            return (self.handler)(request);
        }
        Next::new(&self.layers, &*self.handler).run(request)
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
    pattern: String,
    /// Few: searched in order.
    endpoints: Vec<(Method<'static>, Endpoint)>,
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
    fallback: Option<Endpoint>,
    states: States,
    /// Around every answer.
    layers: Layers,
    /// `Allow` for `OPTIONS *`: every method there is.
    allow: String,
}

impl Table {
    /// An empty table.
    pub(super) fn new(
        fallback: Option<Endpoint>,
        states: States,
        layers: Layers,
    ) -> Result<Self, RouterError> {
        let tree = matchit::Router::new();
        let (places, allow, fixed) = (Vec::new(), String::new(), FixedPaths::default());
        let mut table = Table { places, fixed, tree, fallback: None, states, layers, allow };
        if let Some(mut endpoint) = fallback {
            check_params(&endpoint, 0)?;
            table.complete(&mut endpoint)?;
            table.fallback = Some(endpoint);
        }
        Ok(table)
    }

    /// What the handlers share.
    pub(crate) fn states(&self) -> &States {
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

    /// Adds one route. Nothing is found until the table is grown.
    pub(super) fn plan(
        &mut self,
        method: Method<'static>,
        pattern: String,
        mut endpoint: Endpoint,
    ) -> Result<(), RouterError> {
        self.complete(&mut endpoint)?;
        let route = || endpoint.route.name().to_owned();
        if Method::from_token(method.as_str()) != method
            || method == Method::Connect
            || !is_token(method.as_str())
        {
            return Err(RouterError::Method { route: route() });
        }
        check_pattern(&pattern)?;
        let params = count_params(&pattern);
        check_params(&endpoint, params)?;
        endpoint.answers_get = method == Method::Get;
        let known = self.places.iter().position(|place| place.pattern == pattern);
        let place = match known {
            Some(known) => &mut self.places[known],
            None => {
                let index = self.places.len();
                self.tree.insert(&*pattern, index).map_err(|error| explain(error, &pattern))?;
                if params == 0 {
                    self.fixed.insert(&pattern, index);
                }
                self.places.push(Place { pattern, endpoints: Vec::new(), allow: String::new() });
                &mut self.places[index]
            }
        };
        if place.endpoints.iter().any(|(known, _)| *known == method) {
            return Err(RouterError::Duplicate { route: route() });
        }
        place.endpoints.push((method, endpoint));
        Ok(())
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

    /// Finds where a path leads.
    #[inline]
    pub(crate) fn way<'p>(&self, target: &Target<'p>) -> Way<'_, 'p> {
        if let Some(place) = self.fixed.find(target.path_bytes()) {
            debug_assert_eq!(self.tree.at(target.path()).map(|at| *at.value), Ok(place));
            return Way::Fixed(place);
        }
        match self.tree.at(target.path()) {
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

    /// What is around an answer there that no handler gives: the layers of the place's first route, which
    /// are those of its router, or those around everything.
    pub(crate) fn layers_at(&self, way: &Way<'_, '_>) -> &Layers {
        let place = match way {
            Way::Fixed(place) | Way::Pattern(place, _) => &self.places[*place],
            Way::Nowhere => return &self.layers,
        };
        place.endpoints.first().map_or(&self.layers, |(_, endpoint)| &endpoint.layers)
    }

    /// The methods of all routes, for `OPTIONS *`.
    pub(crate) fn allow(&self) -> &str {
        &self.allow
    }

    /// All endpoints.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let routed = self.places.iter().flat_map(|place| &place.endpoints);
        routed.map(|(_, endpoint)| endpoint).chain(&self.fallback)
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
                .map(|(_, endpoint)| endpoint)
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

fn check_pattern(pattern: &str) -> Result<(), RouterError> {
    let reason = if !pattern.starts_with('/') {
        "it must begin with a slash"
    } else if pattern.contains(['?', '#']) {
        "it is matched against the path alone, without query"
    } else if !pattern.bytes().all(|byte| byte.is_ascii_graphic()) {
        "write it as it comes in a request: percent-encoded ASCII"
    } else if pattern.contains("/:") {
        // As other routers have it. Nobody means these very characters.
        "a parameter is written `{name}`, not `:name`"
    } else if pattern.contains("/*") {
        "the rest of a path is written `{*name}`, not `*name`"
    } else {
        return Ok(());
    };
    Err(RouterError::Pattern { pattern: pattern.to_owned(), reason: reason.to_owned() })
}

fn check_params(endpoint: &Endpoint, has: usize) -> Result<(), RouterError> {
    match endpoint.params {
        Some(takes) if takes != has => {
            Err(RouterError::Params { route: endpoint.route.name().to_owned(), has, takes })
        }
        _ => Ok(()),
    }
}

/// How many parameters a well-formed pattern has: braces that are not doubled.
fn count_params(pattern: &str) -> usize {
    pattern.replace("{{", "").matches('{').count()
}

fn is_token(name: &str) -> bool {
    let is_separator = |byte: u8| b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !is_separator(byte))
}

fn explain(error: InsertError, pattern: &str) -> RouterError {
    let pattern = pattern.to_owned();
    match error {
        InsertError::Conflict { with } => RouterError::Conflict { pattern, with },
        InsertError::InvalidParam => {
            let reason = "a parameter is written `{name}`, all that follows `{*name}`, and a brace of \
                          the path itself twice";
            RouterError::Pattern { pattern, reason: reason.to_owned() }
        }
        other => RouterError::Pattern { pattern, reason: other.to_string() },
    }
}
