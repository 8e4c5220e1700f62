//! `etcd.quorum`: one more master can be lost without losing the cluster.

use crate::catalogue::{Check, Looking, Moment, Patience, Wanted, secs};
use crate::context::Context;
use crate::http::Answer;
use crate::verdict::Verdict;
use jiff::Timestamp;
use profiles::node::{NodeConfig, Role};
use serde_json::Value;
use std::sync::Arc;

/// Fewer masters than this cannot lose one, whatever their state.
const REDUNDANT_MASTERS: usize = 3;

/// So long after its first master has joined, a cluster may still be waiting for the masters that come next.
const FORMING_SECS: i64 = 86_400;

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "etcd.quorum",
    title: "One more master can be lost without losing the cluster",
    source: "conditions `Ready` and `EtcdIsVoter` (k3s sets it) of the Node object of each master of the node config, from the API",
    limits: "No master more than a majority of etcd's voters is Ready: after 60 s warning; less than a majority: after 5 min critical, but a lost majority mostly shows as an API that does not answer, which is unknown here (see `etcd.member`); masters that never joined do not count for a day after the first one joined; etcd members that are no master of the node config are not counted",
    roles: &[Role::Master],
    applies,
    interval: secs(30),
    timeout: secs(10),
    // A look that falls between two renewals of a condition is no loss; a reboot of a master is one, while it lasts.
    patience: Patience { warn_after: secs(60), critical_after: secs(300) },
    depends_on: &["unit.k3s", "apiserver.ready", "etcd.member"],
    action: "leave the other masters running and bring the named one back: metalstrap status there; k3s kubectl describe node NAME; a master that is gone for good is installed again, and the guide of the first cluster says what the cluster must forget before",
    subject: "",
    look,
};

/// One master, as the cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// Host name.
    pub name: String,
    /// What it does for etcd.
    pub part: Part,
    /// When its Node object was made.
    pub joined: Option<Timestamp>,
}

/// What a master does for etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// It votes and its node is Ready.
    Voter,
    /// It has a vote, but cannot be counted upon: why.
    Faulty(String),
    /// It has no vote: why.
    Outside(&'static str),
}

fn applies(node: &NodeConfig) -> Wanted {
    match node.peers_with(Role::Master).count() {
        masters if masters >= REDUNDANT_MASTERS => Wanted::Yes(String::new()),
        masters => Wanted::No(format!("a cluster with {masters} masters cannot lose one")),
    }
}

fn look(_: &'static str, context: Arc<Context>, moment: Moment) -> Looking {
    Box::pin(async move {
        match ask(&context).await {
            Ok(masters) => judge(&masters, moment.realtime),
            Err(verdict) => verdict,
        }
    })
}

/// Each master by its name: the list of all nodes of a large cluster is longer than what is read of an answer.
async fn ask(context: &Context) -> Result<Vec<Master>, Verdict> {
    let mut masters = Vec::new();
    for peer in context.node.peers_with(Role::Master) {
        let name = peer.hostname.as_str();
        let answer = context.api.get(context, &format!("/api/v1/nodes/{name}")).await;
        let answer = answer.map_err(|why| Verdict::unknown("NoCredentials", why.to_string()))?;
        masters.push(parse(name, &answer)?);
    }
    Ok(masters)
}

/// Reads what the API says about one master.
///
/// # Errors
/// The verdict, when that says nothing.
pub fn parse(name: &str, answer: &Answer) -> Result<Master, Verdict> {
    let (status, body) = match answer {
        Answer::Nobody(why) => {
            return Err(Verdict::unknown("ApiSilent", format!("the API server does not answer: {why}")));
        }
        Answer::Http { status, body } => (*status, body),
    };
    match status {
        200 => parse_object(name, body),
        404 => Ok(Master { name: name.to_owned(), part: Part::Outside("has not joined"), joined: None }),
        other => Err(Verdict::unknown("ApiRefused", format!("the API server answers {other}"))),
    }
}

fn parse_object(name: &str, body: &str) -> Result<Master, Verdict> {
    let object: Value = serde_json::from_str(body)
        .map_err(|_| Verdict::unknown("NotUnderstood", "the API server sent no JSON"))?;
    let joined = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
    let joined = joined.and_then(|text| text.parse().ok());
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let find = |kind: &str| conditions.and_then(|all| all.iter().find(|c| c["type"] == kind));
    let is_ready = find("Ready").is_some_and(|condition| condition["status"] == "True");
    let part = match find("EtcdIsVoter") {
        None => Part::Outside("is no member yet"),
        Some(condition) => judge_member(condition, is_ready),
    };
    Ok(Master { name: name.to_owned(), part, joined })
}

