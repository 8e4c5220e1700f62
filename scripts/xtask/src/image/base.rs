//! The base tree: Debian packages by mmdebstrap, cached until the package lists, the scripts or the mirror change.

use super::sources::{self, Release, Source};
use super::stage::{self, Key};
use crate::failure::{DOWNLOAD, ENVIRONMENT, failure};
use crate::host;
use crate::setup::parse_package_list;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// apt settings of the build host that reach the mirror, and therefore apply to the build as well.
const APT_SETTINGS: [&str; 6] = [
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::Retries",
    "Acquire::ForceIPv4",
];
/// How long the mirror may take to answer for one index.
const INDEX_TIMEOUT: Duration = Duration::from_secs(60);

/// The base tree and what follows from it.
pub struct Base {
    /// The tree.
    pub tree: PathBuf,
    /// Its key.
    pub key: Key,
    /// The one time all files of the image get: when the newest package index was made.
    pub seconds: i64,
}

/// Makes or finds the base tree.
///
/// # Errors
/// Exit code 4 without usable sources or when mmdebstrap fails, 5 when the mirror cannot be reached.
pub fn ensure(cache: &Path, mirror: Option<&str>) -> Result<Base> {
    let images = host::workspace().join("images");
    let settings = apt_settings()?;
    let suites = read_suites(cache, mirror, &settings)?;
    let mut key = Key::new("base", 1);
    for name in ["packages", "build/customize-base.sh"] {
        key = key.with(name, "").with_path(&images.join(name))?;
    }
    for suite in &suites {
        key = key.with(&suite.line, &suite.inrelease);
    }
    let seconds = suites.iter().map(|suite| suite.seconds).max().unwrap_or_default();
    let (folder, _) = stage::ensure(cache, "base", &key, |folder| {
        eprintln!("xtask: building the base tree from {} Debian suites", suites.len());
        bootstrap(cache, folder, &suites, &settings, seconds)
    })?;
    Ok(Base { tree: folder.join("tree"), key, seconds })
}

/// One suite as it is now.
struct Suite {
    line: String,
    inrelease: String,
    seconds: i64,
}

fn bootstrap(cache: &Path, folder: &Path, suites: &[Suite], settings: &[String], seconds: i64) -> Result<()> {
    let images = host::workspace().join("images");
    let debs = cache.join("debs");
    std::fs::create_dir_all(&debs).with_context(|| format!("making {}", debs.display()))?;
    let packages = package_names(&images, suites)?;
    let list = folder.join("sources.list");
    let lines: Vec<&str> = suites.iter().map(|suite| suite.line.as_str()).collect();
    host::write(&list, lines.join("\n") + "\n")?;

    let mut command = host::privileged("env");
    // INITRD=No: the kernel's package makes no initrd; that is a stage of its own, with its own inputs.
    command.args([
        format!("SOURCE_DATE_EPOCH={seconds}"),
        "INITRD=No".to_owned(),
        "LC_ALL=C.UTF-8".to_owned(),
    ]);
    command.args(["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory"]);
    command.arg(format!("--include={}", packages.into_iter().collect::<Vec<_>>().join(",")));
    for option in ["Apt::Install-Recommends \"false\"", "Acquire::Languages \"none\""] {
        command.arg(format!("--aptopt={option}"));
    }
    command.args(settings.iter().map(|setting| format!("--aptopt={setting}")));
    command.arg("--dpkgopt=force-unsafe-io");
    command.arg(format!("--dpkgopt={}", images.join("packages/path-excludes.conf").display()));
    // Packages fetched once are kept; apt compares them with its index.
    let debs = debs.display();
    command.args(["--skip=download/empty", "--skip=essential/unlink"]);
    command.arg(format!(
        "--setup-hook=mkdir -p \"$1/var/cache/apt/archives/partial\"; cp -al '{debs}/.' \"$1/var/cache/apt/archives/\""
    ));
    command.arg(format!("--customize-hook=cp -aln \"$1\"/var/cache/apt/archives/*.deb '{debs}/'"));
    command.arg(format!("--customize-hook='{}' \"$1\"", images.join("build/customize-base.sh").display()));
    command.arg(sources::RELEASE).arg(folder.join("tree")).arg(&list);
    host::output(&mut command).context("building the base tree").map(|_| ())
}

fn package_names(images: &Path, suites: &[Suite]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let firmware = suites.iter().any(|suite| suite.line.contains(" non-free-firmware"));
    if !firmware {
        eprintln!("xtask: the mirror has no non-free-firmware: the image gets no firmware and no microcode");
    }
    for list in ["base.txt", "firmware.txt"].iter().filter(|list| firmware || **list != "firmware.txt") {
        let path = images.join("packages").join(list);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        names.extend(parse_package_list(&text).into_iter().map(str::to_owned));
    }
    Ok(names)
}

fn apt_settings() -> Result<Vec<String>> {
    let dump = host::output(host::command("apt-config").arg("dump"))?;
    Ok(select_settings(&dump))
}

/// Those lines of `apt-config dump` that apply to the build.
fn select_settings(dump: &str) -> Vec<String> {
    let ours =
        |line: &&str| APT_SETTINGS.iter().any(|name| line.starts_with(name)) && !line.ends_with("\"\";");
    dump.lines().filter(ours).map(|line| line.trim_end_matches(';').to_owned()).collect()
}

