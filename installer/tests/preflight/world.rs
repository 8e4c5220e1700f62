//! A healthy machine that is about to become master-2 of the example, and what is changed of it for a case.

use installer::disks::{DiskOverrides, NodeDisks, choose_disks};
use installer::inventory::{Firmware, HealthStatus, Inventory, parse_inventory};
use installer::medium::{FileLook, Medium};
use installer::plan::ids::InstallIds;
use installer::plan::image::{Artifact, Artifacts, FileDigest, ImageInfo};
use installer::plan::{PlanInput, Planned, PlannedDisk, machine_nics, plan_install};
use installer::preflight::{
    Api, CheckResult, ChosenDisk, Facts, Input, KernelMessages, MemoryController, NotRun, NtpAnswer, Outcome,
    PortFacts, PreflightReport, Purpose, Route, Sensor, ShownCa, Skips, Wear, judge_all,
};
use installer::probe::{Answer, Carrier, DnsAnswer, LegFindings, MtuAnswer};
use installer::refusal::Refusal;
use profiles::node::{NodeConfig, NodeSecrets};
use profiles::secret::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

pub const CA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Everything the checks are given, owned.
pub struct World {
    pub purpose: Purpose,
    pub inventory: Inventory,
    pub node: Option<NodeConfig>,
    pub disks: Option<Result<NodeDisks, Refusal>>,
    pub tokens: Option<Result<(), Refusal>>,
    pub medium: Option<Result<Medium, Refusal>>,
    pub planned: Option<Result<Planned, Refusal>>,
    pub token_ca_hash: Option<String>,
    pub cluster_exists: bool,
    pub facts: Facts,
}

/// One case: what is changed, and what the check then says.
pub struct Case {
    pub id: &'static str,
    pub change: fn(&mut World),
    pub outcome: Outcome,
    pub measured: &'static str,
}

pub const fn case(
    id: &'static str,
    change: fn(&mut World),
    outcome: Outcome,
    measured: &'static str,
) -> Case {
    Case { id, change, outcome, measured }
}

pub fn node(hostname: &str) -> NodeConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles/examples/ha.toml");
    let loaded = profiles::load("ha.toml", &std::fs::read(path).unwrap(), None);
    loaded.cluster.unwrap().resolve(hostname).unwrap()
}

