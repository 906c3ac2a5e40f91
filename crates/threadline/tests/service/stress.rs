//! Random handlers and random clients: every message is answered once, in order, on its connection.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::common::{ANY, Client, eventually, every_model, server, start};
use threadline::Lines;

/// A small generator, so that a run can be repeated: xorshift64 (Marsaglia 2003).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Does as it is told: sleeps, spins, panics, answers much, or just answers.
fn obey(line: &str) -> String {
    let (order, rest) = line.split_once(' ').unwrap_or((line, ""));
    match order {
        "sleep" => std::thread::sleep(Duration::from_millis(3)),
        "spin" => {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(2) {
                std::hint::spin_loop();
            }
        }
        "panic" => panic!("as asked"),
        "much" => return format!("{rest} {}", "x".repeat(300_000)),
        _ => {}
    }
    rest.to_owned()
}

fn order(random: &mut Random) -> &'static str {
    match random.below(100) {
        0..3 => "sleep",
        3..5 => "spin",
        5 => "much",
        _ => "go",
    }
}

/// One client: sends a burst, reads the answers, and again; sometimes leaves in the middle.
fn client(service: std::net::SocketAddr, seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut answered = 0;
    for connection in 0..6 {
        let mut client = Client::connect(service);
        for round in 0..25 {
            let burst = 1 + random.below(8);
            let mut message = String::new();
            for number in 0..burst {
                let order = order(&mut random);
                message += &format!("{order} {seed}.{connection}.{round}.{number}\n");
            }
            if random.below(10) == 0 {
                // In pieces, so that a message is split anywhere.
                let cut = random.below(message.len() as u64) as usize;
                client.send(&message[..cut]);
                std::thread::yield_now();
                client.send(&message[cut..]);
            } else {
                client.send(&message);
            }
            for number in 0..burst {
                let line = client.line().expect("an answer");
                let expected = format!("{seed}.{connection}.{round}.{number}");
                assert_eq!(line.split(' ').next(), Some(expected.as_str()));
                answered += 1;
            }
        }
        match random.below(4) {
            0 => {
                client.send("panic now\n");
                assert_eq!(client.line().as_deref(), Some("error: internal error"));
            }
            // Gone with answers on the way.
            1 => drop(client.stream().try_clone().map(|mut s| s.write_all(b"much x\nsleep y\nz"))),
            _ => {}
        }
    }
    answered
}

every_model! {
    fn every_message_is_answered_once_in_order_on_its_connection(model) {
        let service = start(server(model).lines(ANY, Lines::new(|line, _| Some(obey(line)))));
        let address = crate::common::address(&service);
        let clients: Vec<_> = (1..=24)
            .map(|seed| std::thread::spawn(move || client(address, seed)))
            .collect();
        let answered: u64 = clients.into_iter().map(|c| c.join().expect("a client")).sum();
        assert!(answered >= 24 * 6 * 25);
        eventually("all are gone", || service.gauges().connections == 0);
        let drained = service.drain();
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
    }
}
