//! Apply on a node in a folder: what is refused, what is written, who is told, and a power cut at every step.

use super::action::directed;
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
use sysio::files::{FileError, create_folders, remove_if_there, symlink_atomic, write_atomic};
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
    assert_eq!(recover(&node.root, &mut Recorder::default()).unwrap(), None);
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

    fn act_at_boot(&mut self, _: &Action) -> Result<(), String> {
        Ok(())
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
    assert!(prepared.told().len() > 3);
    let mut told = 0;
    let mut alarm = Meanwhile(|| {
        told += 1;
        if told == 1 {
            return Ok(());
        }
        revert(&node.root, Some("t1"), &mut Recorder::default()).map(drop).map_err(|e| e.to_string())
    });
    let refusal = begin(&node.root, &prepared, "t1", Some(20), &mut alarm).unwrap_err();
    assert_eq!(told, 2, "nobody is told of the new files once the old ones are back");
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

/// A node, the file it is installed by, and the file that is applied.
type Sequence = (&'static str, String, String);

/// Files of several kinds; a unit that is masked; one that is unmasked and enabled.
fn sequences() -> [Sequence; 3] {
    let without_vip = FILE.replace("proxy_vip = \"10.0.0.9\"\n", "");
    [
        ("worker-1", FILE.to_owned(), changed()),
        ("proxy-1", FILE.to_owned(), without_vip.clone()),
        ("proxy-1", without_vip, FILE.to_owned()),
    ]
}

fn installed(sequence: &Sequence) -> Node {
    Node::install_of(&sequence.1, sequence.0, RenderContext::default())
}

#[test]
fn a_power_cut_at_any_step_leaves_all_old_or_all_new() {
    for sequence in sequences() {
        let [without, trial] = [None, Some(60)].map(|trial| cut_at_every_step(&sequence, trial));
        // Without a trial what was begun is finished; on trial nothing survives a boot.
        assert_eq!((without, trial), ((true, true), (true, false)), "{sequence:?}");
    }
}

/// Whether it ended with all old, and with all new.
fn cut_at_every_step(sequence: &Sequence, trial: Option<u64>) -> (bool, bool) {
    let relative = |node: &Node| -> Vec<_> {
        let all = node.everything().into_iter();
        all.map(|(path, is)| (path.strip_prefix(node.folder.path()).unwrap().to_owned(), is)).collect()
    };
    let (old, new) = {
        let node = installed(sequence);
        let old = relative(&node);
        let prepared = node.prepare(&sequence.2).unwrap();
        begin(&node.root, &prepared, "1", None, &mut Recorder::on(&node)).unwrap();
        (old, relative(&node))
    };
    assert_ne!(old, new);
    let (mut saw_old, mut saw_new) = (false, false);
    for n in 0..200 {
        let node = installed(sequence);
        let prepared = node.prepare(&sequence.2).unwrap();
        let mut recorder = Recorder::on(&node);
        let ended = begin_with(&node.root, &prepared, "1", trial, &mut recorder, &mut cut_at(n));
        // The machine boots, and the power is cut again and again while it recovers.
        for again in 0..40 {
            if recover_with(&node.root, &mut recorder, &mut cut_at(again)).is_ok() {
                break;
            }
        }
        let now = relative(&node);
        assert!(now == old || now == new, "cut before step {n} of {trial:?}");
        assert!(!node.is_pending());
        assert_eq!(
            node.prepare(if now == old { &sequence.1 } else { &sequence.2 }).unwrap().actions.len(),
            0
        );
        if now == old {
            saw_old = true
        } else {
            saw_new = true
        }
        if ended.is_ok() {
            return (saw_old, saw_new);
        }
    }
    panic!("200 steps were not enough");
}

#[test]
fn a_boot_masks_and_unmasks_files_only_and_queues_what_its_plan_lacks() {
    let [_, removes, adds] = sequences();
    let boot = |sequence: &Sequence, trial: Option<u64>| {
        let node = installed(sequence);
        let prepared = node.prepare(&sequence.2).unwrap();
        // A plain apply is cut off when the files are written and nobody was told, a trial when everybody was.
        let steps = if trial.is_none() { 2 * prepared.changes.len() + 1 } else { 200 };
        let begun =
            begin_with(&node.root, &prepared, "1", trial, &mut Recorder::on(&node), &mut cut_at(steps));
        assert_eq!(begun.is_ok(), trial.is_some());
        let mut recorder = Recorder::on(&node);
        recover(&node.root, &mut recorder).unwrap();
        recorder.said
    };
    assert_eq!(
        boot(&removes, Some(60)),
        [
            "systemctl --no-reload unmask keepalived.service",
            "systemctl daemon-reload",
            "systemctl --no-block start keepalived.service"
        ]
    );
    assert_eq!(
        boot(&adds, None),
        [
            "systemctl --no-reload unmask keepalived.service",
            "systemctl --no-reload enable keepalived.service",
            "systemctl daemon-reload",
            "systemctl --no-block start keepalived.service"
        ]
    );
    assert_eq!(
        boot(&adds, Some(60)),
        [
            "systemctl --no-reload disable keepalived.service",
            "systemctl --no-reload mask keepalived.service",
            "systemctl daemon-reload"
        ]
    );
    assert_eq!(
        boot(&removes, None),
        ["systemctl --no-reload mask keepalived.service", "systemctl daemon-reload"]
    );
}

#[test]
fn a_unit_that_cannot_be_unmasked_is_left_to_the_next_boot() {
    let [_, _, adds] = sequences();
    let node = installed(&adds);
    let prepared = node.prepare(&adds.2).unwrap();
    let fails = Some(Action::Unmask("keepalived.service".to_owned()));
    let mut recorder = Recorder { fails, ..Recorder::on(&node) };
    let refusal = begin(&node.root, &prepared, "1", None, &mut recorder).unwrap_err();
    assert_eq!(refusal.message, "keepalived.service is no longer masked: it does not start");
    assert_eq!(refusal.details.last().unwrap(), "the files are written; the next boot takes them all");
    let again = begin(&node.root, &prepared, "2", None, &mut recorder).unwrap_err();
    assert_eq!(
        again.to_string(),
        "E_APPLY_PENDING: another change is not at its end: the next boot finishes it, `metalstrap apply --revert` takes it back"
    );
    let refusal = recover(&node.root, &mut recorder).unwrap_err();
    assert_eq!((refusal.code, refusal.exit), ("E_APPLY_FAILED", ExitCode::Environment));
    assert!(node.is_pending());
    assert_eq!(recover(&node.root, &mut Recorder::on(&node)).unwrap(), Some(Direction::Forward));
    assert!(!node.root.path("/etc/systemd/system/keepalived.service").is_symlink());
}

#[test]
fn a_unit_masked_otherwise_than_the_config_says_is_put_right_by_the_same_file() {
    let node = Node::install("proxy-1");
    link_unit(&node.root, &Action::Mask("keepalived.service".to_owned()));
    link_unit(&node.root, &Action::Unmask("nftables.service".to_owned()));
    let prepared = node.prepare(FILE).unwrap();
    assert_eq!(paths(&prepared), Vec::<&str>::new());
    let said: Vec<String> = prepared.told().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "nftables.service is masked and stopped",
            "keepalived.service is no longer masked",
            "keepalived.service is enabled and started"
        ]
    );
    begin(&node.root, &prepared, "1", None, &mut Recorder::on(&node)).unwrap();
    assert_eq!(node.prepare(FILE).unwrap().actions.len(), 0);
}

#[test]
fn a_masked_unit_is_told_nothing_else() {
    let unit = || "keepalived.service".to_owned();
    let removal = [Action::Mask(unit()), Action::Reload(unit())].into();
    assert_eq!(directed(&removal, Direction::Forward), [Action::Mask(unit())].into());
    assert_eq!(directed(&removal, Direction::Back), [Action::Unmask(unit()), Action::Reload(unit())].into());
}

#[test]
fn a_reboot_during_a_trial_takes_it_back() {
    let node = Node::install("worker-1");
    let before = node.everything();
    begin(&node.root, &node.prepare(&changed()).unwrap(), "1", Some(60), &mut Recorder::default()).unwrap();
    assert_eq!(recover(&node.root, &mut Recorder::on(&node)).unwrap(), Some(Direction::Back));
    assert_eq!(node.everything(), before);
    assert_eq!(recover(&node.root, &mut Recorder::on(&node)).unwrap(), None);
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
