//! A machine with a secret of every kind in every source; none of them comes out.

use super::{Bundle, MANIFEST_NAME, Machine, SOURCES, Source, collect_bundle};
use flate2::read::GzDecoder;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// The secrets as they lie on the machine.
const TOKEN: &str =
    "K10aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999::server:CANARY-server-password";
const BARE: &str = "CANARY/bare token+1";
/// Secrets that only the patterns know.
const UNKNOWN: &str = "-----BEGIN EC PRIVATE KEY-----\nCANARYkeyline1\n-----END EC PRIVATE KEY-----\n\
    client-key-data: LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0tLS0tQ0FOQVJZ\n\
    curl -H 'Authorization: Bearer CANARY.bearer.1' https://bob:CANARY-url@example.org/x?token=CANARY-query\n\
    {\"password\": \"CANARY json word\", \"psk\": \"CANARY-psk\"}\nauth_pass CANARY1\n";

/// What none of them leaves behind.
const TRACES: [&str; 4] = ["CANARY", "aaaabbbbcccc", "Q0FOQVJZ", "LS0tLS1CRUdJTiBFQyBQUklWQVRF"];

fn planted(name: &str) -> String {
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, BARE);
    format!(
        "{name} begins\n{TOKEN}\njoin with '{BARE}' or {base64} or CANARY%2Fbare%20token%2B1\n{UNKNOWN}{name} ends\n"
    )
}

/// Gives the planted text for everything, and denies what is in `denied`.
#[derive(Default)]
struct Planted {
    installed: bool,
    denied: Vec<&'static str>,
}

impl Planted {
    fn give(&self, name: &str) -> Result<Vec<u8>, String> {
        match self.denied.iter().find(|denied| name.contains(**denied)) {
            Some(denied) => Err(format!("reading {denied} near {BARE}: Permission denied (os error 13)")),
            None => Ok(planted(name).into_bytes()),
        }
    }
}

impl Machine for Planted {
    fn read(&mut self, path: &str, _max_bytes: u64) -> Result<(Vec<u8>, bool), String> {
        let bytes = match path {
            "/proc/cmdline" if self.installed => {
                format!("metalstrap.slot=PARTUUID=1 {}", planted(path)).into_bytes()
            }
            "/proc/sys/kernel/hostname" => b"Master_1\n".to_vec(),
            "/etc/rancher/k3s/server-token" => format!("{TOKEN}\n").into_bytes(),
            "/etc/rancher/k3s/agent-token" => format!("{BARE}\n").into_bytes(),
            "/run/metalstrap/known-secrets" => b"\n".to_vec(),
            other
                if other.starts_with("/etc/rancher/node/")
                    || other.starts_with("/var/lib/rancher/k3s/server/") =>
            {
                return Err("No such file or directory (os error 2)".to_owned());
            }
            other => self.give(other)?,
        };
        Ok((bytes, path.ends_with("cpuinfo")))
    }
    fn list(&mut self, folder: &str) -> Result<Vec<String>, String> {
        self.give(folder)?;
        Ok(["10-a.network", "CANARY%2Fbare%20token%2B1", "sub/agent-token"]
            .map(|name| format!("{folder}/{name}"))
            .to_vec())
    }
    fn run(&mut self, command: &[&str]) -> Result<Vec<u8>, String> {
        self.give(&command.join(" "))
    }
    fn inventory(&mut self) -> Result<Vec<u8>, String> {
        self.give("inventory")
    }
    fn health(&mut self) -> Result<Vec<u8>, String> {
        self.give("health")
    }
}

fn now() -> Timestamp {
    "2026-11-21T13:00:00Z".parse().unwrap()
}

fn unpack(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(bytes));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name, text)
    });
    entries.collect()
}

fn collect(machine: &mut Planted) -> (Bundle, BTreeMap<String, String>) {
    let bundle = collect_bundle(machine, now()).unwrap();
    let files = unpack(&bundle.pack().unwrap());
    (bundle, files)
}

#[test]
fn no_trace_of_any_planted_secret_is_anywhere_in_the_bundle() {
    // The control: each trace is in what the sources give.
    assert!(TRACES.iter().all(|trace| planted("x").contains(trace)), "{}", planted("x"));
    for installed in [false, true] {
        let (bundle, files) =
            collect(&mut Planted { installed, denied: vec!["/etc/chrony", "nft", "/proc/modules"] });
        for (name, text) in &files {
            for trace in TRACES {
                assert!(!text.contains(trace) && !name.contains(trace), "{trace} is in {name}: {text}");
            }
        }
        assert_eq!(bundle.folder(), "metalstrap-support-master-1-20261121T130000Z");
        // Every source is there or accounted for, and what is no secret is untouched.
        let manifest = bundle.manifest();
        for item in SOURCES.iter().filter(|item| item.is_for(installed)) {
            let file = manifest.files.iter().find(|file| file.name.starts_with(item.name));
            let missing = manifest.missing.iter().any(|missing| missing.name.starts_with(item.name));
            assert!(file.is_some() || missing, "{}", item.name);
            if let Some(file) = file {
                let Some(text) = files.get(&format!("{}/{}", bundle.folder(), file.name)) else {
                    panic!("{} is not among {:?}", file.name, files.keys());
                };
                assert!(text.contains(" begins\n") && text.ends_with(" ends\n"), "{}: {text}", file.name);
                let count = |rule: &str| file.redacted.get(rule).copied().unwrap_or_default();
                assert!(count("known-secret") >= 4 && count("private-key") >= 2, "{file:?} {text}");
            }
        }
    }
}

