//! Routes that say what they take and give, for OpenAPI.

use threadline_proto::Method;

use super::{Planned, Router};
use crate::openapi::{ApiHandler, Described, OpenApi, operation};

impl Router {
    /// Adds a route whose handler's types describe it, without options: see [`openapi`](crate::openapi).
    pub fn operation<Args, H: ApiHandler<Args>>(
        self,
        method: Method<'static>,
        pattern: &str,
        handler: H,
    ) -> Self {
        self.route(pattern, operation(method, handler))
    }

    /// Describes all routes that there are by now, those of nested routers included.
    pub fn openapi(&self, title: &str, version: &str) -> OpenApi {
        let routes = self.routes.iter().flat_map(|Planned { pattern, methods, .. }| {
            methods.entries.iter().map(|entry| Described {
                method: entry.method,
                pattern,
                description: entry.description(&methods.options),
            })
        });
        OpenApi::of(title, version, routes)
    }
}
