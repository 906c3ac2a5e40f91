//! Takes files: from an HTML form, and as the body of a PUT.
//!
//! Run:  cargo run --release -p threadline --features multipart --example upload
//! Try:  open http://127.0.0.1:8080/ in a browser, or
//!       curl -F title=holiday -F file=@Cargo.toml http://127.0.0.1:8080/upload
//!       curl -T Cargo.lock http://127.0.0.1:8080/put/lock
//!
//! A body is received before its handler is called, without a thread; one of more than 1 MB is in a file
//! without a name by then, and no handler takes it into memory. The name that a client gives a file
//! is never used as a path: `safe_file_name` is its last part, or nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use threadline::Server;
use threadline::http::files::Files;
use threadline::http::multipart::{Multipart, MultipartError};
use threadline::http::{
    Html, IntoResponse, Path, Request, Response, Router, State, Status, post, put,
};

/// Where uploads are kept.
type Directory = State<Arc<FilePath>>;

/// The longest upload in bytes.
const LEN_MAX: u64 = 1024 * 1024 * 1024;

const FORM: &str = "<!doctype html><title>Upload</title>
<form action=/upload method=post enctype=multipart/form-data>
  <input name=title placeholder=Title> <input name=file type=file multiple> <button>Upload</button>
</form>
<p><a href=/files/>What is there</a>";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join("threadline-uploads");
    println!("uploads are kept in {}", directory.display());
    Server::new().http("127.0.0.1:8080", router(directory)?).run()?;
    Ok(())
}

fn router(directory: PathBuf) -> io::Result<Router> {
    fs::create_dir_all(&directory)?;
    let files = Files::dir(&directory)?.listing();
    Ok(Router::new()
        .get("/", || Html(FORM))
        .route("/upload", post(upload).body_len_max(LEN_MAX))
        .route("/put/{name}", put(store).body_len_max(LEN_MAX))
        .files("/files", files)
        .state::<Arc<FilePath>>(directory.into()))
}

/// The parts of the form, one after the other.
fn upload(State(directory): Directory, mut form: Multipart<'_>) -> Result<String, Refused> {
    let mut report = String::new();
    while let Some(part) = form.next_part()? {
        match part.safe_file_name().map(str::to_owned) {
            Some(name) => {
                let spooled = part.spool_in(&directory)?;
                report += &format!("{name}: {} bytes\n", spooled.len());
                spooled.save_to(directory.join(name))?;
            }
            None => report += &format!("{}: {}\n", part.name().to_owned(), part.text()?),
        }
    }
    Ok(report)
}

/// The body goes to the file piece by piece; under its name only when it is whole.
fn store(
    State(directory): Directory,
    Path(name): Path<String>,
    request: &Request<'_>,
) -> Result<(Status, String), Refused> {
    if name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        return Ok((Status::BAD_REQUEST, "not a name for a file\n".to_owned()));
    }
    let partial = directory.join(format!(".{name}.part"));
    let written =
        File::create(&partial).and_then(|mut file| io::copy(&mut request.reader(), &mut file));
    let length = written.inspect_err(|_| drop(fs::remove_file(&partial)))?;
    fs::rename(&partial, directory.join(&name))?;
    Ok((Status::CREATED, format!("{name}: {length} bytes\n")))
}

/// Both kinds of error are responses already.
enum Refused {
    Form(MultipartError),
    Io(io::Error),
}

impl From<MultipartError> for Refused {
    fn from(error: MultipartError) -> Self {
        Refused::Form(error)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused::Io(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Refused::Form(error) => error.into_response(),
            Refused::Io(error) => error.into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use threadline::TestServer;

    #[test]
    fn files_come_by_form_and_by_put() {
        let directory = tempfile::tempdir().expect("a directory");
        let router = router(directory.path().to_owned()).expect("a router");
        let server = TestServer::start(router).expect("a server");
        let form = "--x\r\ncontent-disposition: form-data; name=title\r\n\r\nholiday\r\n--x\r\n\
            content-disposition: form-data; name=file; filename=\"../a.txt\"\r\n\r\nhello\r\n--x--\r\n";
        let post = server.post("/upload").header("content-type", "multipart/form-data; boundary=x");
        assert_eq!(post.body(form).send().text(), "title: holiday\na.txt: 5 bytes\n");
        assert_eq!(server.get("/files/a.txt").send().text(), "hello");

        // Longer than other routes take.
        let large = "0123456789".repeat(500_000);
        let put = server.put("/put/large").body(large.clone()).send();
        assert_eq!((put.status(), put.text()), (Status::CREATED, "large: 5000000 bytes\n"));
        assert!(server.get("/files/large").send().text() == large);
        let bad = server.put("/put/..%2fb").body("x").send();
        assert_eq!(bad.status(), Status::BAD_REQUEST);
    }
}
