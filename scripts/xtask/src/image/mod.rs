//! `cargo xtask image`: Debian packages, our files and the artefacts become the root image, the ISO and the PXE folder.
//!
//! A row of cached stages, each with a key over all its inputs: base tree → initrd; base tree + layer → squashfs; all → media.

mod base;
mod iso;
mod layer;
pub mod live;
pub mod medium;
mod pxe;
#[cfg(test)]
mod recipe_tests;
mod reproducible;
mod sources;
pub mod stage;

use crate::artefacts::{self, Artefacts};
use crate::failure::CommandResult;
use crate::{host, pins};
use anyhow::{Context, Result, anyhow};
use base::Base;
use clap::Args;
use layer::{ImageFacts, Layer};
use stage::Key;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Arguments of `cargo xtask image`.
#[derive(Args, Clone, Debug, Default)]
pub struct ImageArgs {
    /// Compress as well as possible (minutes instead of seconds).
    #[arg(long)]
    pub release: bool,
    /// Folder with the artefacts, in place of the network.
    #[arg(long, value_name = "DIR")]
    pub artifacts: Option<PathBuf>,
    /// The file of pins [default: images/pins.toml].
    #[arg(long, value_name = "FILE")]
    pub pins: Option<PathBuf>,
    /// Put the test double in the place of k3s. The image says so loudly.
    #[arg(long, conflicts_with = "no_kubernetes")]
    pub double: bool,
    /// Debian mirror, in place of what /etc/apt names.
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Leave Kubernetes out: an image for proxies.
    #[arg(long, conflicts_with_all = ["artifacts", "pins"])]
    pub no_kubernetes: bool,
    /// Where the media go [default: out].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Build everything but the base tree a second time and compare all files.
    #[arg(long)]
    pub check_reproducible: bool,
    /// With --check-reproducible: build the base tree a second time, too.
    #[arg(long, requires = "check_reproducible")]
    pub with_base: bool,
}

/// What kind of Kubernetes an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// k3s.
    Kubernetes,
    /// The test double.
    Double,
    /// None.
    Plain,
}

/// The media of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// The ISO.
    pub iso: PathBuf,
    /// The folder to serve by HTTP and TFTP; the live files are in `live/` within.
    pub pxe: PathBuf,
    /// False when nothing had changed.
    pub rebuilt: bool,
}

impl ImageArgs {
    fn kind(&self) -> Kind {
        match (self.double, self.no_kubernetes) {
            (true, _) => Kind::Double,
            (_, true) => Kind::Plain,
            _ => Kind::Kubernetes,
        }
    }

    fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| host::workspace().join("out"))
    }
}

/// Runs the command.
///
/// # Errors
/// As [`build`]; exit code 1 when the second build differs from the first.
pub fn run(args: &ImageArgs) -> CommandResult {
    let built = build(args)?;
    let (length, _) = stage::measure(&built.iso)?;
    let state = if built.rebuilt { "built" } else { "up to date" };
    println!(
        "{} {state}, {:.1} MB; PXE folder {}",
        built.iso.display(),
        length as f64 / 1e6,
        built.pxe.display()
    );
    if args.check_reproducible { reproducible::check(args, &built) } else { Ok(()) }
}

/// Builds what has changed since the last time.
///
/// # Errors
/// Exit code 2 for pins of the wrong kind, 4 when a tool fails, 5 for an artefact or package that cannot be had.
pub fn build(args: &ImageArgs) -> Result<BuiltImage> {
    let cache = host::cache();
    std::fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = File::open(&cache).with_context(|| format!("opening {}", cache.display()))?;
    lock.lock().with_context(|| format!("waiting for {}", cache.display()))?;
    // dpkg and the mirror leave cores idle that the compiler takes.
    let (base, programs) = std::thread::scope(|scope| {
        let programs = scope.spawn(|| build_programs(args.kind()));
        let base = base::ensure(&cache, args.mirror.as_deref());
        (base, programs.join().unwrap_or_else(|_| Err(anyhow!("the build of our programs ended by a panic"))))
    });
    build_on(&base?, args, &cache, &args.out(), &programs?)
}

fn build_on(base: &Base, args: &ImageArgs, cache: &Path, out: &Path, programs: &Path) -> Result<BuiltImage> {
    let kind = args.kind();
    let boot = ensure_initrd(base, cache)?;
    let artefacts = collect_artefacts(args, cache, programs)?;
    let mut layer = Layer::collect(base, programs, &artefacts, kind)?;
    // Larger xz blocks save little and make every page fault of a program unpack more.
    let (compression, block) = if args.release { ("xz", "256K") } else { ("zstd", "128K") };
    let root_key = Key::new("root", 1)
        .with("base", base.key.text())
        .with("layer", layer.key()?.text())
        .with("code", include_str!("layer.rs"))
        .with("compression", compression)
        .with("block", block)
        .with("script", stage::read(&host::workspace().join("images/build/squashfs.sh"))?);
    let facts = ImageFacts {
        schema: "metalstrap.image/v1",
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build_id: root_key.text(),
        kernel: std::fs::read_to_string(boot.join("kernel"))
            .context("reading the kernel release")?
            .trim()
            .to_owned(),
        k3s: artefacts.k3s_version.clone(),
        double: artefacts.double,
    };
    layer.add_facts(&facts)?;
    let (root, _) = stage::ensure(cache, "root", &root_key, |folder| {
        eprintln!("xtask: compressing the root image with {compression}");
        make_squashfs(base, &layer, folder, compression, block)
    })?;
    write_media(base, &facts, kind, &root, &boot, out)
}

