//! Values by type: [`Extensions`] of one request, [`States`] of a service.
//!
//! Middleware leaves values for handlers in a request's extensions; what the whole service shares is
//! its state. Both are few, so a list is searched.

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use threadline_engine::Contained;

/// What middleware has left with a request: one value for each type. Lives as long as the handler's call.
///
/// Threads that share a request share its extensions, so values are `Send + Sync`. They are dropped, and
/// cloned by [`Extension`](crate::Extension), while no lock is held.
///
/// ```
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Extension, Next, Request, Response, Router};
///
/// #[derive(Clone)]
/// struct Tenant(String);
///
/// fn find_tenant(request: &Request<'_>, next: Next<'_>) -> Response {
///     request.extensions().insert(Tenant(request.host().unwrap_or("none").to_owned()));
///     next.run(request)
/// }
///
/// let router = Router::new().get("/", |Extension(Tenant(name)): Extension<Tenant>| name).layer(find_tenant);
/// let client = TestClient::new(router)?;
/// assert_eq!(client.get("/").header("host", "acme").send().text(), "acme");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Default)]
pub struct Extensions(Mutex<Vec<Entry>>);

/// Each value is dropped by itself: two that panic then must not meet.
type Entry = (TypeId, Contained<Arc<dyn Any + Send + Sync>>);

impl Extensions {
    pub(crate) const fn new() -> Self {
        Extensions(Mutex::new(Vec::new()))
    }

    /// Keeps a value, in place of an earlier one of its type.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) {
        let entry: Entry = (TypeId::of::<T>(), Contained::new(Arc::new(value)));
        let mut values = self.lock();
        let earlier = match values.iter_mut().find(|(id, _)| *id == entry.0) {
            Some(known) => Some(mem::replace(known, entry)),
            None => {
                values.push(entry);
                None
            }
        };
        // Its destructor is the program's: it must not run under the lock.
        drop(values);
        drop(earlier);
    }

    /// The value of that type, if there is one.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let values = self.lock();
        let (_, value) = values.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        Arc::clone(&**value).downcast().ok()
    }

    /// The same values, in a list of their own.
    pub(crate) fn snapshot(&self) -> Extensions {
        Extensions(Mutex::new(self.lock().clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extensions({})", self.lock().len())
    }
}

/// What a service's handlers share, by type. A clone has the same values.
#[derive(Clone, Default)]
pub(crate) struct States(Vec<(TypeId, &'static str, State)>);

type State = Contained<Arc<dyn Any + Send + Sync>>;

impl States {
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.retain(|(id, ..)| *id != TypeId::of::<T>());
        self.0.push((TypeId::of::<T>(), type_name::<T>(), Contained::new(Arc::new(value))));
    }

    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        let (.., value) = self.0.iter().find(|(id, ..)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }

    pub(crate) fn has(&self, id: TypeId) -> bool {
        self.0.iter().any(|(known, ..)| *known == id)
    }

    /// Takes over what `other` has and this one has not.
    pub(crate) fn merge(&mut self, other: States) {
        for entry in other.0 {
            if !self.has(entry.0) {
                self.0.push(entry);
            }
        }
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(_, name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_type_and_replaced_by_another_of_it() {
        let extensions = Extensions::default();
        assert!(extensions.get::<u8>().is_none());
        extensions.insert(1_u8);
        extensions.insert("x");
        extensions.insert(2_u8);
        assert_eq!(extensions.get::<u8>().as_deref(), Some(&2));
        assert_eq!(extensions.get::<&str>().as_deref(), Some(&"x"));
    }

    #[test]
    fn what_is_replaced_is_dropped_without_the_lock() {
        /// Asks for a value when it is dropped.
        struct Asks(Arc<Extensions>, Arc<Mutex<Vec<Option<u8>>>>);

        impl Drop for Asks {
            fn drop(&mut self) {
                let answer = self.0.get::<u8>().map(|value| *value);
                self.1.lock().expect("not poisoned").push(answer);
            }
        }

        let (extensions, answers) = (Arc::new(Extensions::default()), Arc::default());
        extensions.insert(7_u8);
        for _ in 0..2 {
            extensions.insert(Asks(Arc::clone(&extensions), Arc::clone(&answers)));
        }
        assert_eq!(*answers.lock().expect("not poisoned"), [Some(7)]);
    }

    #[test]
    fn destructors_that_panic_are_contained() {
        struct Bomb<const N: u8>;

        impl<const N: u8> Drop for Bomb<N> {
            fn drop(&mut self) {
                panic!("dropped, as asked");
            }
        }

        let extensions = Extensions::default();
        extensions.insert(Bomb::<1>);
        extensions.insert(Bomb::<1>);
        extensions.insert(Bomb::<2>);
        assert!(extensions.get::<Bomb<3>>().is_none());
    }

    #[test]
    fn an_inner_state_gives_way_to_an_outer_one() {
        let (mut outer, mut inner) = (States::default(), States::default());
        outer.insert(1_u8);
        inner.insert(2_u8);
        inner.insert(3_u16);
        outer.merge(inner);
        assert_eq!((outer.get::<u8>(), outer.get::<u16>()), (Some(&1), Some(&3)));
        assert!(outer.get::<u32>().is_none());
    }
}
