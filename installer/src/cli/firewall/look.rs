//! `show`, `explain`, `diff`: nothing is changed.

use super::super::{Global, OutputFormat, print_bytes, print_json};
use super::{ExplainArgs, Node, NodeArgs, ShowArgs, read_nodes};
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::firewall::explain::{self, Answer};
use crate::firewall::{Model, Origin};
use anyhow::{Context as _, anyhow};
use serde::Serialize;
use std::collections::BTreeMap;
use sysio::nft;

const EXPLAIN_SCHEMA: &str = "metalstrap.firewall-explain/v1";
const DIFF_SCHEMA: &str = "metalstrap.firewall-diff/v1";
const SHOW_SCHEMA: &str = "metalstrap.firewall/v1";

#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    nodes: Vec<&'a Model>,
    /// The rules of each node by its host name, when they were asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rules: BTreeMap<&'a str, String>,
}

/// Prints flows, or rules.
pub(super) fn show(args: &ShowArgs, global: &Global) -> Result<ExitCode, Failure> {
    let nodes = read_nodes(&args.node)?;
    let models = || nodes.iter().map(|node| &node.model);
    let mut rules = BTreeMap::new();
    for model in models().filter(|_| args.rules) {
        let text = crate::render::firewall::file(model).exit_with(ExitCode::InvalidInput)?;
        rules.insert(model.hostname.as_str(), text);
    }
    match global.output {
        OutputFormat::Json => print_json(&Shown { schema: SHOW_SCHEMA, nodes: models().collect(), rules })?,
        OutputFormat::Table => {
            let text = |model: &Model| rules.remove(model.hostname.as_str()).unwrap_or_else(|| flows(model));
            print_bytes(models().map(text).collect::<String>().as_bytes())?;
        }
    }
    Ok(ExitCode::Ok)
}

fn flows(model: &Model) -> String {
    let mut text = format!("{} ({})\n", model.hostname, model.kind);
    for flow in &model.flows {
        let added = match flow.origin {
            Origin::Operator(_) => " [added by the operator]",
            Origin::Builtin => "",
        };
        text += &format!("  in   {}: {}{added}\n", flow.id, explain::describe(flow));
        if let Some(reason) = &flow.accept_risk {
            text += &format!("       risk accepted: {reason}\n");
        }
    }
    match &model.egress {
        None => text += "  out  anything\n",
        Some(egress) => {
            for flow in egress {
                let to: Vec<String> = flow.destinations.iter().map(ToString::to_string).collect();
                text += &format!("  out  {}: {} to {}: {}\n", flow.id, flow.service, to.join(", "), flow.why);
            }
        }
    }
    model.gaps.iter().for_each(|gap| text += &format!("  not enforced here: {gap}\n"));
    text
}

#[derive(Serialize)]
struct Explained<'a> {
    schema: &'static str,
    answers: &'a [Answer],
}

/// Answers a question. The answer, whatever it is, ends with 0.
pub(super) fn explain(args: &ExplainArgs, global: &Global) -> Result<ExitCode, Failure> {
    let kind = explain::parse_what(&args.what).exit_with(ExitCode::InvalidInput)?;
    let (who, to) = match args.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["from", who] => ((*who).to_owned(), None),
        ["from", who, "to", to] => ((*who).to_owned(), Some((*to).to_owned())),
        _ => {
            let message = "ask as in: metalstrap firewall explain tcp/30080 from dmz to worker";
            return Err(Failure::new(ExitCode::InvalidInput, anyhow!(message)));
        }
    };
    let Ok(from) = who.parse();
    let nodes = read_nodes(&args.node)?;
    let wanted = |node: &&Node| explain::is_target(&node.config.hostname, node.kind(), to.as_deref());
    let mut answers = vec![];
    for node in nodes.iter().filter(wanted) {
        let to = explain::To { load_balancer: to.as_deref() == Some("load-balancer"), six: args.ipv6 };
        let answer = explain::explain(&node.config, &node.model, kind, &from, to);
        answers.push(answer.exit_with(ExitCode::InvalidInput)?);
    }
    if answers.is_empty() {
        let names: Vec<&str> = nodes.iter().map(|node| node.config.hostname.as_str()).collect();
        let to = to.unwrap_or_default();
        let message = format!("`{to}` is no node and no role of what is asked about ({})", names.join(", "));
        return Err(Failure::new(ExitCode::InvalidInput, anyhow!(message)));
    }
    match global.output {
        OutputFormat::Json => print_json(&Explained { schema: EXPLAIN_SCHEMA, answers: &answers })?,
        OutputFormat::Table => {
            let lines: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
            print_bytes(lines.as_bytes())?;
        }
    }
    Ok(ExitCode::Ok)
}

/// What differs between the kernel's table and the one the node should have.
#[derive(Serialize)]
struct Difference {
    schema: &'static str,
    same: bool,
    /// Fingerprint of the table the node should have.
    expected_sha256: String,
    /// Fingerprint of the kernel's table; `None` when there is none.
    loaded_sha256: Option<String>,
    /// Sets, chains, rules and counters the kernel lacks.
    missing: Vec<String>,
    /// Those that nobody rendered.
    foreign: Vec<String>,
}

/// Compares canonical JSON of our own table only. Ends with 4 when they differ.
pub(super) fn diff(args: &NodeArgs, global: &Global) -> Result<ExitCode, Failure> {
    let mut nodes = read_nodes(args)?;
    if nodes.len() > 1 {
        return Err(Failure::new(ExitCode::InvalidInput, anyhow!("name the node with --node")));
    }
    let node = nodes.pop().context("no node to compare").exit_with(ExitCode::InvalidInput)?;
    let rules = crate::render::firewall::file(&node.model).exit_with(ExitCode::InvalidInput)?;
    let expected = nft::rehearse(&rules).exit_with(ExitCode::Environment)?;
    let expected = expected.context("the rules make no table").exit_with(ExitCode::Environment)?;
    let loaded = nft::read_table().exit_with(ExitCode::Environment)?;
    let (wanted, found) = (nft::entries(&expected), loaded.as_ref().map(nft::entries).unwrap_or_default());
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|entry| !those.contains(entry)).cloned().collect()
    };
    let difference = Difference {
        schema: DIFF_SCHEMA,
        same: loaded.as_ref() == Some(&expected),
        expected_sha256: nft::fingerprint(&expected),
        loaded_sha256: loaded.as_ref().map(nft::fingerprint),
        missing: only(&wanted, &found),
        foreign: only(&found, &wanted),
    };
    match global.output {
        OutputFormat::Json => print_json(&difference)?,
        OutputFormat::Table => print_bytes(difference.text().as_bytes())?,
    }
    Ok(if difference.same { ExitCode::Ok } else { ExitCode::Environment })
}

impl Difference {
    fn text(&self) -> String {
        if self.same {
            return "the kernel has exactly the rules of this node\n".to_owned();
        }
        if self.loaded_sha256.is_none() {
            return "table inet metalstrap is not loaded\n".to_owned();
        }
        let lines = |sign: &str, entries: &[String]| -> String {
            entries.iter().map(|entry| format!("{sign} {entry}\n")).collect()
        };
        let text = lines("-", &self.missing) + &lines("+", &self.foreign);
        if text.is_empty() { "the same rules in another order\n".to_owned() } else { text }
    }
}