/// Kernel and initrd for the base tree.
fn ensure_initrd(base: &Base, cache: &Path) -> Result<PathBuf> {
    let images = host::workspace().join("images");
    let key = Key::new("initrd", 1)
        .with("base", base.key.text())
        .with_path(&images.join("initramfs"))?
        .with("script", stage::read(&images.join("build/initrd.sh"))?);
    let (folder, _) = stage::ensure(cache, "initrd", &key, |folder| {
        eprintln!("xtask: making the initrd");
        let mut command = host::privileged("env");
        command.arg(format!("SOURCE_DATE_EPOCH={}", base.seconds)).args(["unshare", "--mount", "--"]);
        command.arg(images.join("build/initrd.sh")).arg(&base.tree).arg(images.join("initramfs")).arg(folder);
        host::output(&mut command).context("making the initrd").map(|_| ())
    })?;
    Ok(folder)
}

fn make_squashfs(base: &Base, layer: &Layer, folder: &Path, compression: &str, block: &str) -> Result<()> {
    let tree = tempfile::tempdir_in(folder).context("making a temporary folder")?;
    let result = layer.write(tree.path()).and_then(|()| {
        let mut command = host::privileged("unshare");
        command.args(["--mount", "--"]).arg(host::workspace().join("images/build/squashfs.sh"));
        command
            .arg(&base.tree)
            .arg(tree.path())
            .arg(folder.join("root.squashfs"))
            .arg(base.seconds.to_string());
        command.args(["-comp", compression, "-b", block]);
        if compression == "zstd" {
            command.args(["-Xcompression-level", "3"]);
        }
        host::output(&mut command).context("making the root image").map(|_| ())
    });
    stage::remove(tree.path())?; // it belongs to root
    result
}

/// Our programs, built for the image; gives their folder.
fn build_programs(kind: Kind) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = host::command(cargo);
    command.current_dir(host::workspace());
    command.args(["build", "--quiet", "--release", "--package", "installer", "--package", "agent", "--bins"]);
    if kind == Kind::Double {
        command.args(["--package", "k3s-double"]);
    }
    host::run(&mut command).context("building our programs")?;
    Ok(host::target().join("release"))
}

fn collect_artefacts(args: &ImageArgs, cache: &Path, programs: &Path) -> Result<Artefacts> {
    if args.kind() == Kind::Plain {
        return Ok(Artefacts::default());
    }
    if args.kind() == Kind::Double && args.pins.is_none() {
        let folder = make_double(cache, programs)?;
        let pins = folder.join("pins.toml");
        return artefacts::collect(&pins, Some(&folder), cache, true);
    }
    let pins = args.pins.clone().unwrap_or_else(pins::shipped);
    artefacts::collect(&pins, args.artifacts.as_deref(), cache, args.double)
}

/// The test double's own artefacts and pins, made by the double.
fn make_double(cache: &Path, programs: &Path) -> Result<PathBuf> {
    let folder = cache.join("double");
    stage::remove(&folder)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut command = host::command(programs.join("k3s-double"));
    host::output(command.arg("make-artifacts").arg(&folder)).context("making the test double's artefacts")?;
    Ok(folder)
}

fn write_media(
    base: &Base,
    facts: &ImageFacts,
    kind: Kind,
    root: &Path,
    boot: &Path,
    out: &Path,
) -> Result<BuiltImage> {
    let mark = if kind == Kind::Double { "-DOUBLE" } else { "" };
    let built = BuiltImage {
        iso: out.join(format!("metalstrap{mark}-{}.iso", facts.version)),
        pxe: out.join(format!("pxe{mark}")),
        rebuilt: false,
    };
    let images = host::workspace().join("images");
    let key = Key::new("media", 1)
        .with("facts", serde_json::to_string(facts)?)
        .with("initrd", stage::read(&boot.join("initrd"))?)
        .with("base", base.key.text())
        .with("code", concat!(include_str!("iso.rs"), include_str!("pxe.rs"), include_str!("live.rs")))
        .with_path(&images.join("grub"))?
        .with_path(&images.join("pxe"))?;
    let stamp = out.join(format!(".key{mark}"));
    if std::fs::read_to_string(&stamp).is_ok_and(|old| old == key.text())
        && built.iso.exists()
        && built.pxe.exists()
    {
        return Ok(built);
    }
    std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    for old in [&stamp, &built.iso, &built.pxe] {
        stage::remove(old)?;
    }
    eprintln!("xtask: writing the ISO and the PXE folder");
    let title = format!(
        "metalstrap {}{}",
        facts.version,
        if kind == Kind::Double { " (K3S DOUBLE, not Kubernetes)" } else { "" }
    );
    let work = tempfile::tempdir_in(out).context("making a temporary folder")?;
    let live_files = work.path().join("live");
    let sums = live::write(&live_files, root, boot, facts)?;
    iso::write(base, &live_files, &title, &built.iso)?;
    pxe::write(base, &live_files, &sums, &title, &built.pxe)?;
    host::write(&stamp, key.text())?;
    Ok(BuiltImage { rebuilt: true, ..built })
}