/// k3s gives a member that does not vote one of three reasons.
fn judge_member(condition: &Value, is_ready: bool) -> Part {
    match (condition["status"].as_str(), condition["reason"].as_str().unwrap_or_default()) {
        (Some("True"), _) if is_ready => Part::Voter,
        (Some("True"), _) => Part::Faulty("is not Ready".to_owned()),
        (_, "MemberIsLearner") => Part::Outside("is a learner"),
        (_, "NotAMember") => Part::Outside("is no member"),
        (_, reason) => Part::Faulty(format!("does not vote ({reason})")),
    }
}

/// The masters against the majority that etcd needs.
pub fn judge(masters: &[Master], now: Timestamp) -> Verdict {
    let voters = masters.iter().filter(|master| master.part == Part::Voter).count();
    let faulty = masters.iter().filter(|master| matches!(master.part, Part::Faulty(_))).count();
    let size = voters + faulty;
    if size == 0 {
        return Verdict::unknown(
            "NoVoters",
            format!("the cluster names no voter of etcd{}", others(masters)),
        );
    }
    let majority = size / 2 + 1;
    let text = format!("{voters} of {size} voters are Ready, {majority} are needed{}", others(masters));
    if voters < majority {
        Verdict::critical("QuorumLost", text)
    } else if voters > majority {
        Verdict::ok("Spare", text)
    } else if faulty == 0 && is_forming(masters, now) {
        Verdict::ok("Forming", text)
    } else {
        Verdict::warning("NoSpare", text)
    }
}

/// True for a day after the first master has joined. A cluster that does not say when it began is none that begins.
fn is_forming(masters: &[Master], now: Timestamp) -> bool {
    let begun = masters.iter().filter_map(|master| master.joined).min();
    begun.is_some_and(|begun| now.as_second() - begun.as_second() < FORMING_SECS)
}

/// Who is not counted upon, and why.
fn others(masters: &[Master]) -> String {
    let why = |master: &Master| match &master.part {
        Part::Voter => None,
        Part::Faulty(why) => Some(format!("; {} {why}", master.name)),
        Part::Outside(why) => Some(format!("; {} {why}", master.name)),
    };
    masters.iter().filter_map(why).collect()
}

#[cfg(test)]
mod tests {
    use super::{Master, Part, applies, judge, parse};
    use crate::catalogue::Wanted;
    use crate::http::Answer;
    use crate::verdict::Verdict;
    use jiff::Timestamp;
    use profiles::node::NodeConfig;

    const JOINED: &str = "2026-11-20T12:00:00Z";

    fn master(number: usize, part: Part) -> Master {
        let joined = (part != Part::Outside("has not joined")).then(|| JOINED.parse().unwrap());
        Master { name: format!("m{number}"), part, joined }
    }

    fn judge_at(now: &str, parts: &[Part]) -> Verdict {
        let masters: Vec<Master> = parts.iter().zip(1..).map(|(part, n)| master(n, part.clone())).collect();
        judge(&masters, now.parse().unwrap())
    }

    fn http(status: u16, body: &str) -> Answer {
        Answer::Http { status, body: body.to_owned() }
    }

