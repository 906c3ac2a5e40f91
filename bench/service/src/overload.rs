//! The routes of the overload scenarios; `--overload` adds them to the others.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /body` | how many bytes came, as text; the handler takes the body as a whole |
//! | `GET /sleep/{ms}` | `slept`, after that many milliseconds |
//! | `GET /cold/{number}`, below [`COLD_ROUTES`] | `cold`; a route each |
//! | `GET /large/{kind}` | [`threadline_bench_workload::large`], 10 MB, held in one way or another |
//! | `GET /argon2` | [`threadline_bench_workload::ARGON2_ANSWER`], computed |
//! | `GET /panic` | 500: the handler panics |

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use threadline::http::middleware::{Coding, Compression};
use threadline::http::{Body, Path, Response, Router, get};
use threadline_bench_workload::{self as workload, COLD_ROUTES};

/// How often the handler of `/sleep/{ms}` has been called.
pub static SLEEPS: AtomicU64 = AtomicU64::new(0);

static LARGE: LazyLock<Vec<u8>> = LazyLock::new(workload::large);

/// What one piece of the iterator's reply has.
const PIECE_LEN: usize = 64 * 1024;

/// Adds the routes.
pub fn routes(router: Router) -> Router {
    let router = router
        .post("/body", |body: Vec<u8>| body.len().to_string())
        .get("/sleep/{ms}", |Path(ms): Path<u64>| {
            SLEEPS.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(ms));
            "slept"
        })
        .get("/large/static", || Response::bytes(&LARGE[..]))
        .get("/large/owned", || Response::bytes(LARGE.clone()))
        .get("/large/file", file)
        .get("/large/iterator", || Response::bytes(Body::chunks(pieces())))
        .route("/large/compressed", get(compressible).layer(gzip()))
        .get("/argon2", hash)
        .get("/panic", || -> &'static str { panic!("as the benchmark asks") });
    (0..COLD_ROUTES)
        .fold(router, |router, number| router.get(&format!("/cold/{number}"), || "cold"))
}

fn pieces() -> impl Iterator<Item = Vec<u8>> + Send + 'static {
    LARGE.chunks(PIECE_LEN).map(<[u8]>::to_vec)
}

/// A file without a name, since a service that is killed removes nothing. Each reply opens it anew.
fn file() -> io::Result<Response> {
    static FILE: LazyLock<File> = LazyLock::new(|| {
        let name = format!("threadline-bench-large-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, &*LARGE).expect("the file can be written");
        let file = File::open(&path).expect("it was written");
        fs::remove_file(&path).expect("it is ours");
        file
    });
    Ok(Response::bytes(Body::file(File::open(format!("/proc/self/fd/{}", FILE.as_raw_fd()))?)?))
}

/// The bytes are random, so that what is compressed is 10 MB as well; the media type says text, so that
/// they are compressed at all.
fn compressible() -> Response {
    Response::bytes(&LARGE[..]).with_content_type("text/plain")
}

fn gzip() -> Compression {
    Compression::new().codings([Coding::Gzip])
}

/// A password check as OWASP recommends it: Argon2id, 19 MiB, two passes.
fn hash() -> String {
    let params = Params::new(19 * 1024, 2, 1, None).expect("valid parameters");
    let mut output = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(workload::PASSWORD, workload::SALT, &mut output)
        .expect("valid lengths");
    output.iter().map(|byte| format!("{byte:02x}")).collect()
}
