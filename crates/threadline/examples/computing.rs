//! One computation split over all cores by rayon, beside handlers that stay fast.
//!
//! Run:  cargo run --release -p threadline --example computing
//! Try:  curl http://127.0.0.1:8080/primes/5000000    uses every core
//!       curl http://127.0.0.1:8080/hello             answers meanwhile
//!
//! rayon has threads of its own, one for each core, made for splitting a computation; the pool's threads are
//! made for code that waits. The handler says by `blocking` that it will wait for rayon: its loop goes on with
//! other clients at once, not when the monitor notices.

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use threadline::Server;
use threadline::http::{Path, Router, Status};
use threadline::pool::blocking;

fn main() -> threadline::Result<()> {
    Server::new().http("127.0.0.1:8080", router()).run()
}

fn router() -> Router {
    Router::new().get("/primes/{below}", primes).get("/hello", || "hello\n")
}

/// About half a second of one core.
const BELOW_MAX: u32 = 10_000_000;

fn primes(Path(below): Path<u32>) -> Result<String, (Status, &'static str)> {
    if below > BELOW_MAX {
        return Err((Status::BAD_REQUEST, "expected a number up to 10000000\n"));
    }
    let count = blocking(|| (0..below).into_par_iter().filter(|number| is_prime(*number)).count());
    Ok(format!("{count} primes below {below}\n"))
}

fn is_prime(number: u32) -> bool {
    let divisors = || (3..).step_by(2).take_while(|divisor| divisor * divisor <= number);
    number == 2
        || number > 2
            && !number.is_multiple_of(2)
            && divisors().all(|by| !number.is_multiple_of(by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use threadline::TestServer;

    #[test]
    fn primes_are_counted_and_too_many_are_refused() {
        let server = TestServer::start(router()).expect("a server");
        let counted = |below: &str| server.get(&format!("/primes/{below}")).send();
        assert_eq!(counted("10").text(), "4 primes below 10\n");
        assert_eq!(counted("100000").text(), "9592 primes below 100000\n");
        assert_eq!(counted("10000001").status(), Status::BAD_REQUEST);
        assert_eq!(server.get("/hello").send().text(), "hello\n");
    }
}
