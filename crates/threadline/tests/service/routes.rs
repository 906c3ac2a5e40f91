//! The routes of a service, as those who watch it see them.

use crate::common::{ANY, Client, eventually, every_model, server, start};
use threadline::http::Router;
use threadline::{Connection, Lines, Model};

every_model! {
    fn a_service_lists_its_routes_with_their_figures(model) {
        let fails = || -> &'static str { panic!("as the test wants") };
        let service = start(
            server(model)
                .http(ANY, Router::new().get("/fine", || "fine").get("/fails", fails))
                .lines(ANY, Lines::new(|_, _| None).name("chat"))
                .stream(ANY, |_: Connection| Ok(()))
                .datagrams(ANY, |_, _| None),
        );
        let monitor = service.addresses().to_vec();
        let mut client = Client::to(&service);
        assert_eq!(client.get("/fine").body, "fine");
        assert_eq!(client.get("/fails").status, 500);
        let routes = service.routes();
        let names: Vec<_> = routes.iter().map(|route| route.name()).collect();
        let (stream, datagrams) = (format!("stream {}", monitor[2]), format!("datagrams {}", monitor[3]));
        assert_eq!(names, ["GET /fine", "GET /fails", "chat", &stream, &datagrams]);
        let panics: Vec<_> = routes.iter().map(|route| route.panics()).collect();
        assert_eq!(panics, [0, 1, 0, 0, 0]);
        if model == Model::Adaptive {
            eventually("fast calls prove a route", || {
                client = Client::to(&service);
                assert_eq!(client.get("/fine").body, "fine");
                service.routes()[0].is_proven()
            });
        }
    }
}
