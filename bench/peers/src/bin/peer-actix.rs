//! actix-web: the widely used asynchronous peer with a runtime per worker thread.
//!
//! Blocking code goes to `web::block`, which has [`BLOCKING_THREADS`] in all, shared out among the
//! workers. Idle connections live for 75 s, as nginx has it, instead of 5 s: a run with many idle
//! connections would otherwise lose them.

use std::io;
use std::thread;
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use futures_util::StreamExt;
use threadline_bench_peers::{
    BLOCKING_THREADS, HELLO, HICCUP, MIXED, Options, SLEEP, SLEPT, SPUN, announce, hiccup_is_due,
    spin,
};
use threadline_bench_workload::{Order, User};

fn main() -> io::Result<()> {
    let options = Options::parse(1);
    actix_web::rt::System::new().block_on(async {
        let listener = options.listen()?;
        let address = listener.local_addr()?;
        let server = HttpServer::new(|| {
            App::new()
                .route("/", web::get().to(async || HELLO))
                .route("/sleep", web::get().to(sleep))
                .route("/mixed", web::get().to(mixed))
                .route("/cpu", web::get().to(cpu))
                .route("/users/{id}", web::get().to(user))
                .route("/orders", web::post().to(order))
                .route("/upload", web::post().to(upload))
        })
        .workers(options.workers)
        .worker_max_blocking_threads(BLOCKING_THREADS.div_ceil(options.workers))
        .keep_alive(Duration::from_secs(75))
        .tcp_nodelay(true)
        .listen(listener)?;
        announce(address);
        server.run().await
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

async fn user(id: web::Path<u64>) -> web::Json<User> {
    web::Json(User::of(id.into_inner()))
}

async fn order(order: web::Json<Order>) -> web::Json<Order> {
    order
}

async fn upload(mut payload: web::Payload) -> String {
    let mut count = 0;
    while let Some(chunk) = payload.next().await {
        count += chunk.expect("the generator stays").len();
    }
    count.to_string()
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    web::block(work).await.expect("the workload does not panic");
}
