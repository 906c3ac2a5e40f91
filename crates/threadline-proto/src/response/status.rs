//! Status codes (RFC 9110 §15) with their reason phrases.

use std::fmt;

/// A status code, 100 to 999. Any three digits are legal; those with a constant have a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

macro_rules! statuses {
    ($($code:literal $name:ident $reason:literal)*) => {
        impl Status {
            $(#[doc = concat!("`", $code, " ", $reason, "`")]
            pub const $name: Status = Status($code);)*

            /// The reason phrase; empty for a code without a constant here.
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }
        }
    };
}

statuses! {
    100 CONTINUE "Continue"
    101 SWITCHING_PROTOCOLS "Switching Protocols"
    103 EARLY_HINTS "Early Hints"
    200 OK "OK"
    201 CREATED "Created"
    202 ACCEPTED "Accepted"
    203 NON_AUTHORITATIVE_INFORMATION "Non-Authoritative Information"
    204 NO_CONTENT "No Content"
    205 RESET_CONTENT "Reset Content"
    206 PARTIAL_CONTENT "Partial Content"
    300 MULTIPLE_CHOICES "Multiple Choices"
    301 MOVED_PERMANENTLY "Moved Permanently"
    302 FOUND "Found"
    303 SEE_OTHER "See Other"
    304 NOT_MODIFIED "Not Modified"
    307 TEMPORARY_REDIRECT "Temporary Redirect"
    308 PERMANENT_REDIRECT "Permanent Redirect"
    400 BAD_REQUEST "Bad Request"
    401 UNAUTHORIZED "Unauthorized"
    402 PAYMENT_REQUIRED "Payment Required"
    403 FORBIDDEN "Forbidden"
    404 NOT_FOUND "Not Found"
    405 METHOD_NOT_ALLOWED "Method Not Allowed"
    406 NOT_ACCEPTABLE "Not Acceptable"
    407 PROXY_AUTHENTICATION_REQUIRED "Proxy Authentication Required"
    408 REQUEST_TIMEOUT "Request Timeout"
    409 CONFLICT "Conflict"
    410 GONE "Gone"
    411 LENGTH_REQUIRED "Length Required"
    412 PRECONDITION_FAILED "Precondition Failed"
    413 CONTENT_TOO_LARGE "Content Too Large"
    414 URI_TOO_LONG "URI Too Long"
    415 UNSUPPORTED_MEDIA_TYPE "Unsupported Media Type"
    416 RANGE_NOT_SATISFIABLE "Range Not Satisfiable"
    417 EXPECTATION_FAILED "Expectation Failed"
    421 MISDIRECTED_REQUEST "Misdirected Request"
    422 UNPROCESSABLE_CONTENT "Unprocessable Content"
    426 UPGRADE_REQUIRED "Upgrade Required"
    428 PRECONDITION_REQUIRED "Precondition Required"
    429 TOO_MANY_REQUESTS "Too Many Requests"
    431 REQUEST_HEADER_FIELDS_TOO_LARGE "Request Header Fields Too Large"
    451 UNAVAILABLE_FOR_LEGAL_REASONS "Unavailable For Legal Reasons"
    500 INTERNAL_SERVER_ERROR "Internal Server Error"
    501 NOT_IMPLEMENTED "Not Implemented"
    502 BAD_GATEWAY "Bad Gateway"
    503 SERVICE_UNAVAILABLE "Service Unavailable"
    504 GATEWAY_TIMEOUT "Gateway Timeout"
    505 HTTP_VERSION_NOT_SUPPORTED "HTTP Version Not Supported"
    511 NETWORK_AUTHENTICATION_REQUIRED "Network Authentication Required"
}

impl Status {
    /// The status of that number; `None` unless it has three digits.
    pub const fn from_code(code: u16) -> Option<Status> {
        if code >= 100 && code <= 999 { Some(Status(code)) } else { None }
    }

    /// Its number.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// 1xx: an answer is still to come.
    pub const fn is_interim(self) -> bool {
        self.0 < 200
    }

    /// 4xx and 5xx.
    pub const fn is_error(self) -> bool {
        self.0 >= 400
    }

    /// Whether a response that ends an exchange can have this status: 200 to 599 (RFC 9110 §15). `101` ends
    /// one too, but only together with the switch to another protocol.
    pub const fn is_final(self) -> bool {
        self.0 >= 200 && self.0 <= 599
    }

    /// Whether a response of this status never has content (RFC 9112 §6.3): 1xx, 204, 304.
    pub const fn forbids_content(self) -> bool {
        self.is_interim() || self.0 == 204 || self.0 == 304
    }

    /// Whether a response of this status is sent without content: those that forbid it, and `205`, which
    /// says so with `content-length: 0` (RFC 9110 §15.3.6).
    pub const fn omits_content(self) -> bool {
        self.forbids_content() || self.0 == 205
    }
}

/// `404 Not Found`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            "" => write!(f, "{}", self.0),
            reason => write!(f, "{} {reason}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_digits_make_a_status() {
        assert_eq!(Status::from_code(404), Some(Status::NOT_FOUND));
        assert_eq!(Status::from_code(99), None);
        assert_eq!(Status::from_code(1000), None);
    }

    #[test]
    fn rfc9110_15_only_200_to_599_end_an_exchange() {
        for (code, expected) in [(100, false), (199, false), (200, true), (599, true), (600, false)]
        {
            let status = Status::from_code(code).expect("three digits");
            assert_eq!((status.is_final(), status.is_interim()), (expected, code < 200), "{code}");
        }
    }

    #[test]
    fn statuses_without_content() {
        for (code, forbids, omits) in [
            (100, true, true),
            (101, true, true),
            (200, false, false),
            (203, false, false),
            (204, true, true),
            (205, false, true),
            (206, false, false),
            (303, false, false),
            (304, true, true),
            (305, false, false),
            (404, false, false),
        ] {
            let status = Status::from_code(code).expect("three digits");
            assert_eq!(
                (status.forbids_content(), status.omits_content()),
                (forbids, omits),
                "{code}"
            );
        }
    }

    #[test]
    fn errors_begin_at_400() {
        for (code, expected) in [(399, false), (400, true), (599, true)] {
            assert_eq!(Status::from_code(code).map(Status::is_error), Some(expected), "{code}");
        }
    }

    #[test]
    fn a_status_without_a_reason_is_its_number() {
        let odd = Status::from_code(299).expect("three digits");
        assert_eq!((odd.to_string(), odd.reason()), ("299".into(), ""));
        assert_eq!(Status::NOT_FOUND.to_string(), "404 Not Found");
    }
}