    /// A Node object as k3s leaves it, cut down to what is read.
    fn node(ready: &str, voter: &str, reason: &str) -> Answer {
        http(
            200,
            &format!(
                r#"{{"metadata":{{"creationTimestamp":"{JOINED}"}},"status":{{"conditions":[
                {{"type":"EtcdIsVoter","status":"{voter}","reason":"{reason}"}},
                {{"type":"Ready","status":"{ready}"}}]}}}}"#
            ),
        )
    }

    #[test]
    fn reads_the_conditions_of_a_master() {
        let joined: Option<Timestamp> = Some(JOINED.parse().unwrap());
        let table = [
            (node("True", "True", "MemberNotLearner"), Part::Voter),
            (node("Unknown", "True", "MemberNotLearner"), Part::Faulty("is not Ready".to_owned())),
            (node("True", "False", "MemberIsLearner"), Part::Outside("is a learner")),
            (node("True", "False", "NotAMember"), Part::Outside("is no member")),
            (node("True", "False", "Unhealthy"), Part::Faulty("does not vote (Unhealthy)".to_owned())),
        ];
        for (answer, part) in table {
            assert_eq!(parse("m1", &answer), Ok(Master { name: "m1".to_owned(), part, joined }));
        }
        let bare = Master { name: "m1".to_owned(), part: Part::Outside("is no member yet"), joined: None };
        assert_eq!(parse("m1", &http(200, "{}")), Ok(bare));
        let absent = Master { name: "m1".to_owned(), part: Part::Outside("has not joined"), joined: None };
        assert_eq!(parse("m1", &http(404, "")), Ok(absent));
    }

    #[test]
    fn an_api_that_cannot_be_asked_is_no_verdict_on_etcd() {
        let silent = Verdict::unknown("ApiSilent", "the API server does not answer: refused");
        let table = [
            (Answer::Nobody("refused".to_owned()), silent),
            (http(403, ""), Verdict::unknown("ApiRefused", "the API server answers 403")),
            (http(200, "<"), Verdict::unknown("NotUnderstood", "the API server sent no JSON")),
        ];
        for (answer, expected) in table {
            assert_eq!(parse("m1", &answer), Err(expected));
        }
    }

    #[test]
    fn counts_voters_against_the_majority() {
        let (voter, down) = (Part::Voter, Part::Faulty("is not Ready".to_owned()));
        let learner = Part::Outside("is a learner");
        let all = |n: usize| vec![voter.clone(); n];
        let with = |n: usize, more: &[&Part]| {
            let mut parts = all(n);
            parts.extend(more.iter().map(|part| (*part).clone()));
            parts
        };
        let table = [
            (all(3), Verdict::ok("Spare", "3 of 3 voters are Ready, 2 are needed")),
            (
                with(2, &[&down]),
                Verdict::warning("NoSpare", "2 of 3 voters are Ready, 2 are needed; m3 is not Ready"),
            ),
            (
                with(1, &[&down, &down]),
                Verdict::critical(
                    "QuorumLost",
                    "1 of 3 voters are Ready, 2 are needed; m2 is not Ready; m3 is not Ready",
                ),
            ),
            (
                with(2, &[&learner]),
                Verdict::warning("NoSpare", "2 of 2 voters are Ready, 2 are needed; m3 is a learner"),
            ),
            (
                with(4, &[&down]),
                Verdict::ok("Spare", "4 of 5 voters are Ready, 3 are needed; m5 is not Ready"),
            ),
            (
                with(3, &[&down]),
                Verdict::warning("NoSpare", "3 of 4 voters are Ready, 3 are needed; m4 is not Ready"),
            ),
            (
                with(0, &[&learner]),
                Verdict::unknown("NoVoters", "the cluster names no voter of etcd; m1 is a learner"),
            ),
        ];
        for (parts, expected) in table {
            assert_eq!(judge_at("2026-11-22T00:00:00Z", &parts), expected, "{parts:?}");
        }
    }

    #[test]
    fn masters_that_come_later_are_waited_for_a_day_and_lost_ones_are_not() {
        let absent = Part::Outside("has not joined");
        let first = [Part::Voter, absent.clone(), absent];
        let text = "1 of 1 voters are Ready, 1 are needed; m2 has not joined; m3 has not joined";
        assert_eq!(judge_at("2026-11-21T11:59:59Z", &first), Verdict::ok("Forming", text));
        assert_eq!(judge_at("2026-11-21T12:00:00Z", &first), Verdict::warning("NoSpare", text));
        let lost = [Part::Voter, Part::Voter, Part::Faulty("is not Ready".to_owned())];
        let text = "2 of 3 voters are Ready, 2 are needed; m3 is not Ready";
        assert_eq!(judge_at("2026-11-20T13:00:00Z", &lost), Verdict::warning("NoSpare", text));
        let unknown = Master { joined: None, ..master(1, Part::Voter) };
        let text = "1 of 1 voters are Ready, 1 are needed";
        assert_eq!(judge(&[unknown], JOINED.parse().unwrap()), Verdict::warning("NoSpare", text));
    }

    #[test]
    fn only_three_masters_have_one_to_lose() {
        let mut node: NodeConfig =
            serde_json::from_str(include_str!("../../tests/fixtures/node.json")).unwrap();
        let reason = "a cluster with 1 masters cannot lose one".to_owned();
        assert_eq!(applies(&node), Wanted::No(reason));
        node.peers = vec![node.peers[0].clone(); 3];
        assert_eq!(applies(&node), Wanted::Yes(String::new()));
    }
}
