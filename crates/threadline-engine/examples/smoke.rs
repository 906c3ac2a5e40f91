//! temp
use std::sync::Arc; use std::io::{Read,Write};
use threadline_engine::*;
fn main(){
 let model: Model = std::env::args().nth(1).unwrap_or("adaptive".into()).parse().unwrap();
 let mut s=Settings::default(); s.model=model; s.shards=1;
 let l=|p:u16| Listener::bind(&format!("127.0.0.1:{p}").parse().unwrap(), s.shards, 1024).unwrap();
 let echo=Lines::new(|l,_|{ if l=="sleep"{std::thread::sleep(std::time::Duration::from_millis(50))} if l=="panic"{panic!("asked")} Some(l.to_owned())});
 let u=Listener::bind_datagrams(&"127.0.0.1:7003".parse().unwrap(), s.shards).unwrap();
 let e=Engine::start(s.clone(), Services::new().messages(l(7001),Arc::new(echo)).stream(l(7002),StreamOptions::new(),|mut c|{let mut b=[0;1024];loop{let n=c.read(&mut b)?;if n==0{return Ok(())}c.write_all(&b[..n])?;}}).datagrams(u,|d,_|Some(d.to_vec()))).unwrap();
 let mut line=String::new(); while std::io::stdin().read_line(&mut line).unwrap()>0 { println!("{:?}\n{:?}", e.counts(), e.gauges()); line.clear(); }
 println!("{:?}", e.drain(std::time::Duration::from_secs(2)));
}
