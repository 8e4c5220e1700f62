//! etcd members as far as they show: who is a voter, and whether a majority of them answers.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Port of the etcd peers.
pub const PEER_PORT: u16 = 2380;

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Node name.
    pub name: String,
    /// Address.
    pub address: IpAddr,
    /// True until it is promoted: a learner has no vote.
    pub learner: bool,
}

/// Why a member cannot be added now.
#[derive(Debug, PartialEq, Eq)]
pub enum AddRefused {
    /// Another member is still a learner: joins are serial.
    LearnerPresent(String),
}

/// Adds a learner; adding the same member again changes nothing.
///
/// # Errors
/// Another member is still a learner.
pub fn add_learner(members: &mut Vec<Member>, name: &str, address: IpAddr) -> Result<(), AddRefused> {
    if members.iter().any(|m| m.name == name) {
        return Ok(());
    }
    if let Some(other) = members.iter().find(|m| m.learner) {
        return Err(AddRefused::LearnerPresent(other.name.clone()));
    }
    members.push(Member { name: name.to_owned(), address, learner: true });
    Ok(())
}

/// Voters needed for a majority.
pub fn majority(members: &[Member]) -> usize {
    members.iter().filter(|m| !m.learner).count() / 2 + 1
}

/// True when something listens on the member's peer port.
pub async fn answers(member: &Member) -> bool {
    let addr = SocketAddr::new(member.address, PEER_PORT);
    matches!(
        tokio::time::timeout(Duration::from_secs(1), tokio::net::TcpStream::connect(addr)).await,
        Ok(Ok(_))
    )
}

#[cfg(test)]
mod tests {
    use super::{AddRefused, Member, add_learner, majority};

    #[test]
    fn members_join_one_at_a_time() {
        let address = "10.0.0.11".parse().unwrap();
        let mut members = vec![Member { name: "m1".into(), address, learner: false }];
        assert_eq!(add_learner(&mut members, "m2", address), Ok(()));
        assert_eq!(add_learner(&mut members, "m2", address), Ok(()), "again is no error");
        assert_eq!(add_learner(&mut members, "m3", address), Err(AddRefused::LearnerPresent("m2".into())));
        assert_eq!(majority(&members), 1, "a learner has no vote");
        members[1].learner = false;
        assert_eq!(majority(&members), 2);
        assert_eq!(add_learner(&mut members, "m3", address), Ok(()));
    }
}
