//! Routes that say what they take and give, for OpenAPI.

use threadline_proto::Method;

use super::Router;
use crate::openapi::{ApiHandler, Described, OpenApi, Operation};

impl Router {
    /// Adds a route whose handler's types describe it: see [`openapi`](crate::openapi).
    pub fn operation<Args, H: ApiHandler<Args>>(
        self,
        method: Method<'static>,
        pattern: &str,
        handler: H,
    ) -> Self {
        // A plain pointer: it has forgotten `Args`.
        let say: fn(Operation) -> Operation = H::describe;
        self.route(method, pattern, handler).describe(say)
    }

    /// Says more of the last route, whatever way it was added.
    pub fn describe(
        mut self,
        say: impl Fn(Operation) -> Operation + Send + Sync + 'static,
    ) -> Self {
        if let Some(planned) = self.routes.last_mut() {
            planned.description.add(say);
        }
        self
    }

    /// Describes all routes that there are by now, those of nested routers included.
    pub fn openapi(&self, title: &str, version: &str) -> OpenApi {
        let routes = self.routes.iter().map(|planned| Described {
            method: planned.method,
            pattern: &planned.pattern,
            description: &planned.description,
        });
        OpenApi::of(title, version, routes)
    }
}
