//! Length-prefixed frames.

use crate::common::{ANY, Client, every_model, server, start};
use threadline::Frames;

fn frame(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_be_bytes(), content].concat()
}

every_model! {
    fn frames_are_answered_however_they_are_cut(model) {
        let echo = Frames::new(|frame, _| Some(frame.to_vec()));
        let service = start(server(model).frames(ANY, echo));
        let mut client = Client::to(&service);
        let message = [frame(b""), frame(b"a"), frame(&[7; 1000])].concat();
        for chunk in [1, 3, 5, 500, message.len()] {
            for bytes in message.chunks(chunk) {
                client.send(bytes);
            }
            assert_eq!(client.exactly(message.len()), message, "in pieces of {chunk}");
        }
    }

    fn a_frame_that_is_too_long_is_an_empty_frame_and_a_close(model) {
        let echo = Frames::new(|frame, _| Some(frame.to_vec())).length_max(10);
        let service = start(server(model).frames(ANY, echo));
        let mut client = Client::to(&service);
        client.send(frame(&[1; 10]));
        assert_eq!(client.exactly(14), frame(&[1; 10]));
        // The length alone decides: nothing is kept for 4 GB that may never come.
        client.send(u32::MAX.to_be_bytes());
        assert_eq!(client.rest(), frame(b""));
        assert_eq!(service.counts().too_long_messages, 1);
    }

    fn a_frame_that_is_cut_off_is_an_empty_frame_and_a_close(model) {
        let echo = Frames::new(|frame, _| Some(frame.to_vec()));
        let service = start(server(model).frames(ANY, echo));
        for (number, cut_off) in [&b"\0"[..], b"\0\0\0\x02", b"\0\0\0\x02a"].into_iter().enumerate() {
            let mut client = Client::to(&service);
            client.send([&frame(b"whole")[..], cut_off].concat());
            client.stream().shutdown(std::net::Shutdown::Write).expect("half-closes");
            assert_eq!(client.rest(), [frame(b"whole"), frame(b"")].concat());
            assert_eq!(service.counts().malformed, number as u64 + 1);
        }
        let mut client = Client::to(&service);
        client.send(frame(b"whole"));
        client.stream().shutdown(std::net::Shutdown::Write).expect("half-closes");
        assert_eq!(client.rest(), frame(b"whole"), "and nothing more");
    }

    fn a_large_frame_arrives_whole(model) {
        let sum = Frames::new(|frame, _| {
            let sum: u64 = frame.iter().map(|byte| u64::from(*byte)).sum();
            Some(sum.to_be_bytes().to_vec())
        });
        let service = start(server(model).frames(ANY, sum.length_max(8 << 20)));
        let mut client = Client::to(&service);
        client.send(frame(&vec![3; 8 << 20]));
        assert_eq!(client.exactly(12), frame(&(3u64 * (8 << 20)).to_be_bytes()));
    }
}
