//! A file server: a directory by HTTP, with ranges, conditional requests and nothing of what is
//! outside.

use threadline::Server;
use threadline::http::Router;
use threadline::http::files::{Dotfiles, Files, Symlinks};

use crate::arguments::Serve;

pub(crate) fn run(arguments: &Serve) -> threadline::Result<()> {
    let router = Router::new().files("/", files(arguments)?);
    let router = arguments.access_log.around(router)?;
    let server = Server::new().http(arguments.address.clone(), router);
    arguments.how.apply(server).run()
}

fn files(arguments: &Serve) -> threadline::Result<Files> {
    let mut files = Files::dir(&arguments.directory)?;
    if arguments.listing {
        files = files.listing();
    }
    if let Some(age) = arguments.cache {
        files = files.cache(age);
    }
    if arguments.dotfiles {
        files = files.dotfiles(Dotfiles::Served);
    }
    if arguments.follow_symlinks {
        files = files.symlinks(Symlinks::Anywhere);
    }
    if arguments.precompressed {
        files = files.precompressed();
    }
    Ok(files)
}
