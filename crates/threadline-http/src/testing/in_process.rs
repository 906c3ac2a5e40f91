//! The engine's part of a conversation, played in the calling thread.
//!
//! Everything runs here and may wait here, as under `ThreadPerConnection`. The client has sent all it
//! will send: a read of more finds the end.

use std::any::Any;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use threadline_engine::log::within;
use threadline_engine::protocol::{Offence, Receive, Step, Waiting};
use threadline_engine::{
    Bytes, CallError, Fill, NotAwaited, Route, SendError, SlowReceiver, Source, SourceError,
    WhenDrained,
};

use super::Transport;
use crate::body::{Push, ReadSource};
use crate::deferred::{self, Awaited, Late};
use crate::exchange::{Exchange, Line};
use crate::response::{Response, UpgradeHandler};
use crate::service::HttpService;

/// A service without an engine.
#[derive(Debug)]
pub(super) struct InProcess {
    service: HttpService,
}

impl InProcess {
    pub(super) fn new(service: HttpService) -> Self {
        InProcess { service }
    }
}

impl Transport for InProcess {
    fn exchange(&self, request: &[u8]) -> Vec<u8> {
        let mut turn = InProcessTurn::default();
        let mut input = request.to_vec();
        while !input.is_empty() {
            let step = self.service.answer(&input, &mut turn);
            let step = self.wait(&mut turn).unwrap_or(step);
            let unsent = mem::take(&mut turn.out);
            turn.line.push(&unsent);
            match step {
                Step::Next { consumed } => drop(input.drain(..consumed)),
                Step::Streamed { rest } => input = rest,
                Step::Partial { .. } | Step::Receive { .. } => {
                    self.service.answer_end(&input, &mut turn);
                    turn.line.push(&turn.out);
                    break;
                }
                _ => break,
            }
        }
        turn.line.taken()
    }
}

impl InProcess {
    /// Sends the reply of a call that was deferred, once it is there. `None` if it closes nothing.
    fn wait(&self, turn: &mut InProcessTurn) -> Option<Step> {
        let mut step = None;
        // A reply may be deferred once more.
        while let Some((late, receiver)) = turn.line.take_deferred() {
            step = Some(self.reply(late, &receiver, turn));
        }
        step.filter(|step| !matches!(step, Step::Next { .. }))
    }

    fn reply(&self, late: Late, receiver: &Receiver<Response>, turn: &mut InProcessTurn) -> Step {
        let limit = self.service.settings().timeouts.deferred.unwrap_or(Duration::MAX);
        let response = match receiver.recv_timeout(limit) {
            Ok(response) => response,
            Err(RecvTimeoutError::Disconnected) => deferred::never(),
            Err(RecvTimeoutError::Timeout) => deferred::too_late(),
        };
        let route = Arc::clone(&late.route);
        self.service.reply(&route, || Some((late, response)), turn)
    }
}

#[derive(Default)]
struct InProcessTurn {
    out: Vec<u8>,
    line: InProcessLine,
    memo: Option<Box<dyn Any + Send>>,
}

/// A call that was deferred, and where its reply comes.
type Pending = (Late, Receiver<Response>);

#[derive(Default, Clone)]
struct InProcessLine {
    /// What the service has said, shared with those who push.
    said: Arc<Mutex<Vec<u8>>>,
    deferred: Arc<Mutex<Option<Pending>>>,
}

impl InProcessLine {
    fn push(&self, bytes: &[u8]) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    }

    fn take_deferred(&self) -> Option<Pending> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn taken(&self) -> Vec<u8> {
        mem::take(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Exchange for InProcessTurn {
    type Line = InProcessLine;

    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn flush(&mut self) {
        self.line.push(&self.out);
        self.out.clear();
    }

    fn call<R>(
        &mut self,
        route: &Arc<Route>,
        code: impl FnOnce(&mut InProcessLine, &mut Vec<u8>) -> R,
    ) -> Result<R, CallError> {
        route
            .contain(|| within(route, || code(&mut self.line, &mut self.out)))
            .map_err(|_panic| CallError::Panicked)
    }

    fn took(&self) -> Option<Duration> {
        None
    }

    fn waiting(&self) -> Waiting {
        Waiting::Here
    }

    fn count(&self, _offence: Offence) {}

    fn draining(&self) -> bool {
        false
    }

    fn seen(&self) -> usize {
        0
    }

    fn memo(&mut self) -> &mut Option<Box<dyn Any + Send>> {
        &mut self.memo
    }

    fn receive(&mut self, _receive: Receive) {}

    fn peer_addr(&self) -> Option<SocketAddr> {
        Some((Ipv4Addr::LOCALHOST, 1).into())
    }
}

impl Line for InProcessLine {
    fn receive(&mut self, _buffer: &mut [u8], _limit: Option<Duration>) -> io::Result<usize> {
        Ok(0)
    }

    fn send(&mut self, bytes: &[u8], _limit: Option<Duration>) -> io::Result<()> {
        self.push(bytes);
        Ok(())
    }

    fn send_file(&mut self, head: &[u8], mut file: File, range: Range<u64>) -> io::Result<()> {
        let mut bytes = head.to_vec();
        file.seek(SeekFrom::Start(range.start))?;
        file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
        self.push(&bytes);
        Ok(())
    }

    fn send_bytes(&mut self, head: &[u8], bytes: Bytes) -> io::Result<()> {
        self.push(head);
        self.push(&bytes);
        Ok(())
    }

    fn send_source(&mut self, head: &[u8], mut source: ReadSource) -> Result<(), SourceError> {
        self.push(head);
        let (mut piece, mut fill) = (Vec::new(), Fill::More);
        while fill == Fill::More {
            piece.clear();
            fill = source.fill(&mut piece).map_err(SourceError::Source)?;
            self.push(&piece);
        }
        Ok(())
    }

    fn begin_until_close(&mut self) {}

    fn sender(&mut self) -> Box<dyn Push> {
        Box::new(self.clone())
    }

    /// Does nothing: the test sees the response, and there is no connection after it.
    fn upgrade(&mut self, _handler: Box<UpgradeHandler>) {}

    fn defer(&mut self, late: Late) -> Box<dyn Awaited> {
        let (sender, receiver) = mpsc::sync_channel(1);
        *self.deferred.lock().unwrap_or_else(PoisonError::into_inner) = Some((late, receiver));
        Box::new(Waiter(sender))
    }
}

/// The other end of a call that was deferred.
struct Waiter(SyncSender<Response>);

impl Awaited for Waiter {
    fn answer(self: Box<Self>, response: Response) -> Result<(), NotAwaited<Response>> {
        self.0.send(response).map_err(|error| NotAwaited(error.0))
    }

    fn is_closed(&self) -> bool {
        false
    }
}

impl Push for InProcessLine {
    fn send(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.push(bytes);
        Ok(())
    }

    fn limit(&self, _bytes_max: usize, _then: SlowReceiver) {}

    fn is_closed(&self) -> bool {
        false
    }

    fn is_draining(&self) -> bool {
        false
    }

    fn when_drained(&self, _then: WhenDrained) {}

    fn finish(&self, end: &[u8]) -> Result<(), SendError> {
        self.push(end);
        Ok(())
    }

    fn abort(&self) {}
}
