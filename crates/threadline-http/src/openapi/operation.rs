//! [`Operation`]: what is said of one method of one path.

use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use threadline_proto::response::Status;

/// The description of one route under construction: the object of that name in OpenAPI 3.1 (§4.8.10).
///
/// Made by the types of the route's handler, and completed by [`Methods::describe`](crate::Methods::describe).
///
/// ```
/// use threadline_http::{Router, Status, get};
///
/// let health = get(|| "fine").describe(|operation| {
///     operation.summary("Whether the service works").tag("operation").response(Status::OK, "It does.")
/// });
/// let router = Router::new().route("/health", health);
/// # router.build().unwrap();
/// ```
#[derive(Debug)]
pub struct Operation {
    fields: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
    generator: SchemaGenerator,
    /// Of the pattern, in its order.
    path_params: Vec<String>,
    /// How many of them have a type.
    typed: usize,
    hidden: bool,
}

/// What is to be said of a route, kept until the document is made.
#[derive(Clone, Default)]
pub(crate) struct Description(Vec<Arc<dyn Fn(Operation) -> Operation + Send + Sync>>);

impl Description {
    pub(crate) fn add(&mut self, say: impl Fn(Operation) -> Operation + Send + Sync + 'static) {
        self.0.push(Arc::new(say));
    }

    /// Says all that `first` says, before the rest.
    pub(crate) fn put_first(&mut self, first: &Description) {
        self.0.splice(0..0, first.0.iter().cloned());
    }

    /// The operation as a value, and the generator with the schemas of its types. `None` if it is hidden.
    pub(super) fn write(
        &self,
        path_params: Vec<String>,
        generator: SchemaGenerator,
    ) -> Option<(Value, SchemaGenerator)> {
        let blank = Operation {
            fields: Map::new(),
            parameters: Vec::new(),
            responses: Map::new(),
            generator,
            path_params,
            typed: 0,
            hidden: false,
        };
        let operation = self.0.iter().fold(blank, |operation, say| say(operation));
        if operation.hidden { None } else { Some(operation.finish()) }
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Description({})", self.0.len())
    }
}

/// For people.
impl Operation {
    /// What it does, in a few words.
    pub fn summary(self, text: &str) -> Self {
        self.with("summary", text)
    }

    /// What it does, at length; CommonMark.
    pub fn description(self, text: &str) -> Self {
        self.with("description", text)
    }

    /// Its name for programs, in place of one made from method and path. No two may have the same.
    pub fn id(self, id: &str) -> Self {
        self.with("operationId", id)
    }

    /// A group it belongs to.
    pub fn tag(mut self, tag: &str) -> Self {
        let tags = self.fields.entry("tags").or_insert_with(|| json!([]));
        if let Value::Array(tags) = tags {
            tags.push(tag.into());
        }
        self
    }

    /// It should not be used any more.
    pub fn deprecated(self) -> Self {
        self.with("deprecated", true)
    }

    /// It needs this security scheme, which the document names by
    /// [`OpenApi::security`](super::OpenApi::security).
    pub fn security(mut self, scheme: &str) -> Self {
        let schemes = self.fields.entry("security").or_insert_with(|| json!([]));
        if let Value::Array(schemes) = schemes {
            schemes.push(json!({ scheme: [] }));
        }
        self
    }

    /// It is not in the document.
    ///
    /// ```
    /// use threadline_http::openapi::Operation;
    /// use threadline_http::{Router, get};
    ///
    /// let router = Router::new().route("/internal", get(|| "").describe(Operation::hidden));
    /// assert!(router.openapi("Public", "1.0").document()["paths"].get("/internal").is_none());
    /// ```
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }
}

/// What it takes and gives.
impl Operation {
    /// Adds a parameter in the query.
    pub fn query<T: JsonSchema>(self, name: &str, is_required: bool) -> Self {
        self.parameter::<T>("query", name, is_required)
    }

