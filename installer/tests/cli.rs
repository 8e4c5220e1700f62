//! The command as an operator runs it: commands that need no machine.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use assert_cmd::Command;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn metalstrap(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("metalstrap")
        .unwrap()
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn fixture(name: &str) -> String {
    format!("installer/tests/fixtures/inventory/{name}.json")
}

#[test]
fn check_accepts_the_examples() {
    let (code, out, _) = metalstrap(&["check", "profiles/examples/ha.toml"]);
    assert_eq!(code, 0, "{out}");
    let last = out.lines().last().unwrap();
    assert!(
        last.starts_with(
            "profiles/examples/ha.toml: ok, cluster ha, 8 nodes: 3 masters, 3 workers, 2 proxies (0 errors, "
        ),
        "{last}"
    );
}

#[test]
fn check_reports_every_error_and_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.toml");
    let good = include_str!("../../profiles/examples/single.toml");
    std::fs::write(&path, good.replace("hostname =", "hostnam =").replace("gateway =", "gatewai =")).unwrap();
    let (code, out, _) = metalstrap(&["check", path.to_str().unwrap(), "--output", "json"]);
    assert_eq!(code, 2);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let codes: Vec<_> =
        json["diagnostics"].as_array().unwrap().iter().map(|d| d["code"].as_str().unwrap()).collect();
    assert_eq!(codes.iter().filter(|code| **code == "E_KEY_UNKNOWN").count(), 2, "{codes:?}");
    assert_eq!((json["schema"].as_str(), json["ok"].as_bool()), (Some("metalstrap.check/v1"), Some(false)));
}

#[test]
fn a_file_that_is_not_there_is_an_error_with_its_cause() {
    let (code, out, err) = metalstrap(&["check", "/nonexistent.toml"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(err, "metalstrap: reading /nonexistent.toml: No such file or directory (os error 2)\n");
}

#[test]
fn a_wrong_argument_ends_with_2_and_help_with_0() {
    assert_eq!(metalstrap(&["chekc"]).0, 2);
    assert_eq!(metalstrap(&[]).0, 2);
    let (code, out, _) = metalstrap(&["--help"]);
    assert_eq!(code, 0);
    let text = out.split_whitespace().collect::<Vec<_>>().join(" ");
    for code in installer::exit::ExitCode::ALL {
        assert!(text.contains(&format!("{code} {}", code.meaning())), "{code} {}: {text}", code.meaning());
    }
}

#[test]
fn check_of_a_file_that_is_too_long_says_so_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.toml");
    std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    let name = path.to_str().unwrap();
    let (code, out, _) = metalstrap(&["check", name, "--output", "json"]);
    assert_eq!(code, 2);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let found = &json["diagnostics"][0];
    assert_eq!((found["code"].as_str(), found["line"].as_u64()), (Some("E_FILE_TOO_LARGE"), Some(1)));
    assert_eq!(found["message"].as_str(), Some("the file has more than 1048576 bytes"));
    std::fs::write(&path, vec![b'#'; 1 << 20]).unwrap();
    let (_, out, _) = metalstrap(&["check", name, "--output", "json"]);
    assert!(!out.contains("E_FILE_TOO_LARGE"), "{out}");
}

#[test]
fn init_writes_files_that_check_accepts_and_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new");
    let at = |name: &str| folder.join(name);
    assert_eq!(metalstrap(&["init", folder.to_str().unwrap()]).0, 0);
    assert_eq!(std::fs::metadata(at("secrets.toml")).unwrap().mode() & 0o7777, 0o600);
    let (code, out, _) = metalstrap(&["check", at("cluster.toml").to_str().unwrap()]);
    assert_eq!((code, out.lines().count()), (0, 2), "{out}");
    assert!(out.contains(" W_NO_SSH_KEYS ") && out.ends_with("(0 errors, 1 warning)\n"), "{out}");
    let before = std::fs::read(at("secrets.toml")).unwrap();
    std::fs::remove_file(at("cluster.toml")).unwrap();
    let (code, _, err) = metalstrap(&["init", folder.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert_eq!(
        err,
        format!("metalstrap: {} exists already; nothing was written\n", at("secrets.toml").display())
    );
    assert!(!at("cluster.toml").exists());
    assert_eq!(std::fs::read(at("secrets.toml")).unwrap(), before);
}

#[test]
fn disks_names_the_disk_of_a_node_that_is_recognised() {
    let (code, out, err) =
        metalstrap(&["disks", "profiles/examples/ha.toml", "--inventory", &fixture("qemu-master-1")]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        out,
        "/dev/sr0 (338 MiB ata, QEMU DVD-ROM, serial QM00003): never taken: the live system or its configuration is on it\n\
         /dev/vda (20 GiB virtio, serial MS-0001): may be taken: empty\n\
         would be taken: /dev/vda (20 GiB virtio, serial MS-0001) is the only disk that may be taken, it is empty\n"
    );
}

#[test]
fn disks_ends_as_an_install_would() {
    let (code, out, _) =
        metalstrap(&["disks", "--inventory", &fixture("two-empty-disks"), "--output", "json"]);
    assert_eq!(code, 3);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["refusal"]["code"], "E_DISK_AMBIGUOUS");
    assert_eq!(json["disks"].as_array().unwrap().len(), 2);
    let (code, _, err) =
        metalstrap(&["disks", "profiles/examples/ha.toml", "--inventory", &fixture("sata-server")]);
    assert_eq!(code, 2);
    assert!(
        err.starts_with("metalstrap: E_NODE_NONE: no node of the cluster file has the hardware"),
        "{err}"
    );
}

#[test]
fn every_inventory_fixture_is_read_shown_and_written_back_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inventory");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let (code, out, err) =
            metalstrap(&["inventory", "--inventory", path.to_str().unwrap(), "--output", "json"]);
        assert_eq!(code, 0, "{err}");
        assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{}", path.display());
        let [written, read]: [serde_json::Value; 2] =
            [out, std::fs::read_to_string(&path).unwrap()].map(|text| serde_json::from_str(&text).unwrap());
        assert_eq!(written, read);
        let (code, out, _) = metalstrap(&["inventory", "--inventory", path.to_str().unwrap()]);
        assert_eq!(code, 0);
        assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{}", path.display());
        count += 1;
    }
    assert!(count >= 12, "{count}");
}

#[test]
fn this_machine_can_be_looked_at() {
    let (code, out, err) = metalstrap(&["inventory", "--output", "json"]);
    assert_eq!(code, 0, "{err}");
    let inventory = installer::inventory::parse_inventory(&out).unwrap();
    assert!(inventory.memory_mib > 0 && inventory.cpu.cores > 0);
}

#[test]
fn a_broken_inventory_is_refused_with_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("i.json");
    std::fs::write(&path, "{\"schema\": \"metalstrap.inventory/v9\"}").unwrap();
    let (code, _, err) = metalstrap(&["inventory", "--inventory", path.to_str().unwrap()]);
    assert_eq!(code, 2);
    let why =
        "the inventory has the schema \"metalstrap.inventory/v9\", expected \"metalstrap.inventory/v1\"";
    assert_eq!(err, format!("metalstrap: reading {}: {why}\n", path.display()));
}

#[test]
fn completion_knows_every_command() {
    let (code, out, _) = metalstrap(&["completion", "bash"]);
    assert_eq!(code, 0);
    for command in ["check", "disks", "init", "inventory"] {
        assert!(out.contains(command), "{command}");
    }
}
