//! The rules replaced again and again while packets that must not pass arrive.

use super::Bench;
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tests::firewall::kube_proxy::{self, Mode};
use tests::firewall::reload;

const RELOADS: usize = 300;
const KILLS: u64 = 20;
/// Tries until the flood must hear an answer without rules.
const FLOOD_TRIES: usize = 20;
/// First source port of the flood that must hear nothing.
const FIRST_PORT: u16 = 38_000;

/// Replaced under fire: nothing leaks, and the tables of others stay as they are.
pub(super) fn reloads(bench: &mut Bench) -> Result<usize> {
    let kind = bench.kind();
    // What others have beside our table; a proxy has nothing.
    let foreign = |bench: &Bench| match kind.runs_pods() {
        true => kube_proxy::listing(bench.world.own(), Mode::Iptables),
        false => Ok(String::new()),
    };
    bench.unload()?;
    let mut open = reload::Flooded::default();
    for _ in 0..FLOOD_TRIES {
        open = reload::flood(&bench.world, FIRST_PORT - reload::FLOOD_PORTS, || {
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        })?;
        if open.answers > 0 {
            break;
        }
    }
    ensure!(open.answers > 0, "void: without rules the flood hears no answer ({} sent)", open.sent);
    bench.load()?;
    let before = foreign(bench)?;
    let file = tempfile::NamedTempFile::new().context("making a scratch file")?;
    std::fs::write(file.path(), &bench.rules).context("writing the rules")?;
    let flooded = reload::flood(&bench.world, FIRST_PORT, || {
        for _ in 0..RELOADS {
            bench.world.own().nft(&bench.rules).context("loading the rules")?;
        }
        for number in 0..KILLS {
            reload::kill_midway(&bench.world, file.path(), Duration::from_micros(number * 500))?;
        }
        Ok(())
    })?;
    if flooded.answers > 0 {
        let line = format!("{} answers to {} forbidden SYNs", flooded.answers, flooded.sent);
        bench.fail("reloads", vec![line]);
    }
    if foreign(bench)? != before {
        bench.fail("reloads", vec!["a table of others has changed".to_owned()]);
    }
    bench
        .world
        .own()
        .run(&["nft", "list", "table", "inet", "metalstrap"], "")
        .context("after killing nft")?;
    Ok(RELOADS)
}
