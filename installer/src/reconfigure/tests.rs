//! Apply on a node in a folder: what is refused, what is written, who is told.

mod cuts;
mod trials;

use super::journal::{PENDING, REVERTING};
use super::{Action, Effects, Prepared, begin, prepare};
use crate::exit::ExitCode;
use crate::record::{RECORD_NODE_PATH, RecordedDataDisk};
use crate::refusal::Refusal;
use crate::render::{DataMount, RenderContext, render_node};
use profiles::Cluster;
use profiles::node::NodeSecrets;
use profiles::secret::Secret;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use sysio::files::{create_folders, remove_if_there, symlink_atomic, write_atomic};
use sysio::sysfs::SysRoot;

const FILE: &str = include_str!("../../../profiles/examples/ha.toml");

fn cluster(text: &str) -> Cluster {
    let loaded = profiles::load("cluster.toml", text.as_bytes(), None);
    loaded.cluster.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

/// An installed node in a folder.
struct Node {
    folder: tempfile::TempDir,
    root: SysRoot,
}

impl Node {
    fn install(name: &str) -> Self {
        Self::install_of(FILE, name, RenderContext::default())
    }

    fn install_of(text: &str, name: &str, context: RenderContext) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = SysRoot::new(folder.path());
        let secrets = NodeSecrets {
            server_token: Some(Secret::new("server-secret")),
            agent_token: Some(Secret::new("agent-secret")),
            ..NodeSecrets::default()
        };
        let node = cluster(text).resolve(name).unwrap();
        let rendered = render_node(&node, &secrets, &context).unwrap();
        for file in &rendered.files {
            let path = root.path(&file.path);
            create_folders(path.parent().unwrap(), 0o755).unwrap();
            write_atomic(&path, file.contents.expose().as_bytes(), file.mode).unwrap();
        }
        for link in &rendered.links {
            let path = root.path(&link.path);
            create_folders(path.parent().unwrap(), 0o755).unwrap();
            symlink_atomic(Path::new(&link.target), &path).unwrap();
        }
        rendered.mask.iter().for_each(|unit| link_unit(&root, &Action::Mask(unit.clone())));
        rendered.enable.iter().for_each(|unit| link_unit(&root, &Action::Enable(unit.clone())));
        Self { folder, root }
    }

    /// Every file and link below `/etc` and elsewhere but the journal, with mode and contents.
    fn everything(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = std::fs::symlink_metadata(&path).unwrap();
                if metadata.is_dir() {
                    walk(&path, found);
                } else if metadata.is_symlink() {
                    let target = std::fs::read_link(&path).unwrap();
                    found.insert(path, (0, target.to_string_lossy().into_owned().into_bytes()));
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    found.insert(path, (metadata.permissions().mode(), bytes));
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(self.folder.path(), &mut found);
        found.retain(|path, _| !path.starts_with(self.folder.path().join("var/lib/metalstrap")));
        found
    }

    fn prepare(&self, text: &str) -> Result<Prepared, Refusal> {
        prepare(&self.root, &cluster(text))
    }

    fn is_pending(&self) -> bool {
        [PENDING, REVERTING].iter().any(|folder| self.root.path(folder).exists())
    }
}

/// The links of a unit, as systemctl makes and removes them: it leaves those of a masked one alone.
fn link_unit(root: &SysRoot, action: &Action) {
    let mask = |unit: &str| root.path(format!("/etc/systemd/system/{unit}"));
    let wants = |unit: &str| root.path(format!("/etc/systemd/system/multi-user.target.wants/{unit}"));
    let masked = |unit: &str| std::fs::read_link(mask(unit)).is_ok_and(|to| to == Path::new("/dev/null"));
    let make = |target: &str, link: &Path| {
        create_folders(link.parent().unwrap(), 0o755).unwrap();
        symlink_atomic(Path::new(target), link).unwrap();
    };
    match action {
        Action::Mask(unit) => make("/dev/null", &mask(unit)),
        Action::Unmask(unit) if masked(unit) => remove_if_there(&mask(unit)).unwrap(),
        Action::Enable(unit) if !masked(unit) => make(&format!("/lib/systemd/system/{unit}"), &wants(unit)),
        Action::Disable(unit) if !masked(unit) => remove_if_there(&wants(unit)).unwrap(),
        _ => {}
    }
}

/// Records who is told, and fails where it is told to. With a root it makes and removes the links of units there.
#[derive(Default)]
struct Recorder {
    said: Vec<String>,
    fails: Option<Action>,
    root: Option<SysRoot>,
}

impl Recorder {
    fn on(node: &Node) -> Self {
        Self { root: Some(node.root.clone()), ..Self::default() }
    }

    fn record(&mut self, said: String, action: &Action) -> Result<(), String> {
        self.said.push(said);
        if self.fails.as_ref() == Some(action) {
            return Err("it does not start".to_owned());
        }
        self.root.iter().for_each(|root| link_unit(root, action));
        Ok(())
    }
}

impl Effects for Recorder {
    fn check_rules(&mut self, rules: &str) -> Result<(), String> {
        assert!(rules.contains("table inet metalstrap"));
        self.said.push("check rules".to_owned());
        Ok(())
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        let root = self.root.as_ref();
        let masked = |unit: &String| {
            root.is_some_and(|root| root.path(format!("/etc/systemd/system/{unit}")).is_symlink())
        };
        if let Action::Reload(unit) | Action::Restart(unit) = action
            && masked(unit)
        {
            return Err(format!("Unit {unit} is masked."));
        }
        self.record(action.to_string(), action)
    }

    fn act_at_boot(&mut self, action: &Action) -> Result<(), String> {
        let commands: Vec<String> = action.boot_commands().iter().map(|words| words.join(" ")).collect();
        self.record(commands.join("; "), action)
    }

    fn arm(&mut self, id: &str, seconds: u64) -> Result<(), String> {
        self.said.push(format!("arm {id} {seconds}"));
        Ok(())
    }

    fn disarm(&mut self, id: &str) {
        self.said.push(format!("disarm {id}"));
    }
}

/// Another DNS server, other NTP servers, another admin range: network, chrony and firewall change.
fn changed() -> String {
    FILE.replace("dns = [\"10.0.0.1\"]", "dns = [\"10.0.0.2\"]")
        .replace("ntp = [\"10.0.0.1\"]", "ntp = [\"10.0.0.3\"]")
        .replace("sources = [\"10.0.0.0/28\"]", "sources = [\"10.0.0.0/29\"]")
}

fn paths(prepared: &Prepared) -> Vec<&str> {
    prepared.changes.iter().map(|change| change.path.as_str()).collect()
}

#[test]
fn the_same_file_changes_nothing() {
    for name in ["master-1", "master-2", "worker-1", "proxy-1"] {
        let prepared = Node::install(name).prepare(FILE).unwrap();
        assert_eq!((paths(&prepared), prepared.actions.len()), (vec![], 0), "{name}");
    }
}

/// k3s must never start beside its data disk, also not after an apply that is about something else.
#[test]
fn a_node_with_a_data_disk_keeps_it_and_without_its_record_nothing_is_written() {
    let disk = "hostname = \"master-1\"\ndata_disks = [{ mount = \"/var/lib/rancher\" }]";
    let file = FILE.replacen("hostname = \"master-1\"", disk, 1);
    let partition = uuid::Uuid::from_u128(7);
    let data = DataMount { mount: "/var/lib/rancher".to_owned(), partition };
    let context = RenderContext { data_mounts: vec![data], ..RenderContext::default() };
    let node = Node::install_of(&file, "master-1", context);
    let refusal = node.prepare(&file).unwrap_err();
    assert_eq!((refusal.code, refusal.exit), ("E_NOT_INSTALLED", ExitCode::Environment));
    let said = |why: &str| format!("the data disks of this node are not known: {RECORD_NODE_PATH}: {why}");
    let record_file = node.root.path(RECORD_NODE_PATH);
    let absent = format!("reading {}: No such file or directory (os error 2)", record_file.display());
    assert_eq!(refusal.message, said(&absent));

    let record = |mount: &str| {
        let mut record = crate::record::tests::record();
        record.data_disks.push(RecordedDataDisk {
            mount: mount.to_owned(),
            partition,
            fs: uuid::Uuid::from_u128(8),
            serial: "S1".to_owned(),
            kept: false,
        });
        let path = node.root.path(RECORD_NODE_PATH);
        create_folders(path.parent().unwrap(), 0o755).unwrap();
        write_atomic(&path, record.render().unwrap().as_bytes(), 0o644).unwrap();
    };
    record("/var/lib/other");
    let refusal = node.prepare(&file).unwrap_err();
    assert_eq!(refusal.message, said("it says nothing of /var/lib/rancher"));
    record("/var/lib/rancher");
    assert_eq!(paths(&node.prepare(&file).unwrap()), Vec::<&str>::new());
    let changed = file.replace("ntp = [\"10.0.0.1\"]", "ntp = [\"10.0.0.3\"]");
    let touched = node.prepare(&changed).unwrap();
    assert!(paths(&touched).iter().all(|path| !path.contains("systemd/system")), "{:?}", paths(&touched));
    assert!(!touched.changes.is_empty());
}

#[test]
fn a_change_touches_what_it_is_about_and_tells_who_reads_it() {
    let node = Node::install("worker-1");
    let prepared = node.prepare(&changed()).unwrap();
    let paths = paths(&prepared);
    for path in [
        "/etc/metalstrap/node.json",
        "/etc/chrony/chrony.conf",
        "/etc/metalstrap/firewall.nft",
        "/etc/resolv.conf",
    ] {
        assert!(paths.contains(&path), "{paths:?}");
    }
    assert!(paths.iter().all(|path| !path.starts_with("/etc/rancher")), "{paths:?}");
    let mut recorder = Recorder::default();
    begin(&node.root, &prepared, "1", None, &mut recorder).unwrap();
    assert_eq!(recorder.said[0], "check rules");
    assert!(recorder.said.contains(&"chrony.service is restarted".to_owned()), "{:?}", recorder.said);
    assert!(recorder.said.contains(&"the packet filter is replaced in one transaction".to_owned()));
    assert!(!node.is_pending());
    assert_eq!(node.prepare(&changed()).unwrap().changes.len(), 0, "applied once, it is applied");
    assert!(std::fs::read_to_string(node.root.path("/etc/chrony/chrony.conf")).unwrap().contains("10.0.0.3"));
}

#[test]
fn a_new_label_restarts_k3s_and_says_what_that_means() {
    let node = Node::install("worker-1");
    let text =
        FILE.replacen("hostname = \"worker-1\"\n", "hostname = \"worker-1\"\nlabels = { rack = \"7\" }\n", 1);
    let prepared = node.prepare(&text).unwrap();
    let said: Vec<String> = prepared.actions.iter().map(ToString::to_string).collect();
    let expected = "k3s-agent.service is restarted: pods go on, the node may be NotReady for a moment";
    assert!(said.contains(&expected.to_owned()), "{said:?}");
    let diff = prepared.changes.iter().find(|c| c.path == "/etc/rancher/k3s/config.yaml").unwrap().lines();
    assert!(diff.iter().any(|line| line.contains("+") && line.contains("rack=7")), "{diff:?}");
}

#[test]
fn another_ingress_port_reaches_traefik_without_a_restart() {
    let node = Node::install("master-2");
    let text = format!("{FILE}\n[profiles.proxy]\ningress_http_node_port = 31080\n");
    let prepared = node.prepare(&text).unwrap();
    let manifest = "/var/lib/rancher/k3s/server/manifests/metalstrap-traefik.yaml";
    assert_eq!(paths(&prepared), ["/etc/metalstrap/node.json", manifest]);
    let said: Vec<String> = prepared.actions.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["metalstrap-agent.service is restarted"]);
    begin(&node.root, &prepared, "1", None, &mut Recorder::default()).unwrap();
    let written = std::fs::read_to_string(node.root.path(manifest)).unwrap();
    assert!(written.contains("nodePort: 31080") && !written.contains("nodePort: 30080"), "{written}");
}

