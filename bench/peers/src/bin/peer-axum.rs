//! axum on tokio: what most new Rust services are written with.
//!
//! `axum::serve` as its documentation has it, with `TCP_NODELAY` on every connection. One worker
//! is tokio's `current_thread` runtime, more are its multi-threaded one. Blocking code goes to
//! `spawn_blocking`.

use std::io;
use std::thread;

use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use http_body_util::BodyExt;
use threadline_bench_peers::{
    HELLO, HICCUP, MIXED, Options, SLEEP, SLEPT, SPUN, announce, hiccup_is_due, spin,
    tokio_listener, tokio_runtime,
};
use threadline_bench_workload::{Order, User};
use tokio::task::spawn_blocking;

fn main() -> io::Result<()> {
    let options = Options::parse(1);
    let router = Router::new()
        .route("/", get(async || HELLO))
        .route("/sleep", get(sleep))
        .route("/mixed", get(mixed))
        .route("/cpu", get(cpu))
        .route("/users/{id}", get(async |Path(id): Path<u64>| Json(User::of(id))))
        .route("/orders", post(async |Json(order): Json<Order>| Json(order)))
        .route("/upload", post(upload));
    tokio_runtime(options.workers)?.block_on(async {
        let listener = tokio_listener(options.listen()?)?;
        announce(listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            // Fails only on a connection that is already gone, and axum will notice that.
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router).await
    })
}

async fn sleep() -> &'static str {
    blocking(|| thread::sleep(SLEEP)).await;
    SLEPT
}

async fn mixed() -> &'static str {
    if hiccup_is_due() {
        blocking(|| thread::sleep(HICCUP)).await;
    }
    MIXED
}

async fn cpu() -> &'static str {
    blocking(spin).await;
    SPUN
}

async fn upload(body: Body) -> String {
    let mut count = 0;
    let mut frames = std::pin::pin!(body);
    while let Some(frame) = frames.frame().await {
        count += frame.expect("the generator stays").data_ref().map_or(0, |data| data.len());
    }
    count.to_string()
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    spawn_blocking(work).await.expect("the workload does not panic");
}