#[test]
fn the_manifest_lists_every_file_and_what_could_not_be_had() {
    let (bundle, files) = collect(&mut Planted { installed: true, denied: vec!["nft"] });
    let folder = bundle.folder();
    let manifest: serde_json::Value =
        serde_json::from_str(&files[&format!("{folder}/{MANIFEST_NAME}")]).unwrap();
    assert_eq!(manifest["schema"], "metalstrap.support/v1");
    assert_eq!((&manifest["system"], &manifest["host"]), (&"installed".into(), &"master-1".into()));
    let listed = manifest["files"].as_array().unwrap();
    assert_eq!(listed.len() + 1, files.len());
    for file in listed {
        let text = &files[&format!("{folder}/{}", file["name"].as_str().unwrap())];
        assert_eq!(file["length"], text.len());
        assert_eq!(file["sha256"], crate::plan::sha256_hex(text.as_bytes()));
        assert_eq!(file["cut"], file["source"] == "/proc/cpuinfo");
    }
    let missing = manifest["missing"].as_array().unwrap();
    let find = |name: &str| missing.iter().find(|m| m["name"] == name).unwrap();
    assert_eq!(
        find("firewall/ruleset.txt")["why"],
        "reading nft near [redacted:known-secret]: Permission denied (os error 13)"
    );
    assert_eq!(
        find("node/metalstrap/sub/agent-token")["why"],
        "left out: a file of this name holds a secret"
    );
    // Two bundles of one machine at one time are the same bytes.
    let again = collect_bundle(&mut Planted { installed: true, denied: vec!["nft"] }, now()).unwrap();
    assert_eq!(again.pack().unwrap(), bundle.pack().unwrap());
}

#[test]
fn secret_files_that_may_not_be_read_are_named() {
    struct Denied;
    impl Machine for Denied {
        fn read(&mut self, path: &str, _max_bytes: u64) -> Result<(Vec<u8>, bool), String> {
            match path {
                "/etc/rancher/k3s/server-token" => Err("Permission denied (os error 13)".to_owned()),
                _ => Err("No such file or directory (os error 2)".to_owned()),
            }
        }
        fn list(&mut self, _: &str) -> Result<Vec<String>, String> {
            Err("no".to_owned())
        }
        fn run(&mut self, _: &[&str]) -> Result<Vec<u8>, String> {
            Err("no".to_owned())
        }
        fn inventory(&mut self) -> Result<Vec<u8>, String> {
            Err("no".to_owned())
        }
        fn health(&mut self) -> Result<Vec<u8>, String> {
            Err("no".to_owned())
        }
    }
    let bundle = collect_bundle(&mut Denied, now()).unwrap();
    let manifest = bundle.manifest();
    assert_eq!(manifest.unread_secrets, ["/etc/rancher/k3s/server-token: Permission denied (os error 13)"]);
    assert_eq!((manifest.files.len(), manifest.host.as_str()), (0, "unknown"));
    assert_eq!(manifest.missing.len(), SOURCES.iter().filter(|item| item.is_for(false)).count());
}

#[test]
fn a_source_is_named_once_and_none_is_made_for_secrets() {
    let mut names: Vec<&str> = SOURCES.iter().map(|item| item.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    for item in SOURCES {
        if let Source::File(path) | Source::Folder(path) = item.source {
            assert!(
                !path.contains("token")
                    && !path.contains("/cred")
                    && !path.contains("/tls")
                    && path != "/etc/shadow"
            );
        }
    }
}

#[test]
fn every_unit_of_ours_has_its_journal_in_the_bundle() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/overlay/usr/lib/systemd/system");
    let names =
        std::fs::read_dir(units).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // The shell is an operator's own doing.
    let ours = |name: &String| {
        name.starts_with("metalstrap-") && name.ends_with(".service") && name != "metalstrap-shell.service"
    };
    let has_journal = |unit: &String| {
        SOURCES.iter().any(|item| match item.source {
            Source::Command(words) => {
                words.first() == Some(&"journalctl") && words.last() == Some(&unit.as_str())
            }
            _ => false,
        })
    };
    let without: Vec<String> = names.filter(ours).filter(|unit| !has_journal(unit)).collect();
    assert_eq!(without, Vec::<String>::new());
}
