//! [`OpenApi`]: the document, and the pages that show it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use threadline_proto::Method;

use super::Description;
use crate::extract::Json;
use crate::response::Response;
use crate::router::Router;

/// The description of a service, by [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.1.html). Made by
/// [`Router::openapi`].
///
/// ```
/// use threadline_http::Router;
/// use threadline_http::openapi::SecurityScheme;
///
/// let router = Router::new().get("/", || "hello");
/// let api = router
///     .openapi("Greeter", "1.0")
///     .description("Greets.")
///     .server("https://example.com")
///     .security("token", SecurityScheme::Bearer);
/// assert_eq!(api.document()["info"]["title"], "Greeter");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a description does nothing until it is served or written somewhere"]
pub struct OpenApi {
    document: Value,
}

/// How clients say who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecurityScheme {
    /// A name and a password (RFC 7617).
    Basic,
    /// A token (RFC 6750).
    Bearer,
    /// A key in a header field of that name.
    Header(String),
    /// A key in a cookie of that name.
    Cookie(String),
}

/// A route, as far as it is described.
pub(crate) struct Described<'r> {
    pub(crate) method: Method<'static>,
    pub(crate) pattern: &'r str,
    pub(crate) description: Description,
}

/// What OpenAPI has a place for.
const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];

impl OpenApi {
    pub(crate) fn of<'r>(
        title: &str,
        version: &str,
        routes: impl Iterator<Item = Described<'r>>,
    ) -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into());
        let mut generator = SchemaGenerator::new(settings);
        let mut paths = Map::new();
        for route in routes.filter(|route| METHODS.contains(&route.method.as_str())) {
            let method = route.method.as_str().to_lowercase();
            let (path, params) = split(route.pattern);
            // A copy: a hidden operation leaves no schemas in the document.
            let Some((mut operation, with)) = route.description.write(params, generator.clone())
            else {
                continue;
            };
            generator = with;
            if operation.get("operationId").is_none() {
                operation["operationId"] = format!("{method} {path}").into();
            }
            let place = paths.entry(path).or_insert_with(|| json!({}));
            place[method] = operation;
        }
        let schemas = Value::Object(generator.take_definitions(true));
        OpenApi {
            document: json!({
                "openapi": "3.1.0",
                "info": { "title": title, "version": version },
                "paths": paths,
                "components": { "schemas": schemas },
            }),
        }
    }

    /// What the service is for; CommonMark.
    pub fn description(mut self, text: &str) -> Self {
        self.document["info"]["description"] = text.into();
        self
    }

    /// Adds a URL at which the service can be had. Without one, it is where the document is.
    pub fn server(mut self, url: &str) -> Self {
        match &mut self.document["servers"] {
            Value::Array(servers) => servers.push(json!({ "url": url })),
            servers => *servers = json!([{ "url": url }]),
        }
        self
    }

    /// Names a security scheme, for [`Operation::security`](super::Operation::security).
    pub fn security(mut self, name: &str, scheme: SecurityScheme) -> Self {
        self.document["components"]["securitySchemes"][name] = match scheme {
            SecurityScheme::Basic => json!({ "type": "http", "scheme": "basic" }),
            SecurityScheme::Bearer => json!({ "type": "http", "scheme": "bearer" }),
            SecurityScheme::Header(name) => {
                json!({ "type": "apiKey", "in": "header", "name": name })
            }
            SecurityScheme::Cookie(name) => {
                json!({ "type": "apiKey", "in": "cookie", "name": name })
            }
        };
        self
    }

    /// The document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Two routes, to be nested wherever they shall be: `/openapi.json`, and `/`, a page that shows it and
    /// tries requests. The page loads nothing from anywhere else.
    pub fn routes(self) -> Router {
        let page = self.page();
        let policy = policy(&page);
        Router::new().get("/openapi.json", move || Json(self.document.clone())).get(
            "/",
            move || {
                Response::text(page.clone())
                    .with_content_type("text/html; charset=utf-8")
                    .with_header("content-security-policy", policy.clone())
                    .with_header("x-content-type-options", "nosniff")
            },
        )
    }

    fn page(&self) -> String {
        // Inside of a script nothing but its end has a meaning.
        let document = self.document.to_string().replace('<', "\\u003c");
        include_str!("page.html")
            .replace("@STYLE@", STYLE)
            .replace("@SCRIPT@", SCRIPT)
            .replace("@DOCUMENT@", &document)
    }
}

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing runs but our own script and style, and nothing is loaded from elsewhere.
fn policy(page: &str) -> String {
    debug_assert!(page.contains(STYLE) && page.contains(SCRIPT), "what is hashed is what is sent");
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; connect-src 'self'; style-src 'sha256-{}'; script-src 'sha256-{}'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// A pattern as OpenAPI writes it, and the names of its parameters: `{*rest}` is `{rest}`, and doubled
/// braces are braces.
fn split(pattern: &str) -> (String, Vec<String>) {
    let (mut path, mut params) = (String::new(), Vec::new());
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '}']) {
        path.push_str(&rest[..at]);
        let doubled = rest[at..].starts_with("{{") || rest[at..].starts_with("}}");
        let end = rest[at..].find('}').filter(|_| !doubled);
        let Some(end) = end else {
            path.push_str(&rest[at..at + 1]);
            rest = &rest[at + 1 + usize::from(doubled)..];
            continue;
        };
        let name = rest[at + 1..at + end].trim_start_matches('*');
        params.push(name.to_owned());
        path.push_str(&format!("{{{name}}}"));
        rest = &rest[at + end + 1..];
    }
    path.push_str(rest);
    (path, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_templates() {
        let params =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(split("/"), ("/".into(), params(&[])));
        assert_eq!(split("/a/{b}/c/{*d}"), ("/a/{b}/c/{d}".into(), params(&["b", "d"])));
        assert_eq!(split("/{{a}}/{b}"), ("/{a}/{b}".into(), params(&["b"])));
    }
}
