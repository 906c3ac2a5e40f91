//! What a layer has found out about a request before its body was received, for when the body is there.
//!
//! A layer that has checked a password or taken a token in `before_body` must not do so again in `handle`. It
//! leaves the result in the extensions of the request, under its own address: several layers of a type may be
//! around a handler.

use crate::request::Request;

/// What layers have left, by the address of each.
struct Noted<T>(Vec<(usize, T)>);

/// Keeps a value for the same layer.
pub(super) fn note<L, T>(layer: &L, request: &Request<'_>, value: T)
where
    T: Clone + Send + Sync + 'static,
{
    let earlier = request.extensions().get::<Noted<T>>();
    let mut all = earlier.map_or_else(Vec::new, |noted| noted.0.clone());
    all.push((address(layer), value));
    request.extensions().insert(Noted(all));
}

/// What the layer has kept.
pub(super) fn noted<L, T>(layer: &L, request: &Request<'_>) -> Option<T>
where
    T: Clone + Send + Sync + 'static,
{
    let noted = request.extensions().get::<Noted<T>>()?;
    noted.0.iter().find(|(known, _)| *known == address(layer)).map(|(_, value)| value.clone())
}

fn address<L>(layer: &L) -> usize {
    std::ptr::from_ref(layer).addr()
}
