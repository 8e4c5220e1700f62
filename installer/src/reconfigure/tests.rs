//! Apply on a node in a folder: what is refused, what is written, who is told, and a power cut at every step.

use super::journal::{Direction, PENDING, REVERTING};
use super::run::{begin_with, recover_with};
use super::{Action, Effects, Prepared, begin, confirm, prepare, recover, revert};
use crate::exit::ExitCode;
use crate::record::{RECORD_NODE_PATH, RecordedDataDisk};
use crate::refusal::Refusal;
use crate::render::{DataMount, RenderContext, render_node};
use profiles::Cluster;
use profiles::node::NodeSecrets;
use profiles::secret::Secret;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use sysio::files::{FileError, create_folders, symlink_atomic, write_atomic};
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

/// Records who is told, and fails where it is told to.
#[derive(Default)]
struct Recorder {
    said: Vec<String>,
    fails: Option<Action>,
}

impl Effects for Recorder {
    fn check_rules(&mut self, rules: &str) -> Result<(), String> {
        assert!(rules.contains("table inet metalstrap"));
        self.said.push("check rules".to_owned());
        Ok(())
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        self.said.push(action.to_string());
        if self.fails.as_ref() == Some(action) { Err("it does not start".to_owned()) } else { Ok(()) }
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
    begin(&node.root, &prepared, "1", None, &mut Recorder::default()).unwrap();
    assert!(!node.root.path("/etc/keepalived/keepalived.conf").exists());
    assert!(foreign.exists());
}

#[test]
fn a_trial_goes_back_by_its_alarm_and_only_that_trial() {
    let node = Node::install("worker-1");
    let before = node.everything();
    let prepared = node.prepare(&changed()).unwrap();
    let mut recorder = Recorder::default();
    begin(&node.root, &prepared, "one", Some(60), &mut recorder).unwrap();
    assert_eq!(recorder.said[1], "arm one 60", "armed before anything is written or told");
    assert_ne!(node.everything(), before);
    let again = begin(&node.root, &prepared, "two", Some(60), &mut Recorder::default()).unwrap_err();
    assert_eq!(again.code, "E_APPLY_PENDING");
    assert!(!revert(&node.root, Some("another"), &mut recorder).unwrap());
    assert_ne!(node.everything(), before);
    let mut recorder = Recorder::default();
    assert!(revert(&node.root, Some("one"), &mut recorder).unwrap());
    assert_eq!(node.everything(), before);
    assert!(recorder.said.contains(&"chrony.service is restarted".to_owned()), "{:?}", recorder.said);
    assert!(!node.is_pending());
    assert_eq!(confirm(&node.root, &mut recorder).unwrap_err().code, "E_APPLY_NONE");
    assert_eq!(revert(&node.root, None, &mut recorder).unwrap_err().code, "E_APPLY_NONE");
}

#[test]
fn a_confirmed_trial_stays_also_when_the_alarm_rings_later() {
    let node = Node::install("worker-1");
    let prepared = node.prepare(&changed()).unwrap();
    let mut recorder = Recorder::default();
    begin(&node.root, &prepared, "one", Some(60), &mut recorder).unwrap();
    confirm(&node.root, &mut recorder).unwrap();
    assert_eq!(recorder.said.last().map(String::as_str), Some("disarm one"));
    let after = node.everything();
    assert!(!revert(&node.root, Some("one"), &mut recorder).unwrap());
    assert_eq!(recover(&node.root).unwrap(), None);
    assert_eq!(node.everything(), after);
}

/// Something happens while each unit is told.
struct Meanwhile<F>(F);

impl<F: FnMut() -> Result<(), String>> Effects for Meanwhile<F> {
    fn check_rules(&mut self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn act(&mut self, _: &Action) -> Result<(), String> {
        (self.0)()
    }

    fn arm(&mut self, _: &str, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn disarm(&mut self, _: &str) {}
}

#[test]
fn a_trial_that_ends_while_units_are_told_is_not_called_applied() {
    let node = Node::install("worker-1");
    let before = node.everything();
    let prepared = node.prepare(&changed()).unwrap();
    let mut alarm = Meanwhile(|| {
        revert(&node.root, Some("t1"), &mut Recorder::default()).map(drop).map_err(|e| e.to_string())
    });
    let refusal = begin(&node.root, &prepared, "t1", Some(20), &mut alarm).unwrap_err();
    assert_eq!(refusal.code, "E_APPLY_FAILED");
    assert_eq!(
        refusal.to_string(),
        "E_APPLY_FAILED: the 20 s were over before everybody was told; everything is as it was before\n  \
         give the trial more time: --try SECONDS"
    );
    assert_eq!(node.everything(), before);
    assert!(!node.is_pending());
}

#[test]
fn a_trial_while_another_is_taken_back_is_told_to_wait() {
    let node = Node::install("worker-1");
    let before = node.everything();
    let prepared = node.prepare(&changed()).unwrap();
    begin(&node.root, &prepared, "t1", Some(20), &mut Recorder::default()).unwrap();
    let mut answer = None;
    let mut eager = Meanwhile(|| {
        let again = begin(&node.root, &prepared, "t2", Some(20), &mut Recorder::default());
        answer = again.err().map(|refusal| refusal.to_string());
        Ok(())
    });
    assert!(revert(&node.root, Some("t1"), &mut eager).unwrap());
    assert_eq!(
        answer.as_deref(),
        Some(
            "E_APPLY_PENDING: the change that was on trial is being taken back, and not everybody was told yet; when it stays so, \
             `metalstrap apply --revert` finishes it"
        )
    );
    assert_eq!(node.everything(), before);
    begin(&node.root, &prepared, "t3", Some(20), &mut Recorder::default()).unwrap();
}

#[test]
fn of_two_changes_begun_at_once_one_is_carried_out_and_one_refused() {
    let node = Node::install("worker-1");
    let prepared = node.prepare(&changed()).unwrap();
    let begun: Vec<Result<(), Refusal>> = std::thread::scope(|scope| {
        let threads = ["a", "b", "c", "d"].map(|id| {
            let (root, prepared) = (&node.root, &prepared);
            scope.spawn(move || begin(root, prepared, id, Some(60), &mut Recorder::default()))
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let refused: Vec<_> = begun.iter().filter_map(|one| one.as_ref().err().map(|r| r.code)).collect();
    assert_eq!(refused, ["E_APPLY_PENDING"; 3]);
    assert!(node.is_pending());
}

#[test]
fn a_trial_with_a_unit_that_does_not_start_is_taken_back_at_once() {
    let node = Node::install("worker-1");
    let before = node.everything();
    let prepared = node.prepare(&changed()).unwrap();
    let fails = Some(Action::Restart("chrony.service".to_owned()));
    let mut recorder = Recorder { fails: fails.clone(), ..Recorder::default() };
    let refusal = begin(&node.root, &prepared, "one", Some(60), &mut recorder).unwrap_err();
    // Going back tells the same unit, which fails here again.
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        ("E_APPLY_FAILED", "chrony.service is restarted: it does not start")
    );
    assert_eq!(node.everything(), before);
    assert!(!node.is_pending());
    let mut recorder = Recorder { fails, ..Recorder::default() };
    let refusal = begin(&node.root, &prepared, "two", None, &mut recorder).unwrap_err();
    assert_eq!(refusal.details, ["the files are written; the next boot takes them all"]);
    assert_ne!(node.everything(), before);
}

/// Cuts the power before the nth change of the disk.
fn cut_at(n: usize) -> impl FnMut(&str) -> Result<(), FileError> {
    let mut count = 0;
    move |what| {
        count += 1;
        if count > n {
            let source = io::Error::other("power cut");
            return Err(FileError { action: "cutting before", path: PathBuf::from(what), source });
        }
        Ok(())
    }
}

#[test]
fn a_power_cut_at_any_step_leaves_all_old_or_all_new() {
    let (old, new) = {
        let node = Node::install("worker-1");
        let old: Vec<_> = node.everything().into_values().collect();
        begin(&node.root, &node.prepare(&changed()).unwrap(), "1", None, &mut Recorder::default()).unwrap();
        (old, node.everything().into_values().collect::<Vec<_>>())
    };
    assert_ne!(old, new);
    for trial in [None, Some(60)] {
        let (mut saw_old, mut saw_new, mut finished) = (0, 0, false);
        for n in 0..200 {
            let node = Node::install("worker-1");
            let prepared = node.prepare(&changed()).unwrap();
            let ended =
                begin_with(&node.root, &prepared, "1", trial, &mut Recorder::default(), &mut cut_at(n));
            // The machine boots, and the power is cut again and again while it recovers.
            for again in 0..40 {
                if recover_with(&node.root, &mut cut_at(again)).is_ok() {
                    break;
                }
            }
            let now: Vec<_> = node.everything().into_values().collect();
            assert!(now == old || now == new, "cut before step {n} of {trial:?}");
            assert!(!node.is_pending());
            if now == old {
                saw_old += 1
            } else {
                saw_new += 1
            }
            if ended.is_ok() {
                finished = true;
                break;
            }
        }
        assert!(finished, "200 steps were not enough");
        // Without a trial what was begun is finished; on trial nothing survives a boot.
        let shape = (saw_old > 0, saw_new > 0);
        assert_eq!(shape, if trial.is_none() { (true, true) } else { (true, false) }, "{trial:?}");
    }
}

#[test]
fn a_reboot_during_a_trial_takes_it_back() {
    let node = Node::install("worker-1");
    let before = node.everything();
    begin(&node.root, &node.prepare(&changed()).unwrap(), "1", Some(60), &mut Recorder::default()).unwrap();
    assert_eq!(recover(&node.root).unwrap(), Some(Direction::Back));
    assert_eq!(node.everything(), before);
    assert_eq!(recover(&node.root).unwrap(), None);
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
