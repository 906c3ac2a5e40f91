//! The ready-made layers together, as clients see them: through a router, without sockets.
//!
//! | file | |
//! | --- | --- |
//! | `order.rs` | the order that `middleware` documents: what refusals say, and what preflights pass |

mod order;
