//! Connections that linger when their stream handler has ended, or when they were turned away.

use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc;

use threadline_engine::{Address, Connection, Endpoint, Lines, StreamOptions};

use crate::common::{Fixture, SECOND, every_model, messages, settings, start};

/// Reads one byte, answers, and returns.
fn hasty(mut connection: Connection) -> io::Result<()> {
    connection.read_exact(&mut [0])?;
    connection.write_all(b"bye")
}

fn streams(
    settings: threadline_engine::Settings,
    handler: impl Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
) -> Fixture {
    start(settings, |address: Address| Endpoint::stream(address, StreamOptions::new(), handler))
}

every_model! {
    fn input_that_a_stream_handler_has_not_read_is_thrown_away(model) {
        let fixture = streams(settings(model), hasty);
        let peer = fixture.connect();
        peer.send("more than is read");
        peer.expect("bye");
        peer.expect_end();
        for _ in 0..10 {
            peer.send("and more");
            fixture.engine.settle();
            assert_eq!((peer.unread_len(), peer.is_closed()), (0, false));
        }
        assert_eq!(fixture.connections(), 1);
        peer.close_write();
        peer.expect_closed();
        fixture.engine.settle();
        let counts = fixture.counts();
        assert_eq!((counts.closed, counts.lingered_too_long), (1, 0));
        assert_eq!(fixture.connections(), 0);
    }

    fn a_peer_that_has_closed_first_is_not_waited_for(model) {
        let fixture = streams(settings(model), |mut connection: Connection| {
            connection.read_to_end(&mut Vec::new())?;
            connection.write_all(b"bye")
        });
        let peer = fixture.connect();
        peer.send("all of it");
        peer.close_write();
        peer.expect("bye");
        peer.expect_closed();
    }

    fn a_peer_that_stays_is_closed_in_time(model) {
        let fixture = streams(settings(model), hasty);
        let limit = settings(model).linger;
        let peer = fixture.connect();
        peer.send("x");
        peer.expect("bye");
        peer.expect_end();
        fixture.engine.settle();
        fixture.pass_nearly(limit);
        assert!(!peer.is_closed());
        fixture.pass_over(limit);
        peer.expect_closed();
        fixture.engine.settle();
        assert_eq!((fixture.counts().lingered_too_long, fixture.connections()), (1, 0));
    }

    fn a_peer_that_goes_on_sending_is_closed(model) {
        let fixture = streams(settings(model), hasty);
        let peer = fixture.connect();
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..6 {
            peer.send(&piece);
        }
        peer.expect("bye");
        peer.expect_closed();
        fixture.engine.settle();
        assert_eq!(fixture.counts().lingered_too_long, 1);
    }

    fn it_holds_no_thread(model) {
        let mut settings = settings(model);
        settings.pool_threads_max = 1;
        let fixture = streams(settings, hasty);
        let peers: Vec<_> = (0..20).map(|_| fixture.connect()).collect();
        for peer in &peers {
            peer.send("xx");
            peer.expect("bye");
            peer.expect_end();
        }
        fixture.engine.settle();
        assert_eq!(fixture.engine.gauges().pool_busy, 0);
        assert!(peers.iter().all(|peer| !peer.is_closed()));
    }

    fn a_connection_lingers_whoever_drops_it(model) {
        let (give, connections) = mpsc::channel();
        let give = Mutex::new(give);
        let fixture = streams(settings(model), move |mut connection: Connection| {
            connection.read_exact(&mut [0])?;
            give.lock().expect("no panic").send(connection).expect("the test listens");
            Ok(())
        });
        let peer = fixture.connect();
        peer.send("more than is read");
        let mut connection = connections.recv_timeout(SECOND * 10).expect("a connection");
        fixture.engine.settle();
        assert!(!peer.has_ended());
        connection.write_all(b"late").expect("open");
        drop(connection);
        peer.expect("late");
        peer.expect_end();
        fixture.engine.settle();
        assert_eq!((peer.unread_len(), peer.is_closed()), (0, false));
        peer.close();
        peer.expect_closed();
    }

    fn a_panic_resets_the_connection(model) {
        let fixture = streams(settings(model), |mut connection: Connection| {
            connection.read_exact(&mut [0])?;
            connection.write_all(b"the first half of ")?;
            panic!("as the test wants");
        });
        let peer = fixture.connect();
        peer.send("x");
        peer.expect_closed();
        assert!(peer.was_reset());
    }

    fn a_handler_that_shuts_its_connection_down_has_it_closed_at_once(model) {
        let fixture = streams(settings(model), |mut connection: Connection| {
            connection.read_exact(&mut [0])?;
            connection.shutdown(std::net::Shutdown::Both)
        });
        let peer = fixture.connect();
        peer.send("xy");
        peer.expect_closed();
    }

    fn an_upgraded_connection_lingers(model) {
        let fixture = messages(settings(model), Lines::new(|_, session| {
            session.upgrade_to_stream(hasty);
            Some("go on".into())
        }));
        let peer = fixture.connect();
        peer.send("now\nmore than is read");
        peer.expect("go on\nbye");
        peer.expect_end();
        fixture.engine.settle();
        assert_eq!((peer.unread_len(), peer.is_closed()), (0, false));
        peer.close();
        peer.expect_closed();
    }
}
