//! What was wrong, told so that the end of a log that was cut still shows the cause: all of it first, then a short digest,
//! then one line in the form of Rust's own tests, for those who count.

use std::fmt;

/// Lines of all failures told in full.
const SHOWN: usize = 80;
/// Lines of each failure in the digest, and their greatest length.
const LINES: usize = 3;
const WIDTH: usize = 200;
/// Failures in the digest.
const MOST: usize = 12;

/// The failures of a run.
pub struct Digest {
    seed: u64,
    checks: usize,
    failures: Vec<(String, Vec<String>)>,
}

impl Digest {
    /// Of a run with this seed that checks so many things.
    pub fn new(seed: u64, checks: usize) -> Self {
        Self { seed, checks, failures: Vec::new() }
    }

    /// Notes what was wrong on one kind of node.
    pub fn add(&mut self, kind: &str, step: &str, lines: Vec<String>) {
        self.failures.push((format!("{kind}, {step}"), lines));
    }

    /// Nothing was wrong.
    pub fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }
}

fn cut(line: &str) -> String {
    let short: String = line.chars().take(WIDTH).collect();
    if short.len() < line.len() { format!("{short}…") } else { short }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_empty() {
            let all = self.failures.iter().flat_map(|(at, lines)| lines.iter().map(move |l| (at, l)));
            writeln!(f, "\nfailures:")?;
            all.take(SHOWN).try_for_each(|(at, line)| writeln!(f, "  {at}: {line}"))?;
            writeln!(f, "\nfailed packet proof, seed {}:", self.seed)?;
            for (at, lines) in self.failures.iter().take(MOST) {
                writeln!(f, "  {at}: {} lines", lines.len())?;
                lines.iter().take(LINES).try_for_each(|line| writeln!(f, "    {}", cut(line)))?;
            }
            if self.failures.len() > MOST {
                writeln!(f, "  and {} more", self.failures.len() - MOST)?;
            }
            let again = format!("FIREWALL_SEED={} cargo test -p tests --test firewall_packets", self.seed);
            writeln!(f, "  again: {again} (FIREWALL_KIND=\"proxy dmz\" for one kind of node)")?;
        }
        let failed = self.failures.len();
        let passed = self.checks.saturating_sub(failed);
        let word = if failed == 0 { "ok" } else { "FAILED" };
        writeln!(f, "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored")
    }
}
