//! What the rules cost: time to make and load them in a large cluster, and traffic through them against none, in the same
//! run and by turns, so that whatever else the machine does weighs on both alike.

use super::kube_proxy::{self, Mode};
use super::nodes::{self, Kind};
use super::space::Space;
use super::topology::{Host, Place, World};
use anyhow::{Context, Result, anyhow, ensure};
use installer::firewall::Model;
use installer::render::firewall::file;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Nodes of the cluster.
pub const NODES: u16 = 300;
/// Turns of each measurement, each once with and once without rules; the median counts.
const TURNS: usize = 15;
/// How long half a turn lasts.
const HALF: Duration = Duration::from_millis(200);
/// What the kernel does after a change of its tables is over.
const SETTLE: Duration = Duration::from_millis(30);
/// Times that rules are made and loaded; the median counts.
const LOADS: usize = 21;
/// A port that the rules open to the other masters.
const PORT: u16 = 6443;
/// Bytes written at once.
const CHUNK: usize = 64 << 10;

/// One figure in both ways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Through the rules, in a second.
    pub with_rules: f64,
    /// Of what there is without any, for the same time of the processor: 1 when they cost nothing. Median of the turns,
    /// each compared with itself. By the clock it would tell what else this machine does.
    pub ratio: f64,
}

/// What came through in half a turn.
#[derive(Clone, Copy, Debug)]
struct Rate {
    by_second: f64,
    by_cpu_second: f64,
}

/// Seconds that processors have worked for this process, both ends of the traffic included.
fn cpu_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("reading the time of the processor")?;
    let seconds = |time: TimeVal| time.num_microseconds() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// To make the rules of a master from its config, in this build of the code.
    pub render_millis: f64,
    /// To replace the table in the kernel, nft's own start included.
    pub load_millis: f64,
    /// Bytes in a second of one connection.
    pub throughput: Pair,
    /// Connections opened in a second, one after another.
    pub connections: Pair,
    /// The same where kube-proxy's tables are there in both cases, as on a real node.
    pub connections_beside_kube_proxy: Pair,
}

/// Measures on a master of a cluster of [`NODES`] nodes; takes some 20 seconds.
///
/// # Errors
/// Not root; the namespaces cannot be made or used.
pub fn measure() -> Result<Speed> {
    let kind = Kind::Master;
    let node = nodes::node_among(kind, NODES)?;
    let render_millis = median_millis(|| file(&Model::of(&node)?).map(drop).context("making the rules"))?;
    let rules = nodes::rules_of(&node, kind)?;
    let world = World::build(kind).context("building the world")?;
    let load_millis = median_millis(|| world.own().nft(&rules).context("loading the rules"))?;
    let path = Path { world: &world, rules, to: SocketAddr::new(Place::Cluster.address(kind, false), PORT) };
    let throughput = path.both(&transfer)?;
    let connections = path.both(&connect)?;
    kube_proxy::load(world.own(), kind, Mode::Iptables)?;
    let connections_beside_kube_proxy = path.both(&connect)?;
    Ok(Speed { render_millis, load_millis, throughput, connections, connections_beside_kube_proxy })
}

fn median_millis(work: impl Fn() -> Result<()>) -> Result<f64> {
    let once = |_| {
        let begin = Instant::now();
        work().map(|()| begin.elapsed().as_secs_f64() * 1e3)
    };
    Ok(median((0..LOADS).map(once).collect::<Result<_>>()?))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// From another master to the node.
struct Path<'a> {
    world: &'a World,
    rules: String,
    to: SocketAddr,
}

/// What a client does against a server for half a turn; gives an amount.
type Client = dyn Fn(SocketAddr) -> Result<f64> + Sync;

impl Path<'_> {
    /// By turns, so that a slow moment hits both.
    fn both(&self, client: &Client) -> Result<Pair> {
        let node = self.world.own();
        let half = |has_rules: bool| {
            // The same work before both halves.
            node.nft(&self.rules)?;
            if !has_rules {
                node.nft("delete table inet metalstrap\n")?;
            }
            node.forget()?;
            std::thread::sleep(SETTLE);
            let rate = self.half(client)?;
            ensure!(rate.by_second > 0.0 && rate.by_cpu_second.is_finite(), "nothing came through");
            anyhow::Ok(rate)
        };
        let (mut with_rules, mut ratios) = (Vec::new(), Vec::new());
        for turn in 0..TURNS {
            // Neither is always the second.
            let first = half(turn % 2 == 0)?;
            let second = half(turn % 2 == 1)?;
            let (with, without) = if turn % 2 == 0 { (first, second) } else { (second, first) };
            with_rules.push(with.by_second);
            ratios.push(with.by_cpu_second / without.by_cpu_second);
        }
        Ok(Pair { with_rules: median(with_rules), ratio: median(ratios) })
    }

    /// Half a turn: a server on the node, a client on another master.
    fn half(&self, client: &Client) -> Result<Rate> {
        let node: &Space = self.world.own();
        let listener = node.enter(|| TcpListener::bind(self.to).context("listening"))?;
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let server = scope.spawn(|| serve(&listener, &done));
            let (begin, cpu_begin) = (Instant::now(), cpu_seconds()?);
            let amount = self.world.spaces[&Host::Master].enter(|| client(self.to));
            let (seconds, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds()? - cpu_begin);
            done.store(true, Ordering::Relaxed);
            // Wakes the server, which waits for the next one.
            let woken = self.world.spaces[&Host::Master].enter(|| {
                TcpStream::connect_timeout(&self.to, Duration::from_secs(10)).map(drop).context("ending")
            });
            server.join().map_err(|_| anyhow!("the server ended by a panic"))??;
            woken?;
            let amount = amount?;
            Ok(Rate { by_second: amount / seconds, by_cpu_second: amount / cpu })
        })
    }
}

/// Reads whatever comes, one connection after another.
fn serve(listener: &TcpListener, done: &AtomicBool) -> Result<()> {
    let mut bytes = vec![0; CHUNK];
    while !done.load(Ordering::Relaxed) {
        let (mut stream, _) = listener.accept().context("accepting")?;
        while stream.read(&mut bytes).is_ok_and(|length| length > 0) {}
    }
    Ok(())
}

fn transfer(to: SocketAddr) -> Result<f64> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(10)).context("connecting")?;
    let bytes = vec![0; CHUNK];
    let (begin, mut sent) = (Instant::now(), 0.0);
    while begin.elapsed() < HALF {
        stream.write_all(&bytes).context("sending")?;
        sent += CHUNK as f64;
    }
    Ok(sent)
}

fn connect(to: SocketAddr) -> Result<f64> {
    let (begin, mut count) = (Instant::now(), 0.0);
    while begin.elapsed() < HALF {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(10)).context("connecting")?;
        // Ends by a reset: no port waits for a minute.
        setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })
            .context("letting a connection end at once")?;
        drop(stream);
        count += 1.0;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(vec![]).is_nan());
    }
}
