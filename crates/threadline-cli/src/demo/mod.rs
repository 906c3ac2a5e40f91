//! The demonstration: three services in one program, one of them slow on purpose.
//!
//! - echo: a stream handler
//! - `chat`: a line handler that pushes to all members
//! - `web`: HTTP, with a fast route, a slow one and a status page

mod chat;
mod web;

use threadline::Server;

use crate::arguments::Demo;
use crate::echo;

pub(crate) fn run(arguments: &Demo) -> threadline::Result<()> {
    let server = Server::new();
    let router = web::router(server.monitor(), arguments.how.model());
    let router = arguments.access_log.around(router)?;
    let server = server
        .http(arguments.http.clone(), router)
        .stream(arguments.echo.clone(), echo::stream)
        .lines(arguments.chat.clone(), chat::room());
    arguments.how.apply(server).run()
}
