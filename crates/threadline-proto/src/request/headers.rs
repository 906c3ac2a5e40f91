//! Header fields as borrowed slices, and the place where they are put.

use std::fmt;
use std::mem::ManuallyDrop;

use arrayvec::ArrayVec;

/// A field line, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'i> {
    /// A token, as it came.
    pub(super) name: &'i [u8],
    /// Without the whitespace around it.
    pub(super) value: &'i [u8],
}

/// Room for the fields of one head, on the caller's stack.
///
/// It starts uninitialised, so its size costs nothing but address space.
pub struct HeaderSlots<'i> {
    /// Never dropped, as fields have nothing to drop: so the slots may outlive the input.
    pub(super) fields: ManuallyDrop<ArrayVec<Field<'i>, { HeaderSlots::COUNT }>>,
}

impl HeaderSlots<'_> {
    /// How many fields there is room for, whatever the limits say.
    pub const COUNT: usize = 128;

    /// Empty slots.
    #[inline(always)]
    pub const fn new() -> Self {
        HeaderSlots { fields: ManuallyDrop::new(ArrayVec::new_const()) }
    }
}

impl Default for HeaderSlots<'_> {
    fn default() -> Self {
        HeaderSlots::new()
    }
}

impl fmt::Debug for HeaderSlots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderSlots")
    }
}

/// The fields of a head in their order, names as they came.
#[derive(Clone, Copy)]
pub struct Headers<'h, 'i>(pub(super) &'h [Field<'i>]);

impl<'h, 'i> Headers<'h, 'i> {
    /// The value of the first field of that name, in any case. A linear search: heads are short.
    pub fn get(&self, name: &str) -> Option<&'i [u8]> {
        self.all(name).next()
    }

    /// The value of the first field of that name, where it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&'i str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields of that name, in order.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'i [u8]> + use<'h, 'i, 'n> {
        let is_named = |field: &&Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
        self.0.iter().filter(is_named).map(|field| field.value)
    }

    /// All fields as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&'i str, &'i [u8])> + use<'h, 'i> {
        // A token is ASCII.
        self.0.iter().map(|field| (str::from_utf8(field.name).unwrap_or_default(), field.value))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Headers<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(k, v)| (k, String::from_utf8_lossy(v)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_5_1_names_are_found_in_any_case_and_values_keep_their_order() {
        let fields = [
            Field { name: b"Accept", value: b"a" },
            Field { name: b"x", value: b"\xff" },
            Field { name: b"ACCEPT", value: b"b" },
        ];
        let headers = Headers(&fields);
        assert_eq!(headers.get("accept"), Some(&b"a"[..]));
        assert_eq!(headers.all("aCCept").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!((headers.get_str("accept"), headers.get_str("X")), (Some("a"), None));
        assert_eq!((headers.len(), headers.get("accep")), (3, None));
    }
}
