//! Where a path leads.

use matchit::Params;

/// A place of the table, by its number, and what the path says besides.
#[derive(Debug)]
pub(crate) enum Way<'t, 'p> {
    /// The path is a pattern itself.
    Fixed(usize),
    /// It fits a pattern, with these parameters.
    Pattern(usize, Params<'t, 'p>),
    /// There is no such pattern.
    Nowhere,
}

impl<'t, 'p> Way<'t, 'p> {
    /// The path's parameters, if it can have any.
    #[inline]
    pub(crate) fn params(&self) -> Option<&Params<'t, 'p>> {
        match self {
            Way::Pattern(_, params) => Some(params),
            Way::Fixed(_) | Way::Nowhere => None,
        }
    }
}
