//! The search over a machine made of tables, and the placeholders.

use super::{ConfigLocation, FoundConfig, KernelArgs, World, fill_placeholders, find_config};
use crate::exit::ExitCode;
use crate::inventory::{Inventory, Volume, parse_inventory};
use profiles::node::NodeSecrets;
use profiles::secret::Secret;
use std::collections::BTreeMap;

/// A machine: files by `place/path`, volumes that appear after some waits, things that fail.
#[derive(Default)]
struct Machine {
    volumes: Vec<(u32, Volume)>,
    files: BTreeMap<String, &'static str>,
    broken: Vec<&'static str>,
    patience: u32,
    waited: u32,
    fetched: Vec<String>,
}

impl Machine {
    fn with_volume(mut self, after: u32, label: &str, device: &str) -> Self {
        let volume =
            Volume { device: device.to_owned(), label: label.to_owned(), fs_type: "vfat".to_owned() };
        self.volumes.push((after, volume));
        self
    }

    fn with_file(mut self, name: &str, text: &'static str) -> Self {
        self.files.insert(name.to_owned(), text);
        self
    }

    fn read(&self, place: &str, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, String> {
        if self.broken.contains(&place) {
            return Err("Input/output error".to_owned());
        }
        let file =
            |path: &String| self.files.get(&format!("{place}/{path}")).map(|text| text.as_bytes().to_vec());
        Ok(paths.iter().map(file).collect())
    }
}

impl World for Machine {
    fn volumes(&mut self) -> Result<Vec<Volume>, String> {
        Ok(self.volumes.iter().filter(|(after, _)| *after <= self.waited).map(|(_, v)| v.clone()).collect())
    }
    fn read_volume(&mut self, volume: &Volume, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, String> {
        self.read(&volume.device, paths)
    }
    fn read_boot_medium(&mut self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, String> {
        self.read("medium", paths)
    }
    fn fetch(&mut self, url: &str) -> Result<Option<Vec<u8>>, String> {
        self.fetched.push(url.to_owned());
        if self.broken.contains(&"network") {
            return Err(format!("fetching {url}: no route to host"));
        }
        Ok(self.files.get(url).map(|text| text.as_bytes().to_vec()))
    }
    fn wait(&mut self) -> bool {
        self.waited += 1;
        self.waited <= self.patience
    }
}

fn machine_inventory() -> Inventory {
    parse_inventory(include_str!("../../tests/fixtures/inventory/eight-nics.json")).unwrap()
}

fn find(machine: &mut Machine, args: &KernelArgs) -> Result<FoundConfig, crate::refusal::Refusal> {
    find_config(args, &machine_inventory(), machine)
}

fn config(location: ConfigLocation) -> KernelArgs {
    KernelArgs { config: Some(location), ..KernelArgs::default() }
}

#[test]
fn the_volume_metalstrap_comes_before_cidata_and_the_boot_medium() {
    let mut machine = Machine::default()
        .with_volume(0, "cidata", "/dev/sdc")
        .with_volume(0, "METALSTRAP", "/dev/sdb1")
        .with_file("/dev/sdb1/cluster.toml", "one")
        .with_file("/dev/sdb1/secrets.toml", "s")
        .with_file("/dev/sdc/cluster.toml", "two")
        .with_file("medium/cluster.toml", "three");
    let found = find(&mut machine, &KernelArgs::default()).unwrap();
    assert_eq!(format!("{found:?}"), "volume METALSTRAP (/dev/sdb1), /cluster.toml (3 bytes with secrets)");
    machine.files.remove("/dev/sdb1/cluster.toml");
    assert_eq!(
        find(&mut machine, &KernelArgs::default()).unwrap().origin,
        "volume cidata (/dev/sdc), /cluster.toml"
    );
    machine.files.remove("/dev/sdc/cluster.toml");
    assert_eq!(find(&mut machine, &KernelArgs::default()).unwrap().origin, "the boot medium, /cluster.toml");
}

#[test]
fn the_folder_metalstrap_comes_first_and_takes_its_own_secrets() {
    let mut machine = Machine::default()
        .with_file("medium/cluster.toml", "root")
        .with_file("medium/secrets.toml", "root secrets")
        .with_file("medium/metalstrap/cluster.toml", "folder");
    let found = find(&mut machine, &KernelArgs::default()).unwrap();
    assert_eq!((found.cluster.as_slice(), found.secrets), (b"folder".as_slice(), None));
}

#[test]
fn says_everything_it_tried_when_there_is_nothing() {
    let mut machine = Machine { patience: 2, ..Machine::default() }.with_volume(0, "METALSTRAP", "/dev/sdb1");
    let refusal = find(&mut machine, &KernelArgs::default()).unwrap_err();
    assert_eq!((refusal.exit, machine.waited), (ExitCode::InvalidInput, 3));
    assert_eq!(
        refusal.to_string(),
        "E_CONFIG_NONE: no cluster file was found; put it on a volume labelled METALSTRAP or name it with metalstrap.config=\n  \
         volume METALSTRAP (/dev/sdb1): has neither /metalstrap/cluster.toml nor /cluster.toml\n  \
         volume CIDATA: not there\n  \
         the boot medium: has neither /metalstrap/cluster.toml nor /cluster.toml"
    );
}

#[test]
fn waits_for_a_volume_that_comes_late() {
    let mut machine = Machine { patience: 5, ..Machine::default() }
        .with_volume(3, "SITE", "/dev/sdb")
        .with_file("/dev/sdb/metalstrap/cluster.toml", "x")
        .with_file("medium/cluster.toml", "not asked");
    let found = find(&mut machine, &config(ConfigLocation::Label("site".to_owned()))).unwrap();
    assert_eq!(
        (found.origin.as_str(), machine.waited),
        ("volume SITE (/dev/sdb), /metalstrap/cluster.toml", 3)
    );
}

#[test]
fn a_volume_that_cannot_be_read_is_not_passed_over() {
    let mut machine = Machine { broken: vec!["/dev/sdb1"], ..Machine::default() }
        .with_volume(0, "METALSTRAP", "/dev/sdb1")
        .with_file("medium/cluster.toml", "x");
    let refusal = find(&mut machine, &KernelArgs::default()).unwrap_err();
    assert_eq!(refusal.exit, ExitCode::Environment);
    assert_eq!(
        refusal.to_string(),
        "E_CONFIG_UNREADABLE: a configuration medium cannot be read: volume METALSTRAP (/dev/sdb1): Input/output error"
    );
}

#[test]
fn two_volumes_with_a_cluster_file_are_refused() {
    let mut machine = Machine::default()
        .with_volume(0, "METALSTRAP", "/dev/sdb1")
        .with_volume(0, "METALSTRAP", "/dev/sdc1")
        .with_file("/dev/sdb1/cluster.toml", "x")
        .with_file("/dev/sdc1/cluster.toml", "y");
    assert_eq!(
        find(&mut machine, &KernelArgs::default()).unwrap_err().to_string(),
        "E_CONFIG_AMBIGUOUS: 2 volumes labelled METALSTRAP have a cluster file; remove all but one\n  \
         volume METALSTRAP (/dev/sdb1), /cluster.toml\n  \
         volume METALSTRAP (/dev/sdc1), /cluster.toml"
    );
}

#[test]
fn fetches_the_cluster_file_and_the_secrets_beside_it() {
    let url = "http://10.0.0.1/c/3c-ec-ef-00-16-03.toml";
    let mut machine = Machine::default().with_file(url, "x").with_file("http://10.0.0.1/c/secrets.toml", "s");
    let found =
        find(&mut machine, &config(ConfigLocation::Url("http://10.0.0.1/c/${mac}.toml".to_owned()))).unwrap();
    assert_eq!((found.origin.as_str(), found.secrets.is_some()), (url, true));
    assert_eq!(machine.fetched, [url, "http://10.0.0.1/c/secrets.toml"]);
}

#[test]
fn tokens_that_came_over_plain_http_are_told_and_nothing_else_is() {
    let found = |origin: &str| FoundConfig { origin: origin.to_owned(), cluster: Vec::new(), secrets: None };
    let none = NodeSecrets::default();
    let agent = NodeSecrets { agent_token: Some(Secret::new("t")), ..NodeSecrets::default() };
    let server = NodeSecrets { server_token: Some(Secret::new("t")), ..NodeSecrets::default() };
    let text = "the tokens of the cluster came over http, which anybody on the way can read; serve them over https, or put \
                cluster.toml and secrets.toml on a volume METALSTRAP";
    let clear = found("http://10.0.0.1/c.toml");
    assert_eq!([clear.warn_of_way(&agent), clear.warn_of_way(&server)], [Some(text), Some(text)]);
    assert_eq!(clear.warn_of_way(&none), None);
    for origin in ["https://10.0.0.1/c.toml", "volume METALSTRAP (/dev/sdb1), /cluster.toml"] {
        assert_eq!(found(origin).warn_of_way(&server), None, "{origin}");
    }
}

#[test]
fn a_url_that_fails_or_has_nothing_is_refused_without_looking_elsewhere() {
    let args = config(ConfigLocation::Url("http://10.0.0.1/x?id=1".to_owned()));
    let mut machine = Machine::default().with_file("medium/cluster.toml", "x");
    let refusal = find(&mut machine, &args).unwrap_err();
    let text = "E_CONFIG_NONE: the server has no cluster file at http://10.0.0.1/x?id=1";
    assert_eq!((refusal.exit, refusal.to_string().as_str()), (ExitCode::InvalidInput, text));
    machine.broken.push("network");
    let refusal = find(&mut machine, &args).unwrap_err();
    let text = "E_CONFIG_FETCH: fetching http://10.0.0.1/x?id=1: no route to host";
    assert_eq!((refusal.exit, refusal.to_string().as_str()), (ExitCode::Download, text));
}

#[test]
fn placeholders_are_filled_and_encoded() {
    let mut inventory = machine_inventory();
    inventory.dmi.serial = Some("../a b/\u{e9}".to_owned());
    let url = fill_placeholders(
        "http://h/${serial}/${uuid}/${hostname}?${mac}",
        &{
            inventory.dmi.uuid = Some(uuid::Uuid::from_u128(1));
            inventory.clone()
        },
        Some("n1"),
    );
    assert_eq!(
        url.unwrap(),
        "http://h/..%2Fa%20b%2F%C3%A9/00000000-0000-0000-0000-000000000001/n1?3c-ec-ef-00-16-03"
    );
    inventory.dmi.serial = Some("..".to_owned());
    assert_eq!(fill_placeholders("http://h/${serial}", &inventory, None).unwrap(), "http://h/%2E%2E");
}

#[test]
fn placeholders_without_a_value_are_refused() {
    let mut inventory = machine_inventory();
    inventory.dmi = crate::inventory::Dmi::default();
    for (url, text) in [
        ("http://h/${uuid}", "this machine has no value for the placeholder ${uuid}"),
        ("http://h/${hostname}", "this machine has no value for the placeholder ${hostname}"),
        ("http://h/${ip}", "unknown placeholder ${ip}; ${mac}, ${serial}, ${uuid} and ${hostname} are known"),
        ("http://h/${mac", "the placeholder in \"http://h/${mac\" is not closed"),
    ] {
        let refusal = fill_placeholders(url, &inventory, None).unwrap_err();
        assert_eq!((refusal.code, refusal.message.as_str()), ("E_CONFIG_PLACEHOLDER", text));
    }
}
