//! The other reference: accept, spawn, block. Nothing but the standard library.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use threadline_bench_reference::{Options, Replies, Speaks};

fn main() -> io::Result<()> {
    let options = Options::parse();
    let listener = TcpListener::bind(options.address)?;
    rustix::net::listen(&listener, 4096)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || serve(stream, options.speaks))?;
    }
    Ok(())
}

fn serve(mut stream: TcpStream, speaks: Speaks) -> io::Result<()> {
    let (mut input, mut filled) = (vec![0; 8 * 1024], 0);
    let (mut out, mut replies) = (Vec::new(), Replies::default());
    loop {
        let count = stream.read(&mut input[filled..])?;
        if count == 0 {
            return Ok(());
        }
        if speaks == Speaks::Echo {
            stream.write_all(&input[..count])?;
            continue;
        }
        filled += count;
        replies.tick();
        out.clear();
        let used = replies.answer(&input[..filled], &mut out);
        input.copy_within(used..filled, 0);
        filled -= used;
        stream.write_all(&out)?;
    }
}
