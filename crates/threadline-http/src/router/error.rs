//! What can be wrong with a set of routes. Always the program's fault, and found before it serves.

use std::fmt;

/// Why a router cannot be built.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouterError {
    /// The pattern is malformed.
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two patterns match the same paths and neither is more specific, or they are two spellings of one.
    Conflict {
        /// The later pattern.
        pattern: String,
        /// The earlier pattern.
        with: String,
    },
    /// The same method and pattern twice, in one [`Methods`](crate::Methods) value or in several.
    Duplicate {
        /// The route, as `GET /path`.
        route: String,
    },
    /// The handler's `Path` takes another number of parameters than the pattern has.
    Params {
        /// The route, as `GET /path`.
        route: String,
        /// How many parameters the pattern has.
        has: usize,
        /// How many the handler takes.
        takes: usize,
    },
    /// A handler takes a `State<T>` that was not added to the router.
    StateMissing {
        /// The route, as `GET /path`.
        route: String,
        /// The name of the type.
        state: String,
    },
    /// A router that is nested or merged has a fallback, which the outer router cannot keep apart.
    NestedFallback {
        /// Where it is nested; empty if it is merged.
        prefix: String,
    },
    /// A router that is nested or merged has settings, which hold for a whole service.
    NestedSettings {
        /// Where it is nested; empty if it is merged.
        prefix: String,
    },
    /// A router that is nested or merged decides the form of errors, which holds for a whole service.
    NestedErrors {
        /// Where it is nested; empty if it is merged.
        prefix: String,
    },
    /// A method that has no path to route by, or is not a token.
    Method {
        /// The route, as `CONNECT /path`.
        route: String,
    },
}

impl fmt::Display for RouterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouterError::Pattern { pattern, reason } => {
                write!(f, "the pattern `{pattern}` is malformed: {reason}")
            }
            RouterError::Conflict { pattern, with } => {
                write!(f, "the pattern `{pattern}` matches the same paths as `{with}`")
            }
            RouterError::Duplicate { route } => write!(f, "the route `{route}` is there twice"),
            RouterError::Params { route, has, takes } => write!(
                f,
                "the route `{route}` has {has} path parameter(s), but its handler takes {takes}"
            ),
            RouterError::StateMissing { route, state } => write!(
                f,
                "the handler of `{route}` takes a `State<{state}>`: add `.state(…)` with one to the \
                 router"
            ),
            RouterError::NestedFallback { prefix } => write!(
                f,
                "{} has a fallback, which would be lost: give it to the outer router, or add a route \
                 `/{{*path}}` instead",
                Inner(prefix)
            ),
            RouterError::NestedErrors { prefix } => write!(
                f,
                "{} decides the form of errors, which would be lost: call `errors` on the outer router",
                Inner(prefix)
            ),
            RouterError::NestedSettings { prefix } => write!(
                f,
                "{} has settings, which would be lost: give them to the outer router, or set \
                 `body_len_max` for each route",
                Inner(prefix)
            ),
            RouterError::Method { route } => {
                write!(
                    f,
                    "the route `{route}` has a method that cannot be routed: expected `Method::Get` and its \
                     kin for standard methods, and `Method::Extension` with a token for others"
                )
            }
        }
    }
}

/// An inner router, by its prefix.
struct Inner<'p>(&'p str);

impl fmt::Display for Inner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("the merged router"),
            prefix => write!(f, "the router nested at `{prefix}`"),
        }
    }
}

impl std::error::Error for RouterError {}
