//! What a client would rather have: the elements of `Accept` and its kin, with weights (RFC 9110
//! §12.4.2).
//!
//! Used wherever there is a choice: content codings, media types, languages. An element without a weight
//! weighs 1000 thousandths; one whose weight cannot be read, nothing, which means "not that".

use threadline_proto::request::Headers;

/// An element without its parameters, and its weight in thousandths.
pub(crate) fn weighted(element: &str) -> (&str, u16) {
    let mut parts = element.split(';').map(|part| part.trim_matches([' ', '\t']));
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| {
        let (parameter, weight) = part.split_once('=')?;
        let is_weight = parameter.trim_end().eq_ignore_ascii_case("q");
        is_weight.then(|| thousandths(weight.trim_start()).unwrap_or(0))
    });
    (name, weight.unwrap_or(1000))
}

fn thousandths(weight: &str) -> Option<u16> {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    // Java's `HttpURLConnection` asks for `*/*; q=.2`.
    let whole = if whole.is_empty() && !fraction.is_empty() { "0" } else { whole };
    let is_fraction = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || !is_fraction {
        return None;
    }
    let thousandths: u16 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (thousandths <= 1000).then_some(thousandths)
}

/// The weight in all fields of that name: that of the first of `names` they have, which are in the order
/// of their precedence. `None` if they have none of them.
pub(crate) fn weight(headers: Headers<'_, '_>, field: &str, names: &[&str]) -> Option<u16> {
    names.iter().find_map(|name| {
        let mut elements = headers
            .all(field)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(weighted);
        elements.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, weight)| weight)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_12_4_2_weights() {
        for (text, expected) in [
            ("br", ("br", 1000)),
            (" br ; Q=0.5\t", ("br", 500)),
            ("br;q=0.001", ("br", 1)),
            ("*;q=0", ("*", 0)),
            ("br;q=1.000", ("br", 1000)),
            ("text/html;level=1;q=0.7", ("text/html", 700)),
            ("br;q=.2", ("br", 200)),
            ("br;q=.", ("br", 0)),
            ("br;q=1.001", ("br", 0)),
            ("br;q=2", ("br", 0)),
            ("br;q=0.1234", ("br", 0)),
            ("br;q=", ("br", 0)),
            ("br;q=-1", ("br", 0)),
            ("", ("", 1000)),
        ] {
            assert_eq!(weighted(text), expected, "{text}");
        }
    }
}
