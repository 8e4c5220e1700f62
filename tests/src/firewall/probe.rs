//! The prober: thousands of connections at once from inside a namespace, each with an exact verdict.

use super::listen::QUESTION;
use super::space::Space;
use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Further tries of [`probe_again`].
const AGAIN: u32 = 3;
/// Parts of a silence.
const SLICES: u32 = 10;

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// A service answered.
    Open,
    /// The machine answered that there is no service.
    Refused,
    /// Silence.
    Dropped,
    /// Nobody on the way knows the machine: its neighbour was not found, or a router says so.
    Unreachable,
}

impl Verdict {
    /// Nothing of the machine was heard. A busy machine that lost a packet looks like this, too.
    pub fn is_silence(self) -> bool {
        matches!(self, Self::Dropped | Self::Unreachable)
    }
}

/// How a probe knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Knock {
    /// TCP connection.
    Tcp,
    /// UDP datagram that is to come back.
    Udp,
    /// Echo request.
    Ping,
}

/// One knock at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// How.
    pub knock: Knock,
    /// Where; the port of a ping is 0.
    pub to: SocketAddr,
    /// Source address and port (0: any), when the choice of the kernel will not do.
    pub from: Option<SocketAddr>,
}

/// Files this process needs besides the sockets of probes: namespaces and listeners of two worlds.
const OTHER_FILES: u64 = 2000;
/// Most probers at once: two worlds with at most 14 machines each.
const PROBERS: u64 = 28;
/// Least limit of open files with which the proof can be made.
pub const LEAST_FILES: u64 = 4096;

/// How many sockets one prober may have at once, by the limit of open files.
fn sockets_at_once() -> usize {
    static ONCE: OnceLock<usize> = OnceLock::new();
    *ONCE.get_or_init(|| {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(LEAST_FILES, |(soft, _)| soft);
        (limit.saturating_sub(OTHER_FILES) / PROBERS).clamp(32, 4096) as usize
    })
}

/// Sends all probes at once (as many as the limit of open files allows) and gives their verdicts in the same order. Those
/// without an answer are dropped once nothing has answered for `quiet`.
///
/// # Errors
/// A socket cannot be made, or the kernel has no way to an address.
pub fn probe(space: &Space, probes: &[Probe], quiet: Duration) -> Result<Vec<Verdict>> {
    space.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting a prober")?;
        let mut verdicts = Vec::with_capacity(probes.len());
        for some in probes.chunks(sockets_at_once()) {
            verdicts.extend(runtime.block_on(all(some, quiet))?);
        }
        Ok(verdicts)
    })
}

/// The same, with those that should have been answered and were not asked again, with growing patience. One that
/// answers where it must not has its verdict at once.
///
/// # Errors
/// As [`probe`].
pub fn probe_again(
    space: &Space,
    probes: &[Probe],
    should_answer: &[bool],
    quiet: Duration,
) -> Result<Vec<Verdict>> {
    let mut verdicts = probe(space, probes, quiet)?;
    for tries in 1..=AGAIN {
        let late: Vec<usize> =
            (0..probes.len()).filter(|i| should_answer[*i] && verdicts[*i].is_silence()).collect();
        if late.is_empty() {
            break;
        }
        let some: Vec<Probe> = late.iter().map(|i| probes[*i]).collect();
        for (index, verdict) in late.into_iter().zip(probe(space, &some, quiet * (tries + 1))?) {
            verdicts[index] = verdict;
        }
    }
    Ok(verdicts)
}

async fn all(probes: &[Probe], quiet: Duration) -> Result<Vec<Verdict>> {
    let mut verdicts = vec![Verdict::Dropped; probes.len()];
    let mut tasks = JoinSet::new();
    for (index, probe) in probes.iter().copied().enumerate() {
        tasks.spawn(async move { (index, knock(probe).await) });
    }
    // Silence is counted in slices with the sockets looked at between them: a thread that did not get to run, on a busy
    // machine, has heard nothing either, and that is no silence.
    let mut silent_slices = 0;
    while silent_slices < SLICES {
        match timeout(quiet / SLICES, tasks.join_next()).await {
            Err(_) => silent_slices += 1,
            Ok(None) => break,
            Ok(Some(done)) => {
                silent_slices = 0;
                let (index, verdict) = done.context("a probe ended by a panic")?;
                verdicts[index] = verdict.with_context(|| format!("probing {:?}", probes[index]))?;
            }
        }
    }
    Ok(verdicts)
}

async fn knock(probe: Probe) -> Result<Verdict> {
    let outcome = match probe.knock {
        Knock::Tcp => connect(probe).await,
        Knock::Udp => {
            let any = if probe.to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let from = probe.from.map_or_else(|| any.to_owned(), |a| a.to_string());
            let socket = UdpSocket::bind(from).await.context("binding")?;
            exchange(&socket, probe.to, QUESTION).await
        }
        Knock::Ping => {
            let echo_request = if probe.to.is_ipv4() { 8 } else { 128 };
            exchange(&ping_socket(probe.to.ip())?, probe.to, echo_request).await
        }
    };
    match outcome {
        Ok(()) => Ok(Verdict::Open),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Ok(Verdict::Refused),
            // No answer within the kernel's own patience.
            ErrorKind::TimedOut => Ok(Verdict::Dropped),
            ErrorKind::HostUnreachable => Ok(Verdict::Unreachable),
            // Our own rules on the way out (the node as the source).
            ErrorKind::PermissionDenied => Ok(Verdict::Dropped),
            kind => bail!("{kind:?}: {error}"),
        },
    }
}

async fn connect(probe: Probe) -> std::io::Result<()> {
    let socket = if probe.to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = probe.from {
        socket.set_reuseaddr(true)?;
        socket.bind(from)?;
    }
    // Leaves by a reset: nothing lingers for the next run.
    socket.set_zero_linger()?;
    socket.connect(probe.to).await.map(drop)
}

fn ping_socket(to: IpAddr) -> Result<UdpSocket> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Datagram, flags, protocol).context("opening a ping socket")?;
    UdpSocket::from_std(fd.into()).context("registering a ping socket")
}

async fn exchange(socket: &UdpSocket, to: SocketAddr, first: u8) -> std::io::Result<()> {
    socket.connect(to).await?;
    // The header of an echo request; for UDP just eight bytes.
    socket.send(&[first, 0, 0, 0, 0, 0, 0, 1]).await?;
    let mut bytes = [0u8; 64];
    socket.recv(&mut bytes).await.map(drop)
}
