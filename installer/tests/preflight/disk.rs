use crate::world::{Case, case, unknown};
use installer::inventory::{HealthStatus, InstallSummary};
use installer::preflight::Outcome::{CouldNotRun, Fail, NotApplicable, Pass, Warn};

const NO_NODE: &str = "no cluster file says what this machine is to become";
const NO_DISK: &str = "no disk was chosen";

fn without_disk(w: &mut crate::world::World) {
    w.inventory.disks.clear();
    w.plan();
}

fn second_disk(w: &mut crate::world::World) -> &mut installer::inventory::Disk {
    let mut other = w.inventory.disks[0].clone();
    other.path = "/dev/sdb".to_owned();
    (other.serial, other.wwn) = (Some("OTHER".to_owned()), None);
    w.inventory.disks.push(other);
    w.inventory.disks.last_mut().unwrap()
}

pub const CASES: &[Case] = &[
    case(
        "disk.choice",
        |_| {},
        Pass,
        "/dev/nvme0n1 (20 GiB nvme, Fast One, serial MS-0001) is the only disk that may be taken, it is empty",
    ),
    case("disk.choice", without_disk, Fail, "this machine has no disk to install to; attach one"),
    case(
        "disk.choice",
        |w| {
            second_disk(w);
            w.plan();
        },
        Fail,
        "2 disks can be taken; name one with disk.serial in the cluster file or metalstrap.disk=SERIAL",
    ),
    case("disk.choice", |w| w.forget_node(), CouldNotRun, NO_NODE),
    case("disk.unchanged", |_| {}, Pass, "/dev/nvme0n1 is as it was, and nobody holds it"),
    case(
        "disk.unchanged",
        |w| w.facts.chosen_disk.as_mut().unwrap().size_bytes = 1024,
        Fail,
        "/dev/nvme0n1 has 1024 bytes in sectors of 512, the plan was made for 21474836480 bytes in sectors of 512",
    ),
    case(
        "disk.unchanged",
        |w| w.facts.chosen_disk.as_mut().unwrap().claimed = true,
        Fail,
        "/dev/nvme0n1 is in use",
    ),
    case("disk.unchanged", |w| w.facts.chosen_disk = unknown(), CouldNotRun, "nobody could look"),
    case("disk.unchanged", without_disk, CouldNotRun, NO_DISK),
    case("disk.state-room", |_| {}, Pass, "the state partition has 16893 MiB"),
    case(
        "disk.state-room",
        |w| {
            w.inventory.disks[0].size_bytes = 8 << 30;
            w.plan();
        },
        Warn,
        "the state partition has 4605 MiB, a Kubernetes node should have 8192 MiB",
    ),
    case(
        "disk.state-room",
        |w| {
            let planned = w.planned.as_mut().unwrap().as_mut().unwrap();
            planned.artifacts[0].length = 20 << 30;
        },
        Fail,
        "the state partition would have 16893 MiB, the artefacts of this image need 20992 MiB; take a larger disk",
    ),
    case("disk.state-room", without_disk, CouldNotRun, NO_DISK),
    case("disk.rotational", |_| {}, Pass, "/dev/nvme0n1 is flash"),
    case(
        "disk.rotational",
        |w| {
            w.inventory.disks[0].transport = Some("sata".to_owned());
            w.inventory.disks[0].rotational = true;
            w.plan();
        },
        Warn,
        "/dev/nvme0n1 is a turning disk",
    ),
    case(
        "disk.rotational",
        |w| {
            w.inventory.disks[0].transport = Some("virtio".to_owned());
            w.inventory.disks[0].rotational = true;
            w.plan();
        },
        NotApplicable,
        "/dev/nvme0n1 is virtual: what is below it is not known",
    ),
    case("disk.rotational", |w| w.become_node("worker-1"), NotApplicable, "no etcd on this node"),
    case("disk.rotational", without_disk, CouldNotRun, NO_DISK),
    case("disk.health", |_| {}, Pass, "/dev/nvme0n1 says that it is well"),
    case("disk.health", |w| second_disk(w).health.status = HealthStatus::Failing, Warn, "/dev/sdb fails"),
    case(
        "disk.health",
        |w| {
            w.inventory.disks[0].health.status = HealthStatus::Unknown;
            w.inventory.disks[0].health.detail = Some("smartctl is not there".to_owned());
            w.plan();
        },
        CouldNotRun,
        "the health of /dev/nvme0n1 is not known (smartctl is not there)",
    ),
    case("disk.wear", |_| {}, Pass, "/dev/nvme0n1 has used 3 % of its rated life"),
    case(
        "disk.wear",
        |w| w.facts.wear.as_mut().unwrap().used_percent = Some(80),
        Warn,
        "/dev/nvme0n1 has used 80 % of its rated life",
    ),
    case(
        "disk.wear",
        |w| w.facts.wear.as_mut().unwrap().spare_percent = Some(10),
        Warn,
        "/dev/nvme0n1 has 10 % spare left, its maker's limit is 10 %",
    ),
    case(
        "disk.wear",
        |w| w.facts.wear.as_mut().unwrap().used_percent = None,
        CouldNotRun,
        "/dev/nvme0n1 does not tell",
    ),
    case(
        "disk.wear",
        |w| {
            w.inventory.disks[0].transport = Some("virtio".to_owned());
            w.plan();
        },
        NotApplicable,
        "/dev/nvme0n1 is a virtual disk",
    ),
    case("disk.media-errors", |_| {}, Pass, "/dev/nvme0n1 counts none"),
    case(
        "disk.media-errors",
        |w| w.facts.wear.as_mut().unwrap().media_errors = Some(1),
        Warn,
        "/dev/nvme0n1 counts 1 media errors",
    ),
    case("disk.media-errors", |w| w.facts.wear = unknown(), CouldNotRun, "nobody could look"),
    case("disk.temperature", |_| {}, Pass, "/dev/nvme0n1 has 38 °C"),
    case(
        "disk.temperature",
        |w| w.facts.wear.as_mut().unwrap().celsius = Some(70),
        Warn,
        "/dev/nvme0n1 has 70 °C",
    ),
    case(
        "disk.temperature",
        |w| w.facts.wear.as_mut().unwrap().celsius = None,
        CouldNotRun,
        "/dev/nvme0n1 does not tell",
    ),
    case("disk.other-install", |_| {}, Pass, "none"),
    case(
        "disk.other-install",
        |w| {
            second_disk(w).install_record = Some(InstallSummary {
                install_id: uuid::Uuid::nil(),
                cluster: "old".to_owned(),
                hostname: "m9".to_owned(),
                image: "0".to_owned(),
            });
        },
        Warn,
        "/dev/sdb holds m9 of cluster old",
    ),
    case("disk.other-install", without_disk, CouldNotRun, NO_DISK),
    case(
        "disk.fsync",
        |_| {},
        CouldNotRun,
        "it has to write: an install measures it when the disk is its own",
    ),
    case("disk.fsync", |w| w.become_node("proxy-1"), NotApplicable, "no etcd on this node"),
];
