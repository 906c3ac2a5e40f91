//! What the server side must make of every kind of request, good and bad: cases as data, and
//! properties of generated conversations.

mod cases;
mod connection;
mod loader;
mod properties;
