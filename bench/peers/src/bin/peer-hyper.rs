//! hyper 1.x on tokio: the asynchronous peer with the least between socket and handler.
//!
//! One worker is tokio's `current_thread` runtime, more are its multi-threaded one. Blocking code
//! goes to `spawn_blocking`. `pipeline_flush` answers a batch of pipelined requests with one
//! write; the documentation says it is for benchmarks, and this is one.

use std::convert::Infallible;
use std::io;
use std::thread;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use threadline_bench_peers::{
    HELLO, HICCUP, MIXED, Options, SLEEP, SLEPT, SPUN, announce, hiccup_is_due, spin,
    tokio_listener, tokio_runtime,
};
use threadline_bench_workload::{Order, User};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

fn main() -> io::Result<()> {
    let options = Options::parse(1);
    tokio_runtime(options.workers)?.block_on(async {
        let listener = tokio_listener(options.listen()?)?;
        announce(listener.local_addr()?);
        accept(listener).await;
        Ok(())
    })
}

async fn accept(listener: TcpListener) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        if stream.set_nodelay(true).is_err() {
            continue; // already gone
        }
        tokio::spawn(async move {
            let service = service_fn(answer);
            let mut http = http1::Builder::new();
            // A client that breaks off is no news here.
            let _ = http.pipeline_flush(true).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match (request.method(), request.uri().path()) {
        (&Method::GET, path) if path.starts_with("/users/") => {
            let id = path["/users/".len()..].parse().expect("a number");
            return Ok(json(&User::of(id)));
        }
        (&Method::POST, "/orders") => {
            let body = request.into_body().collect().await.expect("the generator stays").to_bytes();
            return Ok(json(&serde_json::from_slice::<Order>(&body).expect("an order")));
        }
        (&Method::POST, "/upload") => {
            let mut count = 0;
            while let Some(frame) = request.body_mut().frame().await {
                let frame = frame.expect("the generator stays");
                count += frame.data_ref().map_or(0, |data| data.len());
            }
            return Ok(Response::new(Full::new(Bytes::from(count.to_string()))));
        }
        (&Method::GET, "/") => HELLO,
        (&Method::GET, "/sleep") => {
            blocking(|| thread::sleep(SLEEP)).await;
            SLEPT
        }
        (&Method::GET, "/mixed") => {
            if hiccup_is_due() {
                blocking(|| thread::sleep(HICCUP)).await;
            }
            MIXED
        }
        (&Method::GET, "/cpu") => {
            blocking(spin).await;
            SPUN
        }
        _ => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(response);
        }
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).expect("plain data");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    spawn_blocking(work).await.expect("the workload does not panic");
}
