//! Reading config.yaml, config.yaml.d and the command line into plain values.

use super::keys::{self, Key, Kind, Scope, Support};
use super::{Problem, Role};
use crate::files::{self, Paths};
use serde_yaml_ng::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Values by key, as texts.
#[derive(Debug, Default)]
pub struct Values(BTreeMap<String, Vec<String>>);

impl Values {
    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|v| v.last()).map(String::as_str)
    }

    /// The items of a list key, commas split as k3s does.
    pub fn list(&self, key: &str) -> Vec<String> {
        let items = self.0.get(key).map(Vec::as_slice).unwrap_or_default();
        if key.ends_with("-arg") || key == "node-taint" || key == "node-label" {
            return items.to_vec();
        }
        items.iter().flat_map(|v| v.split(',')).map(|v| v.trim().to_owned()).collect()
    }

    /// A boolean, with its default.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.text(key).map_or(default, |v| v == "true")
    }
}

/// Reads everything. Problems are collected, not returned at the first.
pub fn load(role: Role, args: &[String], paths: &Paths, problems: &mut Vec<Problem>) -> Values {
    let mut values = Values::default();
    let (flags, config) = parse_flags(role, args, problems);
    let main = config
        .or_else(|| std::env::var("K3S_CONFIG_FILE").ok())
        .unwrap_or_else(|| "/etc/rancher/k3s/config.yaml".into());
    for (name, _) in std::env::vars()
        .filter(|(n, _)| n.starts_with("K3S_") && n != "K3S_CONFIG_FILE" && !n.starts_with("K3S_DOUBLE_"))
    {
        problems
            .push(Problem::new(&name, "set in the environment; the double reads config.yaml and flags only"));
    }
    for file in config_files(&paths.at(&main), problems) {
        read_file(role, &file, &mut values, problems);
    }
    for (key, mut items) in flags {
        let is_list = keys::find(&key).is_some_and(|k| k.kind == Kind::List);
        let slot = values.0.entry(key).or_default();
        if !is_list {
            slot.clear();
        }
        slot.append(&mut items);
    }
    values
}

fn config_files(main: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if main.exists() {
        found.push(main.to_path_buf());
    }
    let mut name = main.as_os_str().to_owned();
    name.push(".d");
    match std::fs::read_dir(&name) {
        Ok(entries) => {
            let mut more: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
            more.retain(|p| p.extension().is_some_and(|e| e == "yaml"));
            more.sort();
            found.append(&mut more);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => problems.push(Problem::new(&name.to_string_lossy(), &error.to_string())),
    }
    found
}

fn read_file(role: Role, path: &Path, values: &mut Values, problems: &mut Vec<Problem>) {
    let shown = path.display().to_string();
    let text = match files::read(path) {
        Ok(text) => text,
        Err(error) => return problems.push(Problem::new(&shown, &format!("{error:#}"))),
    };
    let mapping = match serde_yaml_ng::from_str::<Value>(&text) {
        Ok(Value::Mapping(mapping)) => mapping,
        Ok(Value::Null) => return,
        Ok(_) => return problems.push(Problem::new(&shown, "is not a YAML mapping")),
        Err(error) => return problems.push(Problem::new(&shown, &format!("is not YAML: {error}"))),
    };
    for (key, value) in mapping {
        let Value::String(name) = key else {
            problems.push(Problem::new(&shown, "has a key that is not a text"));
            continue;
        };
        let (base, append) = name.strip_suffix('+').map_or((name.as_str(), false), |b| (b, true));
        let Some(known) = check_key(role, base, problems) else { continue };
        match convert(known, &value) {
            Ok(items) => {
                let slot = values.0.entry(base.to_owned()).or_default();
                if !append {
                    slot.clear();
                }
                slot.extend(items);
            }
            Err(message) => problems.push(Problem::new(base, &message)),
        }
    }
    let inline =
        ["token", "agent-token"].iter().any(|k| text.lines().any(|l| l.starts_with(&format!("{k}:"))));
    match files::mode(path) {
        Ok(mode) if inline && mode & 0o077 != 0 => {
            problems
                .push(Problem::new(&shown, &format!("holds a token and has mode {mode:04o}, must be 0600")));
        }
        Ok(_) => {}
        Err(error) => problems.push(Problem::new(&shown, &format!("{error:#}"))),
    }
}

fn check_key(role: Role, name: &str, problems: &mut Vec<Problem>) -> Option<&'static Key> {
    let Some(key) = keys::find(name) else {
        problems.push(Problem::new(name, "unknown key; k3s would skip it with a warning"));
        return None;
    };
    if role == Role::Agent && key.scope == Scope::Server {
        problems.push(Problem::new(
            name,
            "is a key of k3s server, not of k3s agent; k3s would skip it with a warning",
        ));
        return None;
    }
    if key.support == Support::Refused {
        problems.push(Problem::new(name, "is known to k3s but not emulated by the double"));
        return None;
    }
    Some(key)
}

fn convert(key: &Key, value: &Value) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match (key.kind, value) {
        (Kind::Bool, Value::Bool(flag)) => Ok(vec![flag.to_string()]),
        (Kind::Bool, _) => Err("wants true or false".into()),
        (Kind::Int, Value::Number(number)) if number.is_i64() || number.is_u64() => {
            Ok(vec![number.to_string()])
        }
        (Kind::Int, _) => Err("wants a whole number".into()),
        (Kind::Text, value) => one(value).map(|v| vec![v]).ok_or_else(|| "wants a text".into()),
        (Kind::List, Value::Sequence(items)) => {
            items.iter().map(one).collect::<Option<Vec<_>>>().ok_or_else(|| "wants a list of texts".into())
        }
        (Kind::List, value) => one(value).map(|v| vec![v]).ok_or_else(|| "wants a list of texts".into()),
    }
}

type Flags = BTreeMap<String, Vec<String>>;

fn parse_flags(role: Role, args: &[String], problems: &mut Vec<Problem>) -> (Flags, Option<String>) {
    let mut flags = Flags::new();
    let mut config = None;
    let mut rest = args.iter().peekable();
    while let Some(arg) = rest.next() {
        let Some(body) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
            problems.push(Problem::new(arg, "is not a flag"));
            continue;
        };
        let (name, mut value) = body.split_once('=').map_or((body, None), |(n, v)| (n, Some(v.to_owned())));
        let is_bool = keys::find(name).is_some_and(|k| k.kind == Kind::Bool);
        if value.is_none() {
            value = if is_bool { Some("true".into()) } else { rest.next().cloned() };
        }
        let Some(value) = value else {
            problems.push(Problem::new(name, "needs a value"));
            continue;
        };
        if name == "config" {
            config = Some(value);
        } else if matches!(name, "token" | "agent-token") {
            problems.push(Problem::new(name, "stands on the command line, where every user can read it"));
        } else if let Some(key) = check_key(role, name, problems) {
            if key.kind == Kind::Bool && value != "true" && value != "false" {
                problems.push(Problem::new(name, "wants true or false"));
            } else if key.kind == Kind::Int && value.parse::<i64>().is_err() {
                problems.push(Problem::new(name, "wants a whole number"));
            } else {
                flags.entry(name.to_owned()).or_default().push(value);
            }
        }
    }
    (flags, config)
}
