//! What the client would rather have: `Accept` and `Accept-Language` (RFC 9110 §12.5).

use std::convert::Infallible;

use super::FromHeader;
use crate::weights::weighted;

/// A list of wishes with weights (RFC 9110 §12.4.2), the greatest weight first, of equal ones the one
/// named first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preferences(Vec<(String, u16)>);

impl Preferences {
    fn parse(value: &str) -> Self {
        let weighted = value.split(',').map(weighted).filter(|(wish, _)| !wish.is_empty());
        let mut wishes: Vec<_> =
            weighted.map(|(wish, weight)| (wish.to_ascii_lowercase(), weight)).collect();
        wishes.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        Preferences(wishes)
    }

    /// The wishes in lower case with their weights in thousandths; 0 means "not that".
    pub fn iter(&self) -> impl Iterator<Item = (&str, u16)> {
        self.0.iter().map(|(wish, weight)| (&**wish, *weight))
    }
}

/// Which media types the client would rather have (RFC 9110 §12.5.1). [`Header`](crate::Header) has an
/// example.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accept(pub Preferences);

impl Accept {
    /// Which of the offered media types the client wants most: of equal ones the first offered. `None`
    /// if it wants none of them.
    ///
    /// The most specific wish counts: `text/html;q=0.1, */*` is anything but HTML.
    pub fn best<'o>(&self, offered: &[&'o str]) -> Option<&'o str> {
        best(offered, |offer| self.weight(offer))
    }

    fn weight(&self, offer: &str) -> u16 {
        let kind = offer.split_once('/').map_or("", |(kind, _)| kind);
        let specific = |wish: &str| match wish {
            // The second means nothing by the grammar, and nothing else to those that send it.
            "*/*" | "*" => 1,
            _ if wish.strip_suffix("/*").is_some_and(|wish| wish.eq_ignore_ascii_case(kind)) => 2,
            _ if wish.eq_ignore_ascii_case(offer) => 3,
            _ => 0,
        };
        most_specific(&self.0, specific)
    }
}

/// Which languages the reader would rather have (RFC 9110 §12.5.4).
///
/// ```
/// use threadline_http::FromHeader;
/// use threadline_http::extract::header::AcceptLanguage;
///
/// let reader = AcceptLanguage::from_header("de-CH, de;q=0.9, en;q=0.5").unwrap();
/// assert_eq!(reader.best(&["en", "de"]), Some("de"));
/// assert_eq!(reader.best(&["en-GB", "fr"]), Some("en-GB"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcceptLanguage(pub Preferences);

impl AcceptLanguage {
    /// Which of the offered languages the reader wants most: of equal ones the first offered. A wish
    /// fits its dialects (RFC 4647 §3.3.1): `en` fits `en-GB`. `None` if none fits.
    pub fn best<'o>(&self, offered: &[&'o str]) -> Option<&'o str> {
        best(offered, |offer| self.weight(offer))
    }

    fn weight(&self, offer: &str) -> u16 {
        let offer = offer.to_ascii_lowercase();
        let specific = |wish: &str| match offer.strip_prefix(wish) {
            Some(rest) if rest.is_empty() || rest.starts_with('-') => wish.len() + 1,
            _ => usize::from(wish == "*"),
        };
        most_specific(&self.0, specific)
    }
}

fn best<'o>(offered: &[&'o str], weight: impl Fn(&str) -> u16) -> Option<&'o str> {
    let weighted = offered.iter().map(|offer| (*offer, weight(offer)));
    // `max_by_key` would give the last of equals.
    weighted
        .filter(|(_, weight)| *weight > 0)
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map(|(offer, _)| offer)
}

/// The weight of the wish that fits best; 0 if none does.
fn most_specific(wishes: &Preferences, specific: impl Fn(&str) -> usize) -> u16 {
    let fitting = wishes.iter().map(|(wish, weight)| (specific(wish), weight));
    fitting.filter(|(fit, _)| *fit > 0).max_by_key(|(fit, _)| *fit).map_or(0, |(_, weight)| weight)
}

macro_rules! lists {
    ($($type:ident $name:literal;)*) => {$(
        impl FromHeader for $type {
            const NAME: &'static str = $name;
            const IS_LIST: bool = true;
            type Error = Infallible;

            fn from_header(value: &str) -> Result<Self, Infallible> {
                Ok($type(Preferences::parse(value)))
            }
        }
    )*};
}

lists! {
    Accept "accept";
    AcceptLanguage "accept-language";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Accept {
        Accept(Preferences::parse(value))
    }

    #[test]
    fn rfc9110_12_4_2_weights_order_the_wishes() {
        let wishes = Preferences::parse("a;q=0.5, B, c;Q=0.001;x=y, , e;q=0, f;x;q=0.75");
        let wishes: Vec<_> = wishes.iter().collect();
        assert_eq!(wishes, [("b", 1000), ("f", 750), ("a", 500), ("c", 1), ("e", 0)]);
    }

    #[test]
    fn rfc9110_12_5_1_the_most_specific_wish_counts() {
        let offered = ["text/html", "application/json"];
        assert_eq!(accept("*/*").best(&offered), Some("text/html"));
        assert_eq!(accept("text/html;q=0.1, */*").best(&offered), Some("application/json"));
        assert_eq!(accept("text/html;q=0, text/*").best(&offered), None);
        assert_eq!(
            accept("application/*;q=0.2, text/*;q=0.1").best(&offered),
            Some("application/json")
        );
        assert_eq!(accept("").best(&offered), None);
        // Java's HttpURLConnection, and clients that leave out a half.
        let java = accept("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2");
        assert_eq!(java.best(&["application/json"]), Some("application/json"));
        assert_eq!(java.best(&["application/json", "text/html"]), Some("text/html"));
        assert_eq!(accept("*").best(&offered), Some("text/html"));
    }

    #[test]
    fn rfc9110_8_3_1_media_types_are_the_same_in_any_case() {
        for wish in ["text/*", "TEXT/HTML"] {
            assert_eq!(accept(wish).best(&["Text/Html"]), Some("Text/Html"), "{wish}");
        }
    }

    #[test]
    fn rfc4647_a_language_is_not_a_prefix_of_another() {
        let reader = AcceptLanguage(Preferences::parse("en, *;q=0.1"));
        assert_eq!(reader.best(&["enx", "en-US"]), Some("en-US"));
        assert_eq!(reader.best(&["de"]), Some("de"));
    }
}
