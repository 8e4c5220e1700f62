//! Network namespaces without names: one lives as long as its [`Space`] or this process, so that even a killed test
//! leaves nothing behind.

use crate::command::search_path;
use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

/// How long the kernel remembers a connection in each state. A remembered one passes as established.
const CONNTRACK_SECS: [(&str, &str); 10] = [
    ("udp_timeout", "1"),
    ("udp_timeout_stream", "1"),
    ("icmp_timeout", "1"),
    ("icmpv6_timeout", "1"),
    ("tcp_timeout_syn_sent", "1"),
    ("tcp_timeout_syn_recv", "1"),
    ("tcp_timeout_close", "1"),
    ("tcp_timeout_time_wait", "1"),
    ("tcp_timeout_fin_wait", "1"),
    ("tcp_timeout_established", "5"),
];

/// Tries to flush the neighbours.
const FLUSHES: usize = 5;

/// The netlink message that deletes every remembered connection (`IPCTNL_MSG_CT_DELETE` without a selection), with an
/// answer asked for.
fn forget_all() -> Vec<u8> {
    const LENGTH: u32 = 20;
    const DELETE: u16 = 1 << 8 | 2;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    let mut message = LENGTH.to_ne_bytes().to_vec();
    message.extend(DELETE.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    // Sequence number and sender, then family, version and resource of the netfilter header: all families.
    message.extend([0; 12]);
    message
}

/// One network namespace.
#[derive(Debug)]
pub struct Space {
    name: String,
    handle: File,
}

impl Space {
    /// A fresh namespace with `lo` up, duplicate address detection off and conntrack timeouts of a second, so that one
    /// probe leaves nothing behind for the next.
    ///
    /// # Errors
    /// Not root, or the kernel has no namespaces to give.
    pub fn new(name: &str) -> Result<Self> {
        let open = || -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("making a network namespace (the packet proof needs root)")?;
            File::open("/proc/thread-self/ns/net").context("opening the new network namespace")
        };
        let handle = std::thread::scope(|scope| scope.spawn(open).join())
            .map_err(|_| anyhow!("the thread that makes the namespace {name} ended"))??;
        let space = Self { name: name.to_owned(), handle };
        for key in ["ipv6/conf/all/accept_dad", "ipv6/conf/default/accept_dad", "ipv6/conf/default/accept_ra"]
        {
            space.set(key, "0")?;
        }
        space.set("ipv4/ping_group_range", "0 0")?;
        // Sources without a route back are part of the proof: the kernel shall not answer in the place of our rules.
        space.set("ipv4/conf/all/rp_filter", "0")?;
        space.set("ipv4/conf/default/rp_filter", "0")?;
        // Nobody learns a way around the node. A host that forwards nothing accepts a redirect as soon as one of the two
        // says so, and it takes effect only once the better gateway is known: on a busy machine, that is.
        for key in ["accept_redirects", "send_redirects"] {
            space.set(&format!("ipv4/conf/all/{key}"), "0")?;
            space.set(&format!("ipv4/conf/default/{key}"), "0")?;
        }
        space.set("ipv6/conf/default/accept_redirects", "0")?;
        space.set("ipv4/icmp_ratelimit", "0")?;
        for (state, seconds) in CONNTRACK_SECS {
            space.set(&format!("netfilter/nf_conntrack_{state}"), seconds)?;
        }
        space.ip("link set lo up\n")?;
        Ok(space)
    }

    /// Runs `work` in a thread of its own inside the namespace; sockets and children made there stay there.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the work's own error.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || {
            setns(&self.handle, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("entering the namespace {}", self.name))?;
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join())
            .map_err(|_| anyhow!("a thread in the namespace {} ended by a panic", self.name))?
    }

    /// The namespace for a thread that outlives the borrow: enters it for the rest of the calling thread.
    ///
    /// # Errors
    /// The handle cannot be copied.
    pub fn door(&self) -> Result<impl FnOnce() -> Result<()> + Send + use<>> {
        let handle = self.handle.try_clone().context("copying the handle of a namespace")?;
        Ok(move || setns(&handle, CloneFlags::CLONE_NEWNET).context("entering a namespace"))
    }

    /// Where `ip link … netns PATH` finds it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }

    /// Runs a program inside, with this input, and gives its standard output.
    ///
    /// # Errors
    /// The program is missing or fails; the error carries its standard error.
    pub fn run(&self, argv: &[&str], stdin: &str) -> Result<String> {
        self.enter(|| {
            let [program, args @ ..] = argv else { bail!("an empty command") };
            let mut child = Command::new(program)
                .args(args)
                .env("PATH", search_path())
                .env("LC_ALL", "C")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("starting {program}"))?;
            if let Some(mut pipe) = child.stdin.take() {
                pipe.write_all(stdin.as_bytes()).with_context(|| format!("writing to {program}"))?;
            }
            let output = child.wait_with_output().with_context(|| format!("waiting for {program}"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                bail!("{} in {}: {}: {}", argv.join(" "), self.name, output.status, said.trim());
            }
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        })
    }

    /// One `ip` command a line.
    ///
    /// # Errors
    /// A command fails; the error names its line.
    pub fn ip(&self, batch: &str) -> Result<()> {
        self.run(&["ip", "-batch", "-"], batch).with_context(|| format!("in:\n{batch}")).map(drop)
    }

    /// Loads nftables text, all or nothing.
    ///
    /// # Errors
    /// nft refuses it.
    pub fn nft(&self, rules: &str) -> Result<()> {
        self.run(&["nft", "-f", "-"], rules).map(drop)
    }

    /// Lets the kernel forget every connection it remembers here: a remembered one passes as established, and on a busy
    /// machine no time limit says when it is gone.
    ///
    /// # Errors
    /// The kernel cannot be asked, or refuses.
    pub fn forget(&self) -> Result<()> {
        self.enter(|| {
            let family = AddressFamily::Netlink;
            let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)
                .context("opening a netlink socket")?;
            send(fd.as_raw_fd(), &forget_all(), MsgFlags::empty()).context("asking to forget connections")?;
            let mut answer = [0u8; 256];
            let length =
                recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty()).context("hearing the kernel")?;
            let code = answer.get(16..20).filter(|_| length >= 20).context("a short answer of the kernel")?;
            match i32::from_ne_bytes([code[0], code[1], code[2], code[3]]) {
                0 => Ok(()),
                code => bail!("the kernel does not forget connections: error {code}"),
            }
        })
    }

    /// Lets the node look for its IPv6 neighbours anew.
    ///
    /// # Errors
    /// `ip` fails again and again. Once is no error: an entry that ends by itself in between makes it fail.
    pub fn forget_neighbours(&self) -> Result<()> {
        let flush = || self.run(&["ip", "-6", "neigh", "flush", "all"], "").map(drop);
        (1..FLUSHES).find_map(|_| flush().ok()).map_or_else(flush, Ok)
    }

    /// Sets a kernel parameter below `/proc/sys/net`.
    ///
    /// # Errors
    /// There is no such parameter, or the kernel refuses the value.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        self.enter(|| {
            let path = format!("/proc/sys/net/{key}");
            std::fs::write(&path, value).with_context(|| format!("writing {path} in {}", self.name))
        })
    }

    /// The same for a parameter of a part of the kernel that need not be loaded.
    ///
    /// # Errors
    /// The kernel refuses the value.
    pub fn set_where_present(&self, key: &str, value: &str) -> Result<()> {
        let is_there = self.enter(|| Ok(Path::new("/proc/sys/net").join(key).exists()))?;
        if is_there { self.set(key, value) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Space;

    #[test]
    fn connections_are_forgotten_when_asked() {
        let space = Space::new("forgetful").unwrap();
        space
            .nft("table inet t {\n chain c { type filter hook output priority 0; ct state new accept; }\n}\n")
            .unwrap();
        let remembered = || space.run(&["cat", "/proc/net/nf_conntrack"], "").unwrap();
        let knock = || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
            socket.send_to(b"?", socket.local_addr()?)?;
            Ok(())
        };
        space.enter(knock).unwrap();
        assert!(remembered().contains("udp"), "{}", remembered());
        space.forget().unwrap();
        assert_eq!(remembered(), "");
    }

    #[test]
    fn a_space_has_its_own_interfaces_and_nothing_of_the_host() {
        let space = Space::new("alone").unwrap();
        space.ip("link add here0 type bridge\n").unwrap();
        let inside = space.run(&["ip", "-br", "link"], "").unwrap();
        assert!(inside.contains("here0") && inside.lines().count() == 2, "{inside}");
        let outside = std::fs::read_to_string("/proc/net/dev").unwrap();
        assert!(!outside.contains("here0"), "{outside}");
    }
}
