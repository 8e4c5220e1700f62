//! Services: something that answers on every probed port, so that "nobody there" cannot pass for "blocked".

use super::space::Space;
use anyhow::{Context, Result, anyhow};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::mpsc;
use std::thread::JoinHandle;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;

/// First byte of a datagram that wants an answer.
pub const QUESTION: u8 = 0x3f;

/// Listeners in one namespace; they end with this value.
pub struct Listeners {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Listeners {
    /// Accepts TCP on these ports of all addresses, both families, and echoes UDP.
    ///
    /// UDP is bound to each address by itself: a socket for all of them answers from the wrong one.
    ///
    /// # Errors
    /// A port cannot be bound.
    pub fn start(space: &Space, tcp: &[u16], udp_addresses: &[IpAddr], udp: &[u16]) -> Result<Self> {
        let door = space.door()?;
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let tcp: Vec<SocketAddr> = tcp.iter().map(|port| (Ipv6Addr::UNSPECIFIED, *port).into()).collect();
        let udp: Vec<SocketAddr> =
            udp_addresses.iter().flat_map(|a| udp.iter().map(|port| SocketAddr::new(*a, *port))).collect();
        let thread = std::thread::spawn(move || {
            door()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async move {
                for address in tcp {
                    let listener = TcpListener::bind(address)
                        .await
                        .with_context(|| format!("listening on {address}"))?;
                    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
                }
                for address in udp {
                    let socket =
                        UdpSocket::bind(address).await.with_context(|| format!("listening on {address}"))?;
                    tokio::spawn(async move {
                        let mut bytes = [0u8; 64];
                        loop {
                            // An error is the refusal of an earlier answer, and no reason to stop.
                            let Ok((length, from)) = socket.recv_from(&mut bytes).await else { continue };
                            // Answers a question, never an answer: two services must not talk for ever.
                            if bytes[0] == QUESTION {
                                bytes[0] = 0;
                                let _ = socket.send_to(&bytes[..length], from).await;
                            }
                        }
                    });
                }
                let _ = ready.send(());
                let _ = stopped.await;
                Ok(())
            })
        });
        let mut listeners = Self { stop: Some(stop), thread: Some(thread) };
        if is_ready.recv().is_err() {
            return Err(listeners.end().err().unwrap_or_else(|| anyhow!("the listeners ended")));
        }
        Ok(listeners)
    }

    fn end(&mut self) -> Result<()> {
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("a listener ended by a panic"))?
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
