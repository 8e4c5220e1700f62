//! `haproxy.backends`: every backend has servers that are up.

use crate::catalogue::{Check, Looking, Moment, Patience, always, secs};
use crate::context::Context;
use crate::verdict::Verdict;
use profiles::node::Role;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The statistics of some dozen servers have some kilobytes.
const STATISTICS_MAX_BYTES: u64 = 1024 * 1024;

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "haproxy.backends",
    title: "HAProxy's backends have servers",
    source: "`show stat` on `/run/haproxy/admin.sock`; servers in maintenance are not counted",
    limits: "A server down: after 25 s warning; no server up: after 2 min critical; no statistics or no health checks: unknown",
    roles: &[Role::Proxy],
    applies: always,
    interval: secs(10),
    timeout: secs(5),
    patience: Patience { warn_after: secs(25), critical_after: secs(120) },
    depends_on: &["unit.haproxy"],
    action: "echo 'show stat' | socat stdio /run/haproxy/admin.sock; look at the servers named",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let statistics = ask(&context.path("/run/haproxy/admin.sock")).await;
        judge(&statistics.map_err(|error| format!("asking HAProxy for its statistics: {error}")))
    })
}

async fn ask(socket: &Path) -> std::io::Result<String> {
    let mut stream = tokio::net::UnixStream::connect(socket).await?;
    stream.write_all(b"show stat\n").await?;
    let mut text = String::new();
    stream.take(STATISTICS_MAX_BYTES).read_to_string(&mut text).await?;
    Ok(text)
}

/// How many servers of one backend are up, down, or in maintenance or unchecked.
#[derive(Default)]
struct Backend {
    up: usize,
    down: Vec<String>,
    unchecked: usize,
}

/// HAProxy's statistics, CSV with a header line.
pub fn judge(statistics: &Result<String, String>) -> Verdict {
    let text = match statistics {
        Ok(text) => text,
        Err(why) => return Verdict::unknown("NoStatistics", why.clone()),
    };
    let Some(backends) = parse_backends(text) else {
        return Verdict::unknown("NotUnderstood", "HAProxy's statistics have an unknown form");
    };
    let checked: Vec<_> = backends.iter().filter(|(_, b)| b.up + b.down.len() + b.unchecked > 0).collect();
    if checked.is_empty() {
        return Verdict::unknown("NoServers", "HAProxy has no backend with servers");
    }
    let empty: Vec<&str> = checked
        .iter()
        .filter(|(_, b)| b.up == 0 && !b.down.is_empty())
        .map(|(name, _)| name.as_str())
        .collect();
    if !empty.is_empty() {
        return Verdict::critical("NoServerUp", format!("no server is up in {}", empty.join(", ")));
    }
    if let Some((name, _)) = checked.iter().find(|(_, b)| b.unchecked > 0) {
        return Verdict::unknown("NotChecked", format!("HAProxy does not check the servers of {name}"));
    }
    let down: Vec<String> = checked
        .iter()
        .flat_map(|(name, b)| b.down.iter().map(move |server| format!("{name}/{server}")))
        .collect();
    let up: usize = checked.iter().map(|(_, b)| b.up).sum();
    if down.is_empty() {
        Verdict::ok("AllUp", format!("{up} servers are up"))
    } else {
        Verdict::warning("ServersDown", format!("down: {}; {up} servers are up", down.join(", ")))
    }
}

fn parse_backends(text: &str) -> Option<BTreeMap<String, Backend>> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next()?.strip_prefix("# ")?.split(',').collect();
    let column = |name: &str| header.iter().position(|field| *field == name);
    let (name, server, status) = (column("pxname")?, column("svname")?, column("status")?);
    let mut backends: BTreeMap<String, Backend> = BTreeMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        let (server, status) = (*fields.get(server)?, *fields.get(status)?);
        if matches!(server, "FRONTEND" | "BACKEND") {
            continue;
        }
        let backend = backends.entry((*fields.get(name)?).to_owned()).or_default();
        match status.split_whitespace().next() {
            Some("UP") => backend.up += 1,
            Some("DOWN") => backend.down.push(server.to_owned()),
            // Maintenance and draining are somebody's intent.
            Some("MAINT" | "DRAIN" | "NOLB") => {}
            _ => backend.unchecked += 1,
        }
    }
    Some(backends)
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::verdict::Verdict;

    fn statistics(servers: &[(&str, &str, &str)]) -> Result<String, String> {
        let mut text = "# pxname,svname,qcur,status,weight,\n".to_owned();
        text.push_str("api,FRONTEND,0,OPEN,,\napi,BACKEND,0,UP,3,\n");
        for (backend, server, status) in servers {
            text.push_str(&format!("{backend},{server},0,{status},1,\n"));
        }
        Ok(text + "\n")
    }

    #[test]
    fn counts_servers_by_backend() {
        let table = [
            (
                statistics(&[("api", "m1", "UP"), ("api", "m2", "UP 1/3")]),
                Verdict::ok("AllUp", "2 servers are up"),
            ),
            (
                statistics(&[("api", "m1", "UP"), ("api", "m2", "DOWN"), ("api", "m3", "MAINT")]),
                Verdict::warning("ServersDown", "down: api/m2; 1 servers are up"),
            ),
            (
                statistics(&[("api", "m1", "DOWN 1/2"), ("web", "w1", "UP")]),
                Verdict::critical("NoServerUp", "no server is up in api"),
            ),
            (
                statistics(&[("api", "m1", "no check")]),
                Verdict::unknown("NotChecked", "HAProxy does not check the servers of api"),
            ),
            (statistics(&[]), Verdict::unknown("NoServers", "HAProxy has no backend with servers")),
            (
                Ok("nonsense".to_owned()),
                Verdict::unknown("NotUnderstood", "HAProxy's statistics have an unknown form"),
            ),
            (Err("refused".to_owned()), Verdict::unknown("NoStatistics", "refused")),
        ];
        for (observed, expected) in table {
            assert_eq!(judge(&observed), expected, "{observed:?}");
        }
    }
}
