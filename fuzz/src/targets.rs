//! One function for each parser of data from outside: bytes in, a panic when something that must hold does not. No I/O.
//!
//! The fuzzer calls them (`fuzz_targets/`), and so does `installer/tests/fuzz_corpus.rs`, which replays every corpus in the plain
//! test run. A new one is a function here, a line in [`TARGETS`], a file in `fuzz_targets/`, a `[[bin]]` and a folder in `corpus/`.

use installer::config_source::parse_kernel_args;
use installer::console::{Script, ask_network_and_url};
use installer::early_network::parse_early_network;
use installer::inventory::{
    Ends, escape_json, inspect_tables, parse_blkid, parse_disks, parse_inventory, parse_lldp_frames,
    parse_neighbours, parse_smart, parse_udev, parse_volumes, parse_wipefs, render_inventory, sanitise,
    sniff_signatures,
};
use installer::plan::data::DataMark;
use installer::plan::mark::{parse_mark, render_mark};
use installer::preflight::collect::{
    parse_answer, parse_kernel_messages, parse_kernel_version_date, parse_links, parse_modules, parse_routes,
    parse_wear,
};
use installer::probe::{Heard, parse_frame, render_answer};
use installer::record::parse_record;
use installer::support::{Redactor, secrets_in_toml};
use profiles::network::Network;
use profiles::node::{SizeRange, matches_glob};
use profiles::pins::Pins;
use profiles::{Code, Loaded, load};

/// A target: its name and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("cluster_file", cluster_file),
    ("secrets", secrets),
    ("pins", pins),
    ("redaction", redaction),
    ("typed_answers", typed_answers),
    ("size_range", size_range),
    ("glob", glob),
    ("kernel_args", kernel_args),
    ("inventory", inventory),
    ("lsblk", lsblk),
    ("udev", udev),
    ("blkid", blkid),
    ("wipefs", wipefs),
    ("smart", smart),
    ("lldp", lldp),
    ("partition_tables", partition_tables),
    ("install_record", install_record),
    ("unfinished_mark", unfinished_mark),
    ("data_mark", data_mark),
    ("lldp_frames", lldp_frames),
    ("shown_text", shown_text),
    ("frames", frames),
    ("early_network", early_network),
    ("kernel_log", kernel_log),
    ("ip_json", ip_json),
    ("wear", wear),
    ("time_answer", time_answer),
];

/// A small good file, for what stands beside another.
const CLUSTER: &[u8] = include_bytes!("../../profiles/examples/single.toml");

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// No control character but the end of a line.
fn assert_harmless(shown: &str) {
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
}

fn assert_sane(loaded: &Loaded) {
    let errors = loaded.diagnostics.iter().any(|found| found.is_error());
    assert_eq!(errors, loaded.cluster.is_none());
    for found in &loaded.diagnostics {
        assert!(found.code != Code::Internal && found.line > 0 && found.column > 0, "{found}");
        assert!(!found.to_string().contains('\n'), "{found}");
    }
}

/// The cluster file: a cluster that resolves, or reasons.
pub fn cluster_file(data: &[u8]) {
    let loaded = load("cluster.toml", data, None);
    assert_sane(&loaded);
    if let Some(cluster) = &loaded.cluster {
        for name in cluster.node_names() {
            let node = cluster.resolve(name).expect("a node of the file resolves");
            let json = serde_json::to_string(&node).expect("a node config can be written");
            assert_eq!(
                serde_json::from_str::<profiles::node::NodeConfig>(&json).expect("and read again"),
                node
            );
        }
    }
}

/// Texts of a support bundle: no known secret is left, and a second time there is nothing to take out. The first line is the secret.
pub fn redaction(data: &[u8]) {
    let text = text(data);
    let secret = text.lines().next().unwrap_or_default().to_owned();
    let redactor = Redactor::new(vec![profiles::secret::Secret::new(secret)]);
    let (once, _) = redactor.redact(&text);
    assert!(!redactor.finds_known(&once), "{once:?}");
    assert_eq!(redactor.redact(&once).0, once);
    assert!(secrets_in_toml(data).iter().all(|secret| !secret.expose().is_empty()));
}

/// Lines typed at the console: what comes out are kernel arguments that can be read, and nothing moves the cursor.
pub fn typed_answers(data: &[u8]) {
    const MACHINE: &str = include_str!("../../installer/tests/fixtures/inventory/eight-nics.json");
    let inventory = parse_inventory(MACHINE).expect("a fixture");
    let mut script =
        Script { typed: text(data).lines().map(|line| Some(line.to_owned())).collect(), ..Script::default() };
    let answers = ask_network_and_url(&mut script, &inventory);
    assert!(script.lines.iter().all(|line| !line.chars().any(char::is_control)), "{:?}", script.lines);
    if let Some(answers) = answers {
        let args = parse_kernel_args(&answers.kernel_arguments()).expect("answers are arguments");
        assert_eq!(args.config.is_some(), answers.url.is_some());
        let network = parse_early_network(&answers.kernel_arguments()).expect("answers are arguments");
        assert_eq!(network.is_some(), answers.network.is_some());
    }
}