impl World {
    /// A server: bare metal, UEFI, an NVMe disk, one port with a link.
    pub fn healthy() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inventory/qemu-master-1.json");
        let mut inventory = parse_inventory(&std::fs::read_to_string(path).unwrap()).unwrap();
        inventory.virtualisation = None;
        inventory.cpu.cores = 4;
        inventory.cpu.level = Some("x86-64-v3".to_owned());
        inventory.memory_mib = 4096;
        inventory.firmware = Firmware::Uefi;
        inventory.secure_boot = Some(false);
        inventory.nics.truncate(1);
        inventory.nics[0].name = "eno1".to_owned();
        inventory.nics[0].mac = Some("52:54:00:00:00:12".parse().unwrap());
        inventory.nics[0].carrier = Some(true);
        inventory.nics[0].speed_mbit = Some(10_000);
        inventory.disks.retain(|disk| disk.path == "/dev/vda");
        inventory.disks[0].transport = Some("nvme".to_owned());
        inventory.disks[0].path = "/dev/nvme0n1".to_owned();
        inventory.disks[0].model = Some("Fast One".to_owned());
        inventory.disks[0].rotational = false;
        inventory.disks[0].health.status = HealthStatus::Passed;
        let mut world = Self {
            purpose: Purpose::Plan,
            inventory,
            node: Some(node("master-2")),
            disks: None,
            tokens: Some(Ok(())),
            medium: Some(Ok(medium())),
            planned: None,
            token_ca_hash: Some(CA.to_owned()),
            cluster_exists: false,
            facts: facts(),
        };
        world.plan();
        world
    }

    /// Chooses the disk and makes the plan anew.
    pub fn plan(&mut self) {
        let node = self.node.as_ref().unwrap();
        let overrides = DiskOverrides::default();
        let disks = choose_disks(&self.inventory, node, &overrides).map_err(Refusal::from);
        let medium = self.medium.as_ref().and_then(|medium| medium.as_ref().ok());
        let secrets = NodeSecrets {
            server_token: Some(Secret::new("0123456789abcdef-s")),
            agent_token: Some(Secret::new("0123456789abcdef-a")),
            ..NodeSecrets::default()
        };
        self.planned = disks.as_ref().ok().map(|disks| {
            plan_install(&PlanInput {
                node,
                secrets: &secrets,
                nics: &machine_nics(&self.inventory),
                disk: &PlannedDisk::from(disks.system()),
                data_disks: &[],
                image: medium.map(|medium| &medium.image),
                artifacts: medium.map(|medium| &medium.artifacts),
                ids: &InstallIds::for_plan("ha", &node.hostname, "S"),
                cluster_exists: self.cluster_exists,
            })
            .map_err(|error| error.refusal())
        });
        self.disks = Some(disks);
    }

    /// Becomes another node of the example, on a machine with its MACs.
    pub fn become_node(&mut self, hostname: &str) {
        let node = node(hostname);
        let template = self.inventory.nics[0].clone();
        self.inventory.nics = node
            .interfaces
            .iter()
            .enumerate()
            .map(|(n, interface)| {
                let mut nic = template.clone();
                nic.name = format!("eno{}", n + 1);
                nic.mac = interface.mac;
                nic
            })
            .collect();
        self.node = Some(node);
        self.plan();
    }

    pub fn forget_node(&mut self) {
        (self.node, self.disks, self.tokens, self.planned) = (None, None, None, None);
    }

    pub fn judge_all(&self, skips: &Skips) -> PreflightReport {
        judge_all(
            &Input {
                purpose: self.purpose,
                inventory: &self.inventory,
                node: self.node.as_ref(),
                disks: self.disks.as_ref(),
                tokens: self.tokens.as_ref(),
                medium: self.medium.as_ref(),
                planned: self.planned.as_ref(),
                token_ca_hash: self.token_ca_hash.as_deref(),
                cluster_exists: self.cluster_exists,
                facts: &self.facts,
            },
            skips,
        )
    }

    pub fn judge(&self, id: &str) -> CheckResult {
        self.judge_all(&Skips::default()).check(id).unwrap().clone()
    }
}

pub fn unknown<T>() -> Result<T, NotRun> {
    Err(NotRun::new("nobody could look"))
}

fn medium() -> Medium {
    let digest = |mib: u64| FileDigest { length: mib << 20, sha256: "ab".repeat(32) };
    let image = ImageInfo {
        schema: "metalstrap.image/v1".to_owned(),
        version: "0.1.0".to_owned(),
        build_id: "b1".to_owned(),
        kernel: "6.1.0-39-amd64".to_owned(),
        k3s: Some("v1.28.9+k3s1".to_owned()),
        double: false,
        files: BTreeMap::from([
            ("root.squashfs".to_owned(), digest(300)),
            ("vmlinuz".to_owned(), digest(8)),
            ("initrd".to_owned(), digest(40)),
        ]),
    };
    let artifact = Artifact {
        name: "airgap".to_owned(),
        version: "v1.28.9+k3s1".to_owned(),
        path: "/usr/share/metalstrap/artifacts/airgap.tar".to_owned(),
        length: 200 << 20,
        sha256: "cd".repeat(32),
        install_to: Some("/var/lib/rancher/k3s/agent/images/airgap.tar".to_owned()),
    };
    let schema = "metalstrap.artifacts/v1".to_owned();
    Medium { image, artifacts: Artifacts { schema, double: false, artifacts: vec![artifact] } }
}

