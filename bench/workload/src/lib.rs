//! What is asked and answered in the benchmarks of whole requests, the same for every server.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /users/{id}` | a [`User`] as JSON, made from the path parameter |
//! | `POST /orders`, an [`Order`] of about 1 KB as JSON | the same, parsed and written again |
//! | `POST /upload`, 100 KB | how many bytes came, as text; they are read while they arrive |
//! | `GET /file` | [`file`], 1 MB, from a file on disk |

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