/// The secrets file: nothing of a secret is repeated in a message.
pub fn secrets(data: &[u8]) {
    let loaded = load("cluster.toml", CLUSTER, Some(("secrets.toml", data)));
    assert_sane(&loaded);
}

/// The pins.
pub fn pins(data: &[u8]) {
    if let Err(found) = Pins::parse("pins.toml", data) {
        assert!(!found.is_empty() && found.iter().all(|found| found.code != Code::Internal), "{found:?}");
    }
}

/// The size grammar: what is taken is written back the same, and a bound is on one side of the range.
pub fn size_range(data: &[u8]) {
    let text = text(data);
    if let Ok(range) = text.parse::<SizeRange>() {
        assert_eq!(range.to_string(), text);
        assert_eq!(range.to_string().parse::<SizeRange>().as_ref(), Ok(&range));
        assert!(range.is_empty() || range.contains(range.most_bytes()));
        assert!(!range.is_empty() || [0, 1, u64::MAX].iter().all(|bytes| !range.contains(*bytes)));
    }
}

/// Patterns: a text fits itself with every sign replaced, and any text fits `*`.
pub fn glob(data: &[u8]) {
    let text = text(data.get(..data.len().min(512)).unwrap_or_default());
    let (pattern, name) = text.split_once('\n').unwrap_or((&text, ""));
    let _ = matches_glob(pattern, name);
    assert!(matches_glob("*", name) && matches_glob(&"?".repeat(name.chars().count()), name));
    assert!(name.contains(['*', '?']) || matches_glob(name, name));
}

/// The kernel's arguments.
pub fn kernel_args(data: &[u8]) {
    match parse_kernel_args(&text(data)) {
        Ok(args) => args.warnings.iter().for_each(|warning| assert_harmless(warning)),
        Err(refusal) => assert_harmless(&refusal.to_string()),
    }
}

/// A saved inventory: what is read is written back the same, and can be shown.
pub fn inventory(data: &[u8]) {
    if let Ok(inventory) = parse_inventory(&text(data)) {
        let json = serde_json::to_string(&inventory).expect("an inventory can be written");
        assert_eq!(parse_inventory(&json).expect("and read again"), inventory);
        assert_harmless(&render_inventory(&inventory));
    }
}

/// `lsblk`: no disk is empty before somebody has looked, and what a device says of itself is harmless from the start.
pub fn lsblk(data: &[u8]) {
    let text = text(data);
    for disk in parse_disks(&text).unwrap_or_default() {
        assert!(!disk.empty && disk.unfinished_install.is_none() && disk.install_record.is_none());
        let own = [&disk.model, &disk.serial, &disk.wwn, &disk.transport].into_iter().flatten();
        own.for_each(|text| assert_harmless(text));
        disk.contents
            .iter()
            .filter_map(|found| found.label.as_ref())
            .for_each(|label| assert_harmless(label));
    }
    let _ = parse_volumes(&text);
}

/// A record of udev.
pub fn udev(data: &[u8]) {
    let record = parse_udev(&text(data));
    assert!(record.by_id.is_sorted());
    record.by_id.iter().chain(&record.by_path).chain(&record.serial).for_each(|text| assert_harmless(text));
}

/// `blkid`.
pub fn blkid(data: &[u8]) {
    for found in parse_blkid(&text(data), "/dev/x") {
        assert_harmless(&format!("{}{}", found.kind, found.label.unwrap_or_default()));
    }
}

/// `wipefs`.
pub fn wipefs(data: &[u8]) {
    for found in parse_wipefs(&text(data), "/dev/x").unwrap_or_default() {
        assert_harmless(&format!("{}{}", found.kind, found.label.unwrap_or_default()));
    }
}

/// `smartctl`: a disk is well only when the text says so.
pub fn smart(data: &[u8]) {
    let text = text(data);
    let health = parse_smart(&text);
    assert_harmless(&health.detail.clone().unwrap_or_default());
    let is_passed = health.status == installer::inventory::HealthStatus::Passed;
    assert!(!is_passed || text.contains("true"), "{text}");
}

/// `lldpcli`.
pub fn lldp(data: &[u8]) {
    for neighbour in parse_neighbours(&text(data)).values() {
        neighbour.system.iter().chain(&neighbour.port).for_each(|text| assert_harmless(text));
    }
}

