//! The search for the cluster file, in the order of the contract.

use super::arguments::{ConfigLocation, KernelArgs};
use super::placeholders::fill_placeholders;
use super::{CONFIG_PATHS, SECRETS_NAME};
use crate::exit::ExitCode;
use crate::inventory::{CONFIG_LABELS, Inventory, Volume, sanitise};
use crate::refusal::Refusal;
use profiles::node::NodeSecrets;

/// Tokens over plain HTTP.
const TOKENS_IN_CLEAR: &str = "the tokens of the cluster came over http, which anybody on the way can read; serve them over https, or put \
                               cluster.toml and secrets.toml on a volume METALSTRAP";

/// What was found.
#[derive(Clone, PartialEq, Eq)]
pub struct FoundConfig {
    /// Where, for people: `volume METALSTRAP (/dev/sdb1), /cluster.toml`.
    pub origin: String,
    /// The cluster file.
    pub cluster: Vec<u8>,
    /// The secrets file beside it.
    pub secrets: Option<Vec<u8>>,
}

impl FoundConfig {
    /// What the operator should know of the way the tokens in it came; an operator whose network is closed may well want it so.
    pub fn warn_of_way(&self, secrets: &NodeSecrets) -> Option<&'static str> {
        let has_token = secrets.server_token.is_some() || secrets.agent_token.is_some();
        (has_token && self.origin.starts_with("http://")).then_some(TOKENS_IN_CLEAR)
    }
}

impl std::fmt::Debug for FoundConfig {
    /// Where and how long; never the contents.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secrets = if self.secrets.is_some() { " with secrets" } else { "" };
        write!(f, "{} ({} bytes{secrets})", self.origin, self.cluster.len())
    }
}

/// What the search asks of the machine. Errors are texts for people.
pub trait World {
    /// Labelled file systems there are now.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn volumes(&mut self) -> Result<Vec<Volume>, String>;

