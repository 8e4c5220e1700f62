//! Asking a time server once, as SNTP (RFC 4330) does: how far is the clock of this machine off?

use jiff::Timestamp;
use std::io;
use std::net::{ToSocketAddrs, UdpSocket};
use std::time::Duration;

/// Port of NTP.
const PORT: u16 = 123;
/// Length of a packet without extensions.
const PACKET_BYTES: usize = 48;
/// Version 4, client.
const CLIENT_HEAD: u8 = 0x23;
/// Seconds between the beginnings of NTP's first era (1900) and of Unix time.
const UNIX_IN_NTP_SECS: i64 = 2_208_988_800;
/// Seconds in an era: the counter starts anew in 2036.
const ERA_SECS: i64 = 1 << 32;

/// Why an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Shorter than a packet.
    #[error("the answer is too short")]
    Short,
    /// Not the answer of a server.
    #[error("the answer is not one of a time server")]
    Mode,
    /// The answer to another question.
    #[error("the answer is to another question")]
    Other,
    /// The server says that it does not know the time.
    #[error("the server does not know the time itself")]
    Unsynchronised,
}

/// Seconds the clock of this machine is behind the server; negative when it is ahead. `server` is a name or an address.
///
/// # Errors
/// The name does not resolve, nobody answers in time, or the answer is none.
pub fn ask(server: &str, limit: Duration) -> io::Result<f64> {
    let address = (server, PORT)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other("the name has no address"))?;
    ask_at(address, limit)
}

fn ask_at(address: std::net::SocketAddr, limit: Duration) -> io::Result<f64> {
    let local = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(limit))?;
    let sent = crate::clock::realtime()?;
    let mut question = [0; PACKET_BYTES];
    question[0] = CLIENT_HEAD;
    question[40..48].copy_from_slice(&to_ntp(sent).to_be_bytes());
    socket.send(&question)?;
    let mut answer = [0; PACKET_BYTES];
    let length = socket.recv(&mut answer).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        _ => error,
    })?;
    let received = crate::clock::realtime()?;
    parse_answer(&answer[..length], to_ntp(sent), to_ntp(received)).map_err(io::Error::other)
}

/// Reads an answer to a question that was sent and answered at these times (NTP, 32 bits of seconds and 32 of fraction).
///
/// # Errors
/// The bytes are not the answer of a server that knows the time.
pub fn parse_answer(answer: &[u8], sent: u64, received: u64) -> Result<f64, AnswerError> {
    let field = |at: usize| -> Result<u64, AnswerError> {
        let bytes = answer.get(at..at + 8).ok_or(AnswerError::Short)?;
        Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| AnswerError::Short)?))
    };
    if answer.len() < PACKET_BYTES {
        return Err(AnswerError::Short);
    }
    if answer[0] & 7 != 4 {
        return Err(AnswerError::Mode);
    }
    if field(24)? != sent {
        return Err(AnswerError::Other);
    }
    let (leap, stratum) = (answer[0] >> 6, answer[1]);
    let (arrived, left) = (field(32)?, field(40)?);
    if leap == 3 || !(1..16).contains(&stratum) || left == 0 {
        return Err(AnswerError::Unsynchronised);
    }
    Ok((seconds_between(sent, arrived) + seconds_between(received, left)) / 2.0)
}

/// From one NTP time to another, in whichever eras they are: the shorter way round.
fn seconds_between(from: u64, to: u64) -> f64 {
    let ticks = i64::from_ne_bytes(to.wrapping_sub(from).to_ne_bytes());
    ticks as f64 / ERA_SECS as f64
}

fn to_ntp(time: Timestamp) -> u64 {
    let nanos = i64::from(time.subsec_nanosecond());
    let (secs, nanos) =
        if nanos < 0 { (time.as_second() - 1, nanos + 1_000_000_000) } else { (time.as_second(), nanos) };
    let secs = (secs + UNIX_IN_NTP_SECS).rem_euclid(ERA_SECS);
    let fraction = (nanos << 32) / 1_000_000_000;
    u64::try_from(secs << 32 | fraction)
        .unwrap_or_else(|_| u64::from_ne_bytes((secs << 32 | fraction).to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{AnswerError, ask_at, parse_answer, to_ntp};
    use std::net::UdpSocket;
    use std::time::Duration;

    const SECOND: u64 = 1 << 32;

    fn answer(sent: u64, arrived: u64, left: u64) -> Vec<u8> {
        let mut bytes = vec![0; 48];
        (bytes[0], bytes[1]) = (0x24, 2);
        bytes[24..32].copy_from_slice(&sent.to_be_bytes());
        bytes[32..40].copy_from_slice(&arrived.to_be_bytes());
        bytes[40..48].copy_from_slice(&left.to_be_bytes());
        bytes
    }

    #[test]
    fn the_way_there_and_back_is_taken_out_and_eras_do_not_matter() {
        let sent = 4_000_000_000 * SECOND;
        let good = answer(sent, sent + 11 * SECOND, sent + 11 * SECOND);
        assert_eq!(parse_answer(&good, sent, sent + 2 * SECOND), Ok(10.0));
        let late = u64::MAX - SECOND;
        let over = answer(late, late.wrapping_add(4 * SECOND), late.wrapping_add(4 * SECOND));
        assert_eq!(parse_answer(&over, late, late.wrapping_add(2 * SECOND)), Ok(3.0));
        let fast = answer(sent, sent - 5 * SECOND, sent - 5 * SECOND);
        assert_eq!(parse_answer(&fast, sent, sent), Ok(-5.0));
    }

    #[test]
    fn believes_no_other_bytes() {
        let sent = 7 * SECOND;
        let good = answer(sent, sent, sent);
        assert_eq!(parse_answer(&good[..47], sent, sent), Err(AnswerError::Short));
        assert_eq!(parse_answer(&good, sent + 1, sent), Err(AnswerError::Other));
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            parse_answer(&bytes, sent, sent)
        };
        assert_eq!(with(0, 0x23), Err(AnswerError::Mode));
        assert_eq!(with(0, 0xe4), Err(AnswerError::Unsynchronised));
        assert_eq!(with(1, 0), Err(AnswerError::Unsynchronised));
        assert_eq!(with(1, 16), Err(AnswerError::Unsynchronised));
    }

    #[test]
    fn asks_a_server_and_gives_up_on_a_silent_one() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut question = [0; 48];
            let (_, from) = server.recv_from(&mut question).unwrap();
            let sent = u64::from_be_bytes(question[40..48].try_into().unwrap());
            let then = sent + 3600 * SECOND;
            server.send_to(&answer(sent, then, then), from).unwrap();
            server
        });
        let offset = ask_at(address, Duration::from_secs(30)).unwrap();
        assert!(offset > 3000.0 && offset <= 3600.0, "{offset}");
        let _still_bound = thread.join().unwrap();
        assert_eq!(ask_at(address, Duration::from_millis(10)).unwrap_err().to_string(), "no answer");
    }

    #[test]
    fn the_unix_epoch_has_its_ntp_time() {
        assert_eq!(to_ntp(jiff::Timestamp::UNIX_EPOCH), 2_208_988_800 * SECOND);
    }
}