/// Both ends of a disk: the first eight bytes are its size, the next two the sector size.
pub fn partition_tables(data: &[u8]) {
    let Some((numbers, bytes)) = data.split_first_chunk::<10>() else { return };
    let number = |range: std::ops::Range<usize>| {
        numbers
            .get(range)
            .unwrap_or_default()
            .iter()
            .rev()
            .fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (disk_bytes, sector_bytes) = (number(0..8), number(8..10));
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    for (disk_bytes, sector_bytes) in
        [(disk_bytes, sector_bytes), (bytes.len() as u64, 512), (bytes.len() as u64, 4096)]
    {
        let found = inspect_tables(&Ends { head, tail, disk_bytes, sector_bytes });
        found.iter().for_each(|text| assert_harmless(text));
    }
    let _ = sniff_signatures(bytes);
}

/// The install record: what is read can be written and read again.
pub fn install_record(data: &[u8]) {
    if let Ok(record) = parse_record(&text(data)) {
        let json = record.render().expect("a record can be written");
        assert_eq!(parse_record(&json).expect("and read again"), record);
    }
}

/// The unfinished mark: only what we would have written is one.
pub fn unfinished_mark(data: &[u8]) {
    if let Some(id) = parse_mark(data) {
        assert!(data.starts_with(b"METALSTRAP UNFINISHED v1 "));
        assert_eq!(parse_mark(&render_mark(id)), Some(id));
    }
}

/// The frames of neighbours that networkd keeps.
pub fn lldp_frames(data: &[u8]) {
    if let Some(neighbour) = parse_lldp_frames(data) {
        assert!(neighbour.vlans.iter().all(|id| (1..=4094).contains(id)));
        neighbour.system.iter().chain(&neighbour.port).for_each(|text| assert_harmless(text));
    }
}

/// The block that says whose data disk it is.
pub fn data_mark(data: &[u8]) {
    if let Some(mark) = DataMark::parse(data) {
        assert!(data.starts_with(b"METALSTRAP DATA v1 {"));
        if let Some(block) = mark.render() {
            assert_eq!((block.len(), DataMark::parse(&block)), (4096, Some(mark)));
        }
    }
}

/// What is shown of a device's own words.
pub fn shown_text(data: &[u8]) {
    let json = serde_json::to_string(&text(data)).expect("a text can be written");
    let escaped = escape_json(&json);
    assert_harmless(&escaped);
    assert_eq!(serde_json::from_str::<String>(&escaped).expect("and read again"), text(data));
    let shown = sanitise(&text(data));
    assert!(shown.chars().all(|c| !c.is_control()) && shown.chars().count() <= 257, "{shown:?}");
}

/// Frames from the network: nobody but a single machine is ever named, and whoever asks can be answered.
pub fn frames(data: &[u8]) {
    for heard in parse_frame(data) {
        match heard {
            Heard::Holder { mac, .. } | Heard::Candidate { mac, .. } => {
                assert!(mac.0[0] & 1 == 0 && mac.0 != [0; 6], "{mac}");
            }
            Heard::Asked { address, by, mac } => {
                let answer =
                    render_answer(mac, address, by, mac).expect("asked and asking are of one family");
                assert_eq!(parse_frame(&answer), [Heard::Holder { address, mac }]);
            }
            Heard::Echo { .. } | Heard::TooBig { .. } | Heard::Dns { .. } => {}
        }
    }
}

/// Network arguments of a kernel command line: a network whose order holds, or reasons that can be shown.
pub fn early_network(data: &[u8]) {
    match parse_early_network(&text(data)) {
        Ok(None) => {}
        Ok(Some(network)) => {
            assert!(network.addressed().next().is_some(), "{network:?}");
            network.in_words().iter().for_each(|line| assert_harmless(line));
            let again = Network::new(network.links().to_vec()).expect("what was put in order is in order");
            assert_eq!(again, network);
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            errors.iter().for_each(|error| assert_harmless(&error.to_string()));
        }
    }
}

/// Kernel log, `/proc/version` and `modules.dep`: what is shown is harmless and bounded.
pub fn kernel_log(bytes: &[u8]) {
    let text = text(bytes);
    let messages = parse_kernel_messages(&text);
    for line in messages.hardware_errors.iter().chain(&messages.missing_firmware) {
        assert_harmless(line);
    }
    assert!(messages.hardware_errors.len() <= 50 && messages.missing_firmware.len() <= 50);
    let _any_date = parse_kernel_version_date(&text);
    assert!(parse_modules(&text).iter().all(|name| !name.contains(['-', '/', '\n'])));
}

/// Output of `ip -json`.
pub fn ip_json(bytes: &[u8]) {
    let text = text(bytes);
    if let Some(routes) = parse_routes(&text) {
        routes.iter().for_each(|route| assert_harmless(&route.interface));
    }
    if let Some(links) = parse_links(&text) {
        assert!(links.values().all(|mtu| *mtu > 0));
    }
}

/// Output of `smartctl --attributes`: a share of life from the attributes of ATA is one.
pub fn wear(bytes: &[u8]) {
    let _any = parse_wear(&text(bytes));
}

/// The answer of a time server, to a question that was sent and answered at times of its own choosing.
pub fn time_answer(bytes: &[u8]) {
    let time = |at: usize| {
        let mut time = [0; 8];
        let from = bytes.get(at..).unwrap_or_default();
        let length = from.len().min(8);
        time[..length].copy_from_slice(&from[..length]);
        u64::from_be_bytes(time)
    };
    if let Ok(offset) = parse_answer(bytes, time(24), time(40)) {
        assert!(offset.is_finite());
    }
}