    /// Adds a header field. `Accept`, `Content-Type` and `Authorization` are no parameters in OpenAPI.
    pub fn header<T: JsonSchema>(self, name: &str, is_required: bool) -> Self {
        let is_apart = ["accept", "content-type", "authorization"];
        if is_apart.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return self;
        }
        self.parameter::<T>("header", name, is_required)
    }

    /// Adds a cookie.
    pub fn cookie<T: JsonSchema>(self, name: &str, is_required: bool) -> Self {
        self.parameter::<T>("cookie", name, is_required)
    }

    fn parameter<T: JsonSchema>(mut self, place: &str, name: &str, is_required: bool) -> Self {
        let schema = self.schema::<T>();
        self.add_parameter(place, name, is_required, schema.to_value());
        self
    }

    pub(super) fn add_parameter(
        &mut self,
        place: &str,
        name: &str,
        is_required: bool,
        schema: Value,
    ) {
        self.parameters.retain(|known| known["name"] != name || known["in"] != place);
        self.parameters.push(json!({
            "name": name, "in": place, "required": is_required, "schema": schema,
        }));
    }

    /// The next path parameters have these schemas.
    pub(super) fn type_path_params(&mut self, schemas: impl IntoIterator<Item = Value>) {
        for schema in schemas {
            let Some(name) = self.path_params.get(self.typed).cloned() else { return };
            self.add_parameter("path", &name, true, schema);
            self.typed += 1;
        }
    }

    /// Sets the body that it takes.
    pub fn body<T: JsonSchema>(mut self, media_type: &str, is_required: bool) -> Self {
        let schema = self.schema::<T>().to_value();
        let content = json!({ media_type: { "schema": schema } });
        self.with("requestBody", json!({ "content": content, "required": is_required }))
    }

    /// Adds a response without saying more of its content, or says what one that is there means.
    pub fn response(mut self, status: Status, meaning: &str) -> Self {
        self.entry(&status.code().to_string()).insert("description".into(), meaning.into());
        self
    }

    /// Adds a response with content.
    pub fn content<T: JsonSchema>(mut self, status: Status, media_type: &str) -> Self {
        let schema = self.schema::<T>().to_value();
        self.add_content(&status.code().to_string(), media_type, schema);
        self
    }

    /// The successful response of the handler's type has another status than 200: `(Status, T)` does not
    /// say which.
    pub fn success(mut self, status: Status) -> Self {
        if let Some(mut response) = self.responses.remove("200") {
            let reason = self.reason(&status.code().to_string());
            response["description"] = reason.into();
            self.responses.insert(status.code().to_string(), response);
        }
        self
    }

    pub(super) fn add_content(&mut self, status: &str, media_type: &str, schema: Value) {
        let response = self.entry(status);
        let content = response.entry("content").or_insert_with(|| json!({}));
        content[media_type] = json!({ "schema": schema });
    }

    /// A response without content.
    pub(super) fn add_response(&mut self, status: &str) {
        self.entry(status);
    }

    fn entry(&mut self, status: &str) -> &mut Map<String, Value> {
        let meaning = self.reason(status);
        let response =
            self.responses.entry(status).or_insert_with(|| json!({ "description": meaning }));
        response.as_object_mut().expect("responses are objects")
    }

    fn reason(&self, status: &str) -> String {
        let known = status.parse().ok().and_then(Status::from_code);
        known.map_or_else(|| "Any other response".into(), |status| status.reason().to_owned())
    }

    /// The schema of a type: a reference to the document's components, if it has a name.
    pub(super) fn schema<T: JsonSchema>(&mut self) -> Schema {
        self.generator.subschema_for::<T>()
    }

    /// The schema of a type itself, not a reference to it.
    pub(super) fn schema_itself<T: JsonSchema>(&mut self) -> Schema {
        T::json_schema(&mut self.generator)
    }

    fn finish(mut self) -> (Value, SchemaGenerator) {
        // Those of which no type is known are texts.
        let untyped = vec![json!({ "type": "string" }); self.path_params.len() - self.typed];
        self.type_path_params(untyped);
        if self.responses.is_empty() {
            self.add_response("default");
        }
        if !self.parameters.is_empty() {
            self.fields.insert("parameters".into(), self.parameters.into());
        }
        self.fields.insert("responses".into(), self.responses.into());
        (self.fields.into(), self.generator)
    }
}
