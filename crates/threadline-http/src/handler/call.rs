//! Which functions are handlers, and how the router calls them.
//!
//! Rust cannot say "any function whose parameters are extractors" in one impl, so there is one per
//! number of parameters, and `Args` keeps them apart: [`Extracted`] for those of extractors alone,
//! [`AndRequest`] for those that take the request itself last, `AndMultipart` for those that take its
//! body in parts last. `Args` is always inferred.

use std::marker::PhantomData;
use std::sync::Arc;

use threadline_engine::Contained;

use crate::handler::{FromRequest, IntoResponse, Needs};
#[cfg(feature = "multipart")]
use crate::multipart::Multipart;
use crate::request::Request;
use crate::response::Response;
use crate::router::RouteOptions;

/// A function that answers requests: up to twelve extractors, then `&Request<'_>` if it wants, and a
/// result that is a response. With feature `multipart`, `Multipart<'_>` may stand in the request's place.
///
/// ```
/// # use threadline_http::{BodyError, Path, Request, Response, Router, Status};
/// fn fixed() -> &'static str { "always the same" }
/// fn greet(Path(name): Path<String>) -> String { format!("hello, {name}") }
/// fn sum(Path((a, b)): Path<(i64, i64)>) -> String { (a + b).to_string() }
/// fn echo(request: &Request<'_>) -> Result<Vec<u8>, BodyError> { Ok(request.bytes()?.into_owned()) }
/// fn put(Path(id): Path<u64>, request: &Request<'_>) -> (Status, String) {
///     (Status::CREATED, format!("{id} by {:?}", request.peer_addr()))
/// }
/// # Router::new().get("/", fixed).get("/a/{name}", greet).get("/{a}/plus/{b}", sum)
/// #     .post("/", echo).put("/{id}", put).get("/b", |_: &Request<'_>| "closure").build().unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a function that can answer requests",
    note = "a handler takes up to twelve parameters that implement `FromRequest`, such as `Path<T>`, \
            and then, if it wants, `&Request<'_>`",
    note = "it returns something that implements `IntoResponse`, such as `String`, `Response` or a \
            `Result` of them",
    note = "it is `Send + Sync + 'static`: a closure must own what it uses (`move`, `Arc`)"
)]
pub trait Handler<Args>: Send + Sync + 'static {
    /// Answers one request. May block.
    fn call(&self, request: &Request<'_>) -> Response;

    /// How many path parameters its extractors need, where that is known.
    fn params(&self) -> Option<usize>;

    /// What its extractors need of the service.
    fn needs(&self, needs: &mut Needs);

    /// Options of its own, which go before those of the route that it is added to. Default: none.
    fn route_options(&self) -> RouteOptions {
        RouteOptions::new()
    }
}

/// Marks handlers whose parameters are all extractors.
#[derive(Debug)]
pub struct Extracted<T>(PhantomData<T>);

/// Marks handlers whose last parameter is the request itself.
#[derive(Debug)]
pub struct AndRequest<T>(PhantomData<T>);

/// Marks handlers whose last parameter is the body in parts,
/// [`Multipart`](crate::multipart::Multipart). It borrows from the request, which an extractor cannot.
#[cfg(feature = "multipart")]
#[derive(Debug)]
pub struct AndMultipart<T>(PhantomData<T>);

/// What the router keeps: a handler whose `Args` are forgotten.
/// Each is dropped by itself: two that panic then must not meet.
pub(crate) type Erased = Contained<Arc<dyn Fn(&Request<'_>) -> Response + Send + Sync>>;

/// Forgets `Args`.
pub(crate) fn erase<Args>(handler: impl Handler<Args>) -> Erased {
    Contained::new(Arc::new(move |request: &Request<'_>| handler.call(request)))
}

macro_rules! handlers {
    ($($extractor:ident $value:ident),*) => {
        impl<Fun, Out, $($extractor),*> Handler<Extracted<($($extractor,)*)>> for Fun
        where
            Fun: Fn($($extractor),*) -> Out + Send + Sync + 'static,
            Out: IntoResponse,
            $($extractor: FromRequest,)*
        {
            #[inline]
            fn call(&self, request: &Request<'_>) -> Response {
                let _ = request;
                $(let $value = match $extractor::from_request(request) {
                    Ok(value) => value,
                    Err(rejection) => return rejection.into_response(),
                };)*
                self($($value),*).into_response()
            }

            fn params(&self) -> Option<usize> {
                None$(.or($extractor::PARAMS))*
            }

            fn needs(&self, needs: &mut Needs) {
                let _ = &needs;
                $($extractor::needs(needs);)*
            }
        }

        impl<Fun, Out, $($extractor),*> Handler<AndRequest<($($extractor,)*)>> for Fun
        where
            Fun: for<'r> Fn($($extractor,)* &'r Request<'r>) -> Out + Send + Sync + 'static,
            Out: IntoResponse,
            $($extractor: FromRequest,)*
        {
            #[inline]
            fn call(&self, request: &Request<'_>) -> Response {
                $(let $value = match $extractor::from_request(request) {
                    Ok(value) => value,
                    Err(rejection) => return rejection.into_response(),
                };)*
                self($($value,)* request).into_response()
            }

            fn params(&self) -> Option<usize> {
                None$(.or($extractor::PARAMS))*
            }

            fn needs(&self, needs: &mut Needs) {
                let _ = &needs;
                $($extractor::needs(needs);)*
            }
        }

        #[cfg(feature = "multipart")]
        impl<Fun, Out, $($extractor),*> Handler<AndMultipart<($($extractor,)*)>> for Fun
        where
            Fun: for<'r> Fn($($extractor,)* Multipart<'r>) -> Out + Send + Sync + 'static,
            Out: IntoResponse,
            $($extractor: FromRequest,)*
        {
            fn call(&self, request: &Request<'_>) -> Response {
                $(let $value = match $extractor::from_request(request) {
                    Ok(value) => value,
                    Err(rejection) => return rejection.into_response(),
                };)*
                match Multipart::of(request) {
                    Ok(parts) => self($($value,)* parts).into_response(),
                    Err(error) => error.into_response(),
                }
            }

            fn params(&self) -> Option<usize> {
                None$(.or($extractor::PARAMS))*
            }

            fn needs(&self, needs: &mut Needs) {
                let _ = &needs;
                $($extractor::needs(needs);)*
            }
        }
    };
}

handlers!();
handlers!(A a);
handlers!(A a, B b);
handlers!(A a, B b, C c);
handlers!(A a, B b, C c, D d);
handlers!(A a, B b, C c, D d, E e);
handlers!(A a, B b, C c, D d, E e, F f);
handlers!(A a, B b, C c, D d, E e, F f, G g);
handlers!(A a, B b, C c, D d, E e, F f, G g, H h);
handlers!(A a, B b, C c, D d, E e, F f, G g, H h, I i);
handlers!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j);
handlers!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k);
handlers!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l);
