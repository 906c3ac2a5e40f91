//! What is asked and answered in the benchmarks of whole requests, the same for every server.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /users/{id}` | a [`User`] as JSON, made from the path parameter |
//! | `POST /orders`, an [`Order`] of about 1 KB as JSON | the same, parsed and written again |
//! | `POST /upload`, 100 KB | how many bytes came, as text; they are read piece by piece |
//! | `GET /file` | [`file`], 1 MB, from a file on disk |
//!
//! The overload scenarios have more, which only threadline's service answers: see its `overload.rs`.

use serde::{Deserialize, Serialize};

/// Header fields of every request but `Host`, as a browser's `fetch` or an API client sends them.
pub const FIELDS: &str = "User-Agent: lg/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip, br\r\n\
    Accept-Language: en-GB, en;q=0.8\r\nCookie: session=31d4d96e407aad42; theme=dark\r\n";

/// Bytes of an upload.
pub const UPLOAD_LEN: usize = 100 * 1024;

/// Bytes of the file.
pub const FILE_LEN: usize = 1024 * 1024;

/// What `GET /users/{id}` answers.
#[derive(Debug, Serialize)]
pub struct User {
    pub id: u64,
    pub name: &'static str,
    pub active: bool,
}

impl User {
    pub fn of(id: u64) -> User {
        User { id, name: "Ada Lovelace", active: true }
    }
}

/// What `POST /orders` takes and gives back.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub customer: String,
    pub note: String,
    pub items: Vec<Item>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Item {
    pub name: String,
    pub count: u32,
    pub cents: u64,
}

/// An order of about 1 KB, as JSON.
pub fn order() -> Vec<u8> {
    let item =
        |n: u32| Item { name: format!("item number {n}"), count: n, cents: u64::from(n) * 199 };
    let order = Order {
        customer: "Charles Babbage".into(),
        note: "Leave it beside the engine. ".repeat(5),
        items: (0..17).map(item).collect(),
    };
    serde_json::to_vec(&order).expect("plain data")
}

/// What `GET /file` answers.
pub fn file() -> Vec<u8> {
    (0..FILE_LEN).map(|at| (at % 251) as u8).collect()
}

/// Bytes of a large reply.
pub const LARGE_LEN: usize = 10 * 1024 * 1024;

/// What `GET /large/{kind}` answers: bytes that cannot be compressed.
pub fn large() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(LARGE_LEN / 8).flatten().collect()
}

/// How the service may hold a large reply: `GET /large/{kind}`.
pub const LARGE_KINDS: [&str; 5] = ["static", "owned", "file", "iterator", "compressed"];

/// How many routes `/cold/{number}` there are.
pub const COLD_ROUTES: usize = 256;

/// What `GET /argon2` hashes.
pub const PASSWORD: &[u8] = b"correct horse battery staple";

/// And with which salt.
pub const SALT: &[u8] = b"threadline-bench";

/// What it answers: Argon2id of the password, 19 MiB, two passes, one lane; in hexadecimal digits.
pub const ARGON2_ANSWER: &str = "210a22407cf5d50554ab62a4dedca1e2d88f6b161146c6bcbcb6a1008539a3ab";
