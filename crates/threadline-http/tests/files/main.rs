//! Static files as clients see them: through a router, without sockets.
//!
//! | file | |
//! | --- | --- |
//! | `content.rs` | what is sent of a file, and described how |
//! | `conditions.rs` | what is not sent again; ranges |
//! | `directories.rs` | indexes, listings, slashes |
//! | `outside.rs` | what must not be served: paths, links, dotfiles, devices |
//! | `precompressed.rs` | compressed siblings |
//! | `embedded.rs` | files of the program |
//! | `validators.rs` | that another version never looks like the one before |

mod conditions;
mod content;
mod directories;
mod embedded;
mod outside;
mod precompressed;
mod validators;

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use threadline_http::Router;
use threadline_http::files::Files;
use threadline_http::testing::{TestClient, TestResponse};

/// When every file of the tests was last changed.
const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A directory of its own for one test.
struct Tree(TempDir);

impl Tree {
    /// With these files.
    fn of(files: &[(&str, &str)]) -> Tree {
        let tree = Tree(tempfile::tempdir().expect("a directory"));
        for (path, content) in files {
            tree.write(path, content);
        }
        tree
    }

    /// Writes a file of 1994, and its directories.
    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("below the tree")).expect("directories");
        fs::write(&path, content).expect("a file");
        set_age(&path, UNIX_EPOCH + Duration::from_millis(784_111_777_500));
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn files(&self) -> Files {
        Files::dir(self.0.path()).expect("a directory")
    }

    /// A client of all its files, at the root.
    fn client(&self) -> TestClient {
        client(self.files())
    }
}

fn set_age(path: &PathBuf, time: SystemTime) {
    File::options().write(true).open(path).expect("a file").set_modified(time).expect("a date");
}

fn client(files: Files) -> TestClient {
    TestClient::new(Router::new().files("/", files)).expect("a router")
}

fn get(client: &TestClient, path: &str) -> TestResponse {
    client.get(path).send()
}

fn status(client: &TestClient, path: &str) -> u16 {
    get(client, path).status().code()
}