    /// Reads files of a volume, each `None` when it is not there. Nothing is written to it.
    ///
    /// # Errors
    /// When the volume or a file cannot be read.
    fn read_volume(&mut self, volume: &Volume, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, String>;

    /// Reads files of the boot medium, each `None` when it is not there.
    ///
    /// # Errors
    /// When a file cannot be read.
    fn read_boot_medium(&mut self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, String>;

    /// Fetches a URL; `None` when the server says that it has no such thing.
    ///
    /// # Errors
    /// When there is no answer.
    fn fetch(&mut self, url: &str) -> Result<Option<Vec<u8>>, String>;

    /// Waits a little for volumes to appear; `false` when the patience is at its end.
    fn wait(&mut self) -> bool;
}

/// Finds the cluster file: what `metalstrap.config` says, or a volume `METALSTRAP`, a volume `CIDATA`, the boot medium. Waits
/// for volumes as long as the world has patience.
///
/// # Errors
/// `E_CONFIG_NONE` with everything that was tried, `E_CONFIG_UNREADABLE`, `E_CONFIG_AMBIGUOUS`, `E_CONFIG_FETCH`,
/// `E_CONFIG_PLACEHOLDER`.
pub fn find_config(
    args: &KernelArgs,
    inventory: &Inventory,
    world: &mut dyn World,
) -> Result<FoundConfig, Refusal> {
    if let Some(ConfigLocation::Url(url)) = &args.config {
        let url = fill_placeholders(url, inventory, args.node.as_deref())?;
        return fetch_config(&url, world);
    }
    loop {
        let mut tried = Vec::new();
        if let Some(found) = search_once(args, world, &mut tried)? {
            return Ok(found);
        }
        if !world.wait() {
            let message = "no cluster file was found; put it on a volume labelled METALSTRAP or name it with metalstrap.config=";
            return Err(Refusal::new("E_CONFIG_NONE", ExitCode::InvalidInput, message).with_details(tried));
        }
    }
}

fn search_once(
    args: &KernelArgs,
    world: &mut dyn World,
    tried: &mut Vec<String>,
) -> Result<Option<FoundConfig>, Refusal> {
    let volumes = world.volumes().map_err(|why| unreadable(format!("listing the volumes: {why}")))?;
    let asked: Vec<&str> = match &args.config {
        Some(ConfigLocation::Label(label)) => vec![label],
        _ => CONFIG_LABELS.to_vec(),
    };
    for label in asked {
        if let Some(found) = search_label(label, &volumes, world, tried)? {
            return Ok(Some(found));
        }
    }
    if args.config.is_some() {
        return Ok(None);
    }
    let read = world
        .read_boot_medium(&wanted_paths())
        .map_err(|why| unreadable(format!("the boot medium: {why}")))?;
    let found = pick("the boot medium", read);
    if found.is_none() {
        tried.push(format!("the boot medium: {}", nothing_there()));
    }
    Ok(found)
}

/// Asks all volumes with this label; FAT and ISO 9660 know no lower case.
fn search_label(
    label: &str,
    volumes: &[Volume],
    world: &mut dyn World,
    tried: &mut Vec<String>,
) -> Result<Option<FoundConfig>, Refusal> {
    let mut found: Vec<FoundConfig> = Vec::new();
    let mut any = false;
    for volume in volumes.iter().filter(|volume| volume.label.eq_ignore_ascii_case(label)) {
        any = true;
        let name = format!("volume {} ({})", sanitise(&volume.label), sanitise(&volume.device));
        let read =
            world.read_volume(volume, &wanted_paths()).map_err(|why| unreadable(format!("{name}: {why}")))?;
        match pick(&name, read) {
            Some(config) => found.push(config),
            None => tried.push(format!("{name}: {}", nothing_there())),
        }
    }
    if !any {
        tried.push(format!("volume {}: not there", sanitise(label)));
    }
    if found.len() > 1 {
        let message = format!(
            "{} volumes labelled {} have a cluster file; remove all but one",
            found.len(),
            sanitise(label)
        );
        let details = found.into_iter().map(|config| config.origin);
        return Err(Refusal::new("E_CONFIG_AMBIGUOUS", ExitCode::InvalidInput, message).with_details(details));
    }
    Ok(found.pop())
}

/// Each cluster file path, followed by the secrets file beside it.
fn wanted_paths() -> Vec<String> {
    let beside = |path: &str| match path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{SECRETS_NAME}"),
        None => SECRETS_NAME.to_owned(),
    };
    CONFIG_PATHS.iter().flat_map(|path| [(*path).to_owned(), beside(path)]).collect()
}

fn pick(name: &str, read: Vec<Option<Vec<u8>>>) -> Option<FoundConfig> {
    let mut read = read.into_iter();
    for path in CONFIG_PATHS {
        let (cluster, secrets) = (read.next().flatten(), read.next().flatten());
        if let Some(cluster) = cluster {
            return Some(FoundConfig { origin: format!("{name}, /{path}"), cluster, secrets });
        }
    }
    None
}

fn nothing_there() -> String {
    format!("has neither {}", CONFIG_PATHS.map(|path| format!("/{path}")).join(" nor "))
}

fn fetch_config(url: &str, world: &mut dyn World) -> Result<FoundConfig, Refusal> {
    let failed = |why: String| Refusal::new("E_CONFIG_FETCH", ExitCode::Download, why);
    let shown = sanitise(&sysio::http::without_user(url));
    let Some(cluster) = world.fetch(url).map_err(failed)? else {
        return Err(Refusal::new(
            "E_CONFIG_NONE",
            ExitCode::InvalidInput,
            format!("the server has no cluster file at {shown}"),
        ));
    };
    let secrets = match secrets_url(url) {
        Some(beside) => world.fetch(&beside).map_err(failed)?,
        None => None,
    };
    Ok(FoundConfig { origin: shown, cluster, secrets })
}

/// The secrets file in the folder of the URL; none for a URL with a query, whose folder means nothing.
fn secrets_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (folder, _) = rest.rsplit_once('/').filter(|_| !rest.contains(['?', '#']))?;
    Some(format!("{scheme}://{folder}/{SECRETS_NAME}"))
}

fn unreadable(what: String) -> Refusal {
    let message = format!("a configuration medium cannot be read: {what}");
    Refusal::new("E_CONFIG_UNREADABLE", ExitCode::Environment, message)
}
