use crate::world::{Case, World, case, unknown};
use installer::exit::ExitCode;
use installer::medium::FileLook;
use installer::plan::image::ImageInfo;
use installer::preflight::Outcome::{CouldNotRun, Fail, NotApplicable, Pass, Warn};
use installer::refusal::Refusal;

fn image(w: &mut World) -> &mut ImageInfo {
    &mut w.medium.as_mut().unwrap().as_mut().unwrap().image
}

fn root_mib(w: &mut World, mib: u64) {
    image(w).files.get_mut("root.squashfs").unwrap().length = mib << 20;
}

fn broken_medium(w: &mut World) {
    w.medium = Some(Err(Refusal::new("E_MEDIUM", ExitCode::Download, "reading the medium: image.json")));
}

fn no_medium(w: &mut World) {
    w.medium = None;
}

const NO_MEDIUM: &str = "there is no live medium here";

pub const CASES: &[Case] = &[
    case("medium.readable", |_| {}, Pass, "image 0.1.0 build b1"),
    case("medium.readable", broken_medium, Fail, "reading the medium: image.json"),
    case("medium.readable", no_medium, CouldNotRun, NO_MEDIUM),
    case("medium.files", |_| {}, Pass, "1 files, 8 MiB"),
    case(
        "medium.files",
        |w| {
            w.facts.files.as_mut().unwrap()[0].found =
                Err("No such file or directory (os error 2)".to_owned())
        },
        Fail,
        "/m/live/vmlinuz: No such file or directory (os error 2)",
    ),
    case(
        "medium.files",
        |w| {
            let look = FileLook { path: "/m/x".to_owned(), wanted: 7, found: Ok(6) };
            w.facts.files.as_mut().unwrap().push(look);
        },
        Fail,
        "/m/x has 6 bytes instead of 7",
    ),
    case("medium.files", |w| w.facts.files = unknown(), CouldNotRun, "nobody could look"),
    case(
        "medium.hashes",
        |_| {},
        CouldNotRun,
        "it takes long: an install does it right before its first write",
    ),
    case("medium.slot", |_| {}, Pass, "300 of 1536 MiB"),
    case("medium.slot", |w| root_mib(w, 1400), Warn, "1400 of 1536 MiB"),
    case(
        "medium.slot",
        |w| root_mib(w, 1537),
        Fail,
        "the root image has 1611661312 bytes, a slot has room for 1610612736",
    ),
    case("medium.slot", broken_medium, CouldNotRun, "the medium cannot be read"),
    case("medium.same-image", |_| {}, Pass, "build b1, kernel 6.1.0-39-amd64"),
    case(
        "medium.same-image",
        |w| w.facts.running_build = Ok("b0".to_owned()),
        Warn,
        "running build b0, the medium has b1",
    ),
    case(
        "medium.same-image",
        |w| w.facts.kernel = Ok("6.18".to_owned()),
        Warn,
        "running kernel 6.18, the medium has 6.1.0-39-amd64",
    ),
    case("medium.same-image", no_medium, CouldNotRun, NO_MEDIUM),
    case("image.units", |_| {}, Pass, "all there"),
    case(
        "image.units",
        |w| w.facts.units_missing = Ok(vec!["a.service".to_owned(), "b.service".to_owned()]),
        Fail,
        "the image lacks the units a.service, b.service",
    ),
    case("image.units", |w| w.facts.units_missing = unknown(), CouldNotRun, "nobody could look"),
    case("image.loaders", |_| {}, Pass, "all there"),
    case(
        "image.loaders",
        |w| w.facts.loaders_missing = Ok(vec!["/usr/lib/grub/i386-pc/boot.img".to_owned()]),
        Fail,
        "the image lacks /usr/lib/grub/i386-pc/boot.img",
    ),
    case("image.loaders", |w| w.facts.loaders_missing = unknown(), CouldNotRun, "nobody could look"),
    case("image.tools", |_| {}, Pass, "all there"),
    case(
        "image.tools",
        |w| w.facts.tools_missing = Ok(vec!["mren".to_owned(), "sfdisk".to_owned()]),
        Fail,
        "the live system lacks the programs mren, sfdisk",
    ),
    case("image.tools", |w| w.facts.tools_missing = unknown(), CouldNotRun, "nobody could look"),
    case("image.scratch", |_| {}, Pass, "400 MiB free, 56 MiB are needed"),
    case("image.scratch", |w| w.facts.scratch_bytes = Ok(55 << 20), Warn, "55 MiB free, 56 MiB are needed"),
    case("image.scratch", no_medium, CouldNotRun, NO_MEDIUM),
    case("kernel.modules", |_| {}, Pass, "9 modules"),
    case(
        "kernel.modules",
        |w| w.facts.modules_missing = Ok(["vxlan".to_owned(), "unasked".to_owned()].into()),
        Fail,
        "the kernel has no module vxlan, the node loads it",
    ),
    case("kernel.modules", |w| w.facts.modules_missing = unknown(), CouldNotRun, "nobody could look"),
    case("kernel.file-systems", |_| {}, Pass, "ext4, overlay, squashfs"),
    case(
        "kernel.file-systems",
        |w| w.facts.file_systems = Ok(["ext4".to_owned()].into()),
        Fail,
        "the kernel cannot mount overlay, squashfs",
    ),
    case("kernel.file-systems", |w| w.facts.file_systems = unknown(), CouldNotRun, "nobody could look"),
    case("kernel.cgroups", |_| {}, Pass, "cpu, cpuset, memory, pids"),
    case(
        "kernel.cgroups",
        |w| w.facts.cgroups = Ok(Some(["cpu".to_owned(), "pids".to_owned()].into())),
        Fail,
        "cgroup v2 lacks the controllers cpuset, memory",
    ),
    case(
        "kernel.cgroups",
        |w| w.facts.cgroups = Ok(None),
        Fail,
        "cgroup v2 is not mounted at /sys/fs/cgroup",
    ),
    case("kernel.cgroups", |w| w.become_node("proxy-1"), NotApplicable, "no kubelet on this node"),
    case("kernel.cgroups", |w| w.facts.cgroups = unknown(), CouldNotRun, "nobody could look"),
    case("kernel.features", |_| {}, Pass, "18 features"),
    case(
        "kernel.features",
        |w| w.facts.features_missing = Ok(vec!["bridges".to_owned(), "kernel keys".to_owned()]),
        Warn,
        "without bridges, kernel keys",
    ),
    case("kernel.features", |w| w.facts.features_missing = unknown(), CouldNotRun, "nobody could look"),
    case("kernel.sysctls", |_| {}, Pass, "12 parameters"),
    case(
        "kernel.sysctls",
        |w| w.facts.sysctls_missing = Ok(["kernel.panic".to_owned()].into()),
        Warn,
        "unknown: kernel.panic",
    ),
    case("kernel.sysctls", |w| w.facts.sysctls_missing = unknown(), CouldNotRun, "nobody could look"),
    case("kernel.taint", |w| w.facts.taint = Ok(1 << 9 | 1 << 12), Pass, "no damage"),
    case("kernel.taint", |w| w.facts.taint = Ok(1 << 4 | 1 << 7), Warn, "a machine check, an oops"),
    case("kernel.taint", |w| w.facts.taint = unknown(), CouldNotRun, "nobody could look"),
    case("firewall.rules", |_| {}, Pass, "loaded in a namespace of its own"),
    case(
        "firewall.rules",
        |w| w.facts.firewall = Ok(Err("Error: syntax error".to_owned())),
        Fail,
        "the kernel does not take the firewall of this node: Error: syntax error",
    ),
    case("firewall.rules", |w| w.facts.firewall = unknown(), CouldNotRun, "nobody could look"),
];
