//! The ready-made layers together, as clients see them: through a router, without sockets.
//!
//! | file | |
//! | --- | --- |
//! | `before_body.rs` | that they refuse by the head before a body is received, and once |
//! | `bytes.rs` | that field values which are not UTF-8 pass through every layer |
//! | `deferred.rs` | that each says the same of a response that comes later |
//! | `metadata.rs` | that each layer says the same in a 200, its 206, its 304 and the answer to a `HEAD` |
//! | `order.rs` | the order that `middleware` documents: what refusals say, and what preflights pass |
//! | `panics.rs` | that the 500 of a panic passes through the layers further out |

mod before_body;
mod bytes;
mod deferred;
mod metadata;
mod order;
mod panics;