fn proxy_of(settings: &[String], scheme: &str) -> Option<String> {
    let name = format!("Acquire::{scheme}::Proxy \"");
    let value = settings.iter().find_map(|line| line.strip_prefix(&name))?.trim_end_matches('"');
    (value != "DIRECT").then(|| value.to_owned())
}

fn read_suites(cache: &Path, mirror: Option<&str>, settings: &[String]) -> Result<Vec<Suite>> {
    let wanted = match mirror {
        Some(mirror) => sources::from_mirror(mirror),
        None => host_sources()?,
    };
    if !wanted.iter().any(|source| source.suite == sources::RELEASE) {
        let message = format!(
            "no Debian {} source in /etc/apt of this machine; name a mirror with --mirror",
            sources::RELEASE
        );
        return Err(failure(ENVIRONMENT, message));
    }
    let mut suites = Vec::new();
    for source in &wanted {
        let inrelease = match read_inrelease(cache, source, settings) {
            Err(error) if mirror.is_some() && source.suite != sources::RELEASE => {
                eprintln!("xtask: going on without {}: {error:#}", source.suite);
                continue;
            }
            other => other?,
        };
        let release = sources::parse_inrelease(&inrelease);
        if release.origin != "Debian" {
            continue; // a foreign repository that calls its suite by Debian's name
        }
        suites.push(Suite { line: source.line(&release.areas), seconds: seconds_of(&release)?, inrelease });
    }
    Ok(suites)
}

fn seconds_of(release: &Release) -> Result<i64> {
    // RFC 2822 has no name for this zone, Debian's index does.
    let date = release.date.replace(" UTC", " +0000");
    let zoned =
        jiff::fmt::rfc2822::parse(&date).with_context(|| format!("reading the date {}", release.date))?;
    Ok(zoned.timestamp().as_second())
}

fn host_sources() -> Result<BTreeSet<Source>> {
    let mut found = BTreeSet::new();
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(stage::walk(Path::new("/etc/apt/sources.list.d")).unwrap_or_default());
    for path in files.iter().filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => found.extend(sources::parse_one_line(&text)),
            Some("sources") => found.extend(sources::parse_deb822(&text)),
            _ => {}
        }
    }
    Ok(found)
}

/// The index of a suite; the one seen last when the mirror cannot be reached, so that builds go on without a network.
fn read_inrelease(cache: &Path, source: &Source, settings: &[String]) -> Result<String> {
    let url = source.inrelease();
    if let Some(path) = url.strip_prefix("file:") {
        let path = Path::new("/").join(path.trim_start_matches('/'));
        return std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()));
    }
    let kept = cache.join("inrelease").join(Key::new("inrelease", 1).with("url", &url).text());
    match fetch_text(&url, settings) {
        Ok(text) => {
            host::write(&kept, &text)?;
            Ok(text)
        }
        Err(error) => {
            let Ok(text) = std::fs::read_to_string(&kept) else {
                return Err(failure(DOWNLOAD, format!("fetching {url}: {error:#}")));
            };
            eprintln!("xtask: {url} cannot be reached, going on with what it said last");
            Ok(text)
        }
    }
}

fn fetch_text(url: &str, settings: &[String]) -> Result<String> {
    let mut client = reqwest::blocking::Client::builder().timeout(INDEX_TIMEOUT);
    for scheme in ["http", "https"] {
        if let Some(proxy) = proxy_of(settings, scheme) {
            let proxy =
                if scheme == "http" { reqwest::Proxy::http(proxy) } else { reqwest::Proxy::https(proxy) };
            client = client.proxy(proxy.context("reading apt's proxy")?);
        }
    }
    Ok(client.build()?.get(url).send()?.error_for_status()?.text()?)
}

#[cfg(test)]
mod tests {
    use super::{proxy_of, seconds_of, select_settings};
    use crate::image::sources::Release;

    #[test]
    fn apt_settings_are_those_that_reach_the_mirror() {
        let dump = "APT \"\";\nAcquire::http::Proxy \"http://proxy.example:3142\";\nAcquire::https::Proxy \"DIRECT\";\n\
                    Acquire::Check-Valid-Until \"false\";\nAcquire::http \"\";\nAcquire::Languages \"de\";\n";
        let settings = select_settings(dump);
        let expected = [
            "Acquire::http::Proxy \"http://proxy.example:3142\"",
            "Acquire::https::Proxy \"DIRECT\"",
            "Acquire::Check-Valid-Until \"false\"",
        ];
        assert_eq!(settings, expected);
        assert_eq!(proxy_of(&settings, "http").as_deref(), Some("http://proxy.example:3142"));
        assert_eq!(proxy_of(&settings, "https"), None);
    }

    #[test]
    fn date_of_an_index_becomes_the_time_of_the_image() {
        let date = "Sat, 11 Jul 2026 10:16:37 UTC".to_owned();
        let release = Release { origin: String::new(), areas: vec![], date };
        assert_eq!(seconds_of(&release).unwrap(), 1_783_764_997);
    }
}
