//! Stream handlers.

use std::io::{self, BufRead, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::common::{ANY, Client, address, eventually, every_model, server, start};
use threadline::{Connection, StreamOptions};

fn echo(mut connection: Connection) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        let count = connection.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        connection.write_all(&buffer[..count])?;
    }
}

every_model! {
    fn bytes_come_back(model) {
        let service = start(server(model).stream(ANY, echo));
        let mut client = Client::to(&service);
        for size in [1, 10, 1000, 100_000] {
            let bytes: Vec<u8> = (0..size).map(|n| n as u8).collect();
            client.send(&bytes);
            assert_eq!(client.exactly(size), bytes);
        }
        client.stream().shutdown(Shutdown::Write).expect("half-closes");
        client.assert_closed();
        eventually("the connection is gone", || service.gauges().connections == 0);
    }

    fn lines_can_be_read_and_reads_mixed(model) {
        let handler = |mut connection: Connection| {
            let mut line = String::new();
            connection.read_line(&mut line)?;
            let mut rest = [0; 5];
            connection.read_exact(&mut rest)?;
            write!(connection, "{}+{}", line.trim(), String::from_utf8_lossy(&rest))
        };
        let service = start(server(model).stream(ANY, handler));
        let mut client = Client::to(&service);
        client.send("first\nworldand more");
        assert_eq!(client.rest(), b"first+world");
    }

    fn another_thread_can_write(model) {
        let handler = |mut connection: Connection| {
            let mut writer = connection.try_clone()?;
            let ticks = std::thread::spawn(move || -> io::Result<()> {
                for tick in 0..100 {
                    writeln!(writer, "tick {tick}")?;
                }
                Ok(())
            });
            let mut all = String::new();
            connection.read_to_string(&mut all)?;
            ticks.join().map_err(|_| io::Error::other("panicked"))??;
            write!(connection, "{}", all.len())
        };
        let service = start(server(model).stream(ANY, handler));
        let mut client = Client::to(&service);
        client.send("12345");
        client.stream().shutdown(Shutdown::Write).expect("half-closes");
        for tick in 0..100 {
            assert_eq!(client.line(), Some(format!("tick {tick}")));
        }
        assert_eq!(client.rest(), b"5");
    }

    fn a_read_can_time_out(model) {
        let handler = |mut connection: Connection| {
            connection.set_read_timeout(Some(Duration::from_millis(20)))?;
            let mut buffer = [0; 10];
            let first = connection.read(&mut buffer)?;
            match connection.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    write!(connection, "{first} then {error}")
                }
                other => write!(connection, "{other:?}"),
            }
        };
        let service = start(server(model).stream(ANY, handler));
        let mut client = Client::to(&service);
        client.send("abc");
        let said = String::from_utf8(client.rest()).expect("text");
        assert!(said.starts_with("3 then timed out"), "{said}");
        assert_eq!(service.counts().timeouts_stream, 1);
    }

    fn the_server_may_speak_first(model) {
        let options = StreamOptions::new().start_at_accept();
        let greet = |mut connection: Connection| {
            writeln!(connection, "220 ready")?;
            echo(connection)
        };
        let service = start(server(model).stream_with(ANY, options, greet));
        let mut client = Client::to(&service);
        assert_eq!(client.line().as_deref(), Some("220 ready"));
        assert_eq!(client.ask("x"), "x");
    }

    fn addresses_are_told(model) {
        let handler = |mut connection: Connection| {
            let (peer, local) = (connection.peer_addr(), connection.local_addr());
            write!(connection, "{peer:?} {local:?}")
        };
        let service = start(server(model).stream(ANY, handler));
        let mut client = Client::to(&service);
        client.send("x");
        let peer = client.stream().local_addr().expect("address");
        let expected = format!("{:?} {:?}", Some(peer), Some(address(&service)));
        assert_eq!(client.rest(), expected.as_bytes());
    }

    fn a_handlers_panic_closes_its_connection_and_no_other(model) {
        let handler = |mut connection: Connection| {
            let mut byte = [0];
            connection.read_exact(&mut byte)?;
            assert_ne!(byte[0], b'!', "as asked");
            connection.write_all(&byte)
        };
        let service = start(server(model).stream(ANY, handler));
        let mut bad = Client::to(&service);
        bad.send("!");
        bad.assert_closed();
        let mut good = Client::to(&service);
        good.send("g");
        assert_eq!(good.rest(), b"g");
        eventually("both are gone", || service.gauges().connections == 0);
    }
}

#[test]
fn a_silent_stream_connection_holds_no_thread() {
    let service = start(server(threadline::Model::Adaptive).stream(ANY, echo));
    let clients: Vec<_> = (0..300).map(|_| Client::to(&service)).collect();
    eventually("all are accepted", || service.gauges().connections == 300);
    // One is always there.
    assert_eq!((service.gauges().pool_threads, service.counts().calls_pooled), (1, 0));
    drop(clients);
    eventually("all are gone", || service.gauges().connections == 0);
    let threads_and_calls = (service.gauges().pool_threads, service.counts().calls_pooled);
    assert_eq!(threads_and_calls, (1, 0), "a close is not a first byte");
}