/// Nobody has the address, the gateway and its DNS answer, the masters are silent.
fn leg() -> LegFindings {
    let ip = |text: &str| -> std::net::IpAddr { text.parse().unwrap() };
    let by = |mac: &str| Answer::By { macs: [mac.parse().unwrap()].into() };
    LegFindings {
        leg: "cluster0".to_owned(),
        device: Some("eno1".to_owned()),
        carrier: Carrier::Up,
        members: BTreeMap::new(),
        own: BTreeMap::from([(ip("10.0.0.12"), Answer::Silent)]),
        watched: ["10.0.0.10", "10.0.0.9", "10.0.0.11", "10.0.0.13", "10.0.0.5"]
            .map(|address| (ip(address), Answer::Silent))
            .into(),
        gateways: BTreeMap::from([(ip("10.0.0.1"), by("02:00:00:00:00:01"))]),
        dns: BTreeMap::from([(ip("10.0.0.1"), DnsAnswer::Answered { rcode: 0 })]),
        mtu: BTreeMap::from([(ip("10.0.0.1"), MtuAnswer::Fits { bytes: 1500 })]),
    }
}

fn facts() -> Facts {
    let day = |text: &str| text.parse().unwrap();
    Facts {
        steal_percent: Ok(0.5),
        memory_controllers: Ok(vec![MemoryController {
            name: "mc0".to_owned(),
            corrected: 2,
            uncorrected: 0,
        }]),
        efi_bits: Ok(Some(64)),
        lockdown: Ok(Some("integrity".to_owned())),
        messages: Ok(KernelMessages::default()),
        sensors: Ok(vec![Sensor { name: "coretemp".to_owned(), celsius: 41.0, critical: Some(100.0) }]),
        random_bits: Ok(256),
        chosen_disk: Ok(ChosenDisk { size_bytes: 20 << 30, sector_bytes: 512, claimed: false }),
        wear: Ok(Wear {
            used_percent: Some(3),
            spare_percent: Some(100),
            spare_threshold_percent: Some(10),
            media_errors: Some(0),
            celsius: Some(38),
        }),
        legs: Ok(vec![leg()]),
        ports: Ok(BTreeMap::from([(
            "eno1".to_owned(),
            PortFacts { duplex: Some("full".to_owned()), mtu_max: Some(9000) },
        )])),
        driverless: Ok(vec![]),
        routes: Ok(vec![Route { to: "10.0.0.0/22".parse().unwrap(), interface: "eno1".to_owned() }]),
        now: Ok(day("2026-11-21T12:00:00Z")),
        kernel_built: Ok(day("2025-08-26T00:00:00Z")),
        rtc: Ok(Some(day("2026-11-21T12:00:02Z"))),
        clock_error: Ok(Duration::from_millis(12)),
        ntp: Ok(vec![NtpAnswer { server: "10.0.0.1".to_owned(), offset_secs: Ok(0.004) }]),
        time_zone_known: Ok(true),
        api: Ok(Api {
            address: "10.0.0.10:6443".to_owned(),
            ping: Some(Ok(())),
            ca: Some(Ok(ShownCa { hashes: vec![CA.to_owned()], signs_server: Ok(()) })),
        }),
        files: Ok(vec![FileLook { path: "/m/live/vmlinuz".to_owned(), wanted: 8 << 20, found: Ok(8 << 20) }]),
        running_build: Ok("b1".to_owned()),
        units_missing: Ok(vec![]),
        loaders_missing: Ok(vec![]),
        tools_missing: Ok(vec![]),
        scratch_bytes: Ok(400 << 20),
        kernel: Ok("6.1.0-39-amd64".to_owned()),
        modules_missing: Ok(BTreeSet::new()),
        file_systems: Ok(["ext4", "overlay", "squashfs", "proc"].map(str::to_owned).into()),
        cgroups: Ok(Some(["cpu", "cpuset", "memory", "pids", "io"].map(str::to_owned).into())),
        features_missing: Ok(vec![]),
        sysctls_missing: Ok(BTreeSet::new()),
        taint: Ok(0),
        firewall: Ok(Ok(())),
    }
}