#[test]
fn what_cannot_change_is_refused_all_at_once_and_nothing_is_written() {
    let node = Node::install("master-2");
    let before = node.everything();
    let text = FILE
        .replace("name = \"ha\"", "name = \"hb\"")
        .replace("pod_cidr = \"10.42.0.0/16\"", "pod_cidr = \"10.44.0.0/16\"")
        .replace("api_vip = \"10.0.0.10\"", "api_vip = \"10.0.2.250\"")
        .replace("address = \"10.0.0.12\"", "address = \"10.0.0.112\"");
    let refusal = node.prepare(&text).unwrap_err();
    assert_eq!(refusal.code, "E_APPLY_FIXED");
    assert_eq!(
        refusal.details,
        [
            "the name of the cluster: ha → hb",
            "api_vip: 10.0.0.10 → 10.0.2.250",
            "pod_cidr: 10.42.0.0/16 → 10.44.0.0/16",
            "the cluster address of a master: 10.0.0.12 → 10.0.0.112",
        ]
    );
    let renamed = FILE.replace("hostname = \"master-2\"", "hostname = \"master-9\"");
    assert_eq!(node.prepare(&renamed).unwrap_err().code, "E_APPLY_NODE");
    let other_disk = FILE.replacen(
        "hostname = \"master-2\"\n",
        "hostname = \"master-2\"\ndisk = { serial = \"OTHER\" }\n",
        1,
    );
    assert_eq!(node.prepare(&other_disk).unwrap_err().code, "E_APPLY_FIXED");
    assert_eq!(node.everything(), before);
    let nobody = SysRoot::new(tempfile::tempdir().unwrap().path());
    assert_eq!(prepare(&nobody, &cluster(FILE)).unwrap_err().code, "E_NOT_INSTALLED");
}

