//! Whatever the bytes are, loading gives a value or reasons, and never a panic or a bug report.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use profiles::pins::Pins;
use profiles::{Code, Loaded, load};
use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert, proptest};

const HA: &str = include_str!("../examples/ha.toml");
const PINS: &str = include_str!("../../images/pins.toml");

/// What holds of every outcome.
fn is_sane(loaded: &Loaded, bytes: &[u8]) -> Result<(), String> {
    let errors = loaded.diagnostics.iter().filter(|found| found.is_error()).count();
    if (errors == 0) != loaded.cluster.is_some() {
        return Err(format!("{errors} errors, cluster: {}", loaded.cluster.is_some()));
    }
    if !loaded.diagnostics.is_sorted() {
        return Err("not in order".to_owned());
    }
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    for found in &loaded.diagnostics {
        if found.code == Code::Internal || found.line == 0 || found.column == 0 || found.line > lines {
            return Err(found.to_string());
        }
        if found.to_string().contains('\n') {
            return Err(format!("more than one line: {found}"));
        }
    }
    if let Some(cluster) = &loaded.cluster {
        for name in cluster.node_names() {
            cluster.resolve(name).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn check(bytes: &[u8]) -> Result<(), String> {
    let _ = Pins::parse("pins.toml", bytes);
    let beside = load("cluster.toml", HA.as_bytes(), Some(("secrets.toml", bytes)));
    if let Some(bug) = beside.diagnostics.iter().find(|found| found.code == Code::Internal) {
        return Err(bug.to_string());
    }
    is_sane(&load("cluster.toml", bytes, None), bytes)
}

/// A replacement for a line's value: every TOML type and some odd texts.
fn odd_value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\"\"",
        "\"x\"",
        "\"10.0.0.11\"",
        "\"0.0.0.0/0\"",
        "\"255.255.255.255-0.0.0.0\"",
        "0",
        "-1",
        "0xffff_ffff",
        "9223372036854775807",
        "1.5",
        "nan",
        "true",
        "1979-05-27",
        "[]",
        "[[]]",
        "[1, \"a\"]",
        "{}",
        "{ a = 1 }",
        "\"\\u0000\"",
        "\"a\\nb\"",
    ])
}

proptest! {
    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(check(&bytes).is_ok(), "{:?}", check(&bytes));
    }

    #[test]
    fn random_toml_like_text(text in "([a-z\\[\\]{}=.\"' \n#,0-9-]|nodes|cluster|version = 1\n|\\[\\[nodes\\]\\]\n){0,80}") {
        prop_assert!(check(text.as_bytes()).is_ok(), "{:?}", check(text.as_bytes()));
    }

    #[test]
    fn bytes_changed_cut_and_doubled(
        changes in prop::collection::vec((0..HA.len(), any::<u8>()), 0..6),
        cut in 0..HA.len(),
        length in 0..200_usize,
        twice in any::<bool>(),
    ) {
        let mut bytes = HA.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let end = (cut + length).min(bytes.len());
        let piece: Vec<u8> = bytes[cut..end].to_vec();
        if twice {
            bytes.splice(cut..cut, piece);
        } else {
            bytes.drain(cut..end);
        }
        prop_assert!(check(&bytes).is_ok(), "{:?}", check(&bytes));
    }

    #[test]
    fn values_replaced(replacements in prop::collection::vec((0..HA.lines().count(), odd_value()), 1..4)) {
        let mut lines: Vec<String> = HA.lines().map(str::to_owned).collect();
        for (at, value) in replacements {
            if let Some((key, _)) = lines[at].clone().split_once(" = ") {
                lines[at] = format!("{key} = {value}");
            }
        }
        let text = lines.join("\n");
        prop_assert!(check(text.as_bytes()).is_ok(), "{:?}", check(text.as_bytes()));
    }

    #[test]
    fn pins_changed(at in 0..PINS.len(), byte in any::<u8>(), value in odd_value()) {
        let mut bytes = PINS.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = Pins::parse("pins.toml", &bytes);
        let _ = Pins::parse("pins.toml", PINS.replace("0\n", value).as_bytes());
    }
}

/// After which lines of the example a key may stand: headers and complete entries, not inside a list.
fn places() -> Vec<usize> {
    let mut inside = false;
    let mut places = vec![];
    for (n, line) in HA.lines().enumerate() {
        inside = if inside { line != "]" } else { line.ends_with("= [") };
        if !inside && (line.starts_with('[') || line.contains(" = ") || line == "]") && !line.starts_with('#')
        {
            places.push(n);
        }
    }
    places
}

#[test]
fn an_unknown_key_anywhere_is_exactly_one_error_there() {
    let places = places();
    assert!(places.len() > 50, "{}", places.len());
    for place in places {
        let mut lines: Vec<&str> = HA.lines().collect();
        lines.insert(place + 1, "zzzzzzzz = 1");
        let loaded = load("cluster.toml", lines.join("\n").as_bytes(), None);
        let errors: Vec<_> = loaded.diagnostics.iter().filter(|found| found.is_error()).collect();
        let [only] = errors.as_slice() else { panic!("line {place}: {errors:?}") };
        assert_eq!((only.code, only.line, only.column), (Code::KeyUnknown, place + 2, 1), "{only}");
    }
    let inline = HA.replace("{ network = \"dmz\",", "{ zzzzzzzz = 1, network = \"dmz\",");
    let loaded = load("cluster.toml", inline.as_bytes(), None);
    assert!(
        loaded
            .diagnostics
            .iter()
            .any(|found| found.code == Code::KeyUnknown && found.path.ends_with("[1].zzzzzzzz"))
    );
}

/// A node that is in its own way when there are many of it, all on one line.
const NODE: &str = "{ hostname = \"a\", role = \"worker\", address = \"10.0.0.1\" },";

#[test]
fn a_flood_of_problems_is_cut_off() {
    let floods = [
        format!("version = 1\nnodes = [{}]\n", "1,".repeat(200_000)),
        "=\n".repeat(200_000),
        format!("version = 1\n{}", (0..50_000).map(|n| format!("k{n} = 1\n")).collect::<String>()),
        format!("version = 1\ncluster.name = \"a\"\nnodes = [{}]\n", NODE.repeat(5_000)),
        HA.replace("pools = [", &format!("pools = [{}", "\"10.0.3.1-10.0.3.9\",".repeat(3_000))),
    ];
    for flood in floods {
        let loaded = load("cluster.toml", flood.as_bytes(), None);
        assert!(loaded.cluster.is_none());
        assert_eq!(loaded.diagnostics.len(), 1001);
        let last = loaded.diagnostics.iter().find(|found| found.code == Code::TooMany).unwrap();
        assert_eq!(last.message, "only the first 1000 problems are listed");
    }
}

#[test]
fn deep_nesting_is_refused_in_every_form() {
    let deep = [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
        format!("a = {{{}a = 1}}", "a.".repeat(100_000)),
        (0..2_000).map(|n| format!("[{}a]\n", "a.".repeat(n % 79))).collect(),
    ];
    for text in deep {
        let loaded = load("cluster.toml", text.as_bytes(), None);
        assert!(loaded.cluster.is_none() && is_sane(&loaded, text.as_bytes()).is_ok());
    }
}