#[test]
fn secrets_are_never_shown_and_stay_what_they_are() {
    let node = Node::install("master-2");
    write_atomic(&node.root.path("/etc/rancher/k3s/server-token"), b"server-secret", 0o644).unwrap();
    let prepared = node.prepare(FILE).unwrap();
    let change = &prepared.changes[0];
    assert_eq!(
        (change.path.as_str(), change.secret, change.edited_by_hand),
        ("/etc/rancher/k3s/server-token", true, true)
    );
    assert_eq!(change.lines(), ["  (a secret, not shown)"]);
    begin(&node.root, &prepared, "1", None, &mut Recorder::default()).unwrap();
    let path = node.root.path("/etc/rancher/k3s/server-token");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "server-secret\n");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_is_no_longer_wanted_goes_and_a_foreign_one_stays() {
    let node = Node::install("proxy-1");
    let foreign = node.root.path("/etc/systemd/network/99-operator.network");
    write_atomic(&foreign, b"[Match]\n", 0o644).unwrap();
    let prepared = node.prepare(&FILE.replace("proxy_vip = \"10.0.0.9\"\n", "")).unwrap();
    let change = prepared.changes.iter().find(|c| c.path == "/etc/keepalived/keepalived.conf");
    assert_eq!(change.map(super::Change::kind), Some(super::Kind::Remove), "{:?}", paths(&prepared));
    assert!(
        prepared.actions.contains(&Action::Mask("keepalived.service".to_owned())),
        "{:?}",
        prepared.actions
    );
    begin(&node.root, &prepared, "1", None, &mut Recorder::on(&node)).unwrap();
    assert!(!node.root.path("/etc/keepalived/keepalived.conf").exists());
    assert!(foreign.exists());
}

#[test]
fn the_first_master_that_joined_a_running_cluster_does_not_form_one_by_an_apply() {
    let node = Node::install("master-1");
    let config = node.root.path("/etc/rancher/k3s/config.yaml");
    let formed = std::fs::read_to_string(&config).unwrap();
    assert!(formed.contains("cluster-init"), "{formed}");
    let joined: String = formed
        .lines()
        .filter(|line| !line.contains("cluster-init"))
        .map(|line| format!("{line}\n"))
        .collect();
    write_atomic(&config, joined.as_bytes(), 0o600).unwrap();
    let prepared = node.prepare(FILE).unwrap();
    let change = prepared.changes.iter().find(|c| c.path == "/etc/rancher/k3s/config.yaml").unwrap();
    assert!(!change.after.text().unwrap().contains("cluster-init"));
}
