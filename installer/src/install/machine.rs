//! The machine itself as the work of a session.

use super::session::{Power, Work};
use super::{Options, Resume, attempt, collect_inventory, merged_args, typed_network};
use crate::config_source::{FoundConfig, LiveWorld, find_config};
use crate::console::{Answers, NetworkAnswer, Operator};
use crate::exit::ExitCode;
use crate::inventory::Inventory;
use crate::plan::sha256_hex;
use crate::refusal::Refusal;
use crate::support::{Destination, Host, automatic_destination, collect_bundle, deliver};
use std::time::Duration;
use sysio::command::Cmd;
use sysio::power;

/// A root shell on the second terminal.
const SHELL_UNIT: &str = "metalstrap-shell.service";
/// systemd takes a request at once or never.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// This machine.
pub(super) struct Installer {
    options: Options,
    /// True once an attempt wrote to the disk: from then on every stop is one with a touched disk.
    touched: bool,
    /// Inventory of the last stop, for the search; ports and disks do not matter to it.
    inventory: Option<Inventory>,
    /// Hash of the configuration the last attempt went by.
    known_config: Option<String>,
    network: Option<NetworkAnswer>,
}

impl Installer {
    pub(super) fn new(options: Options) -> Self {
        Self { options, touched: false, inventory: None, known_config: None, network: None }
    }

    /// One quiet look.
    fn look(&mut self) -> Option<FoundConfig> {
        let args = merged_args(&self.options).ok()?;
        if self.inventory.is_none() {
            self.inventory = collect_inventory().ok();
        }
        find_config(&args, self.inventory.as_ref()?, &mut LiveWorld::impatient()).ok()
    }
}

/// Tells one configuration from another.
fn hash(found: &FoundConfig) -> String {
    let secrets = found.secrets.as_deref().unwrap_or_default();
    sha256_hex(&[sha256_hex(&found.cluster).as_bytes(), secrets].concat())
}

impl Work for Installer {
    fn attempt(&mut self, number: u32, operator: &mut dyn Operator) -> Result<ExitCode, Refusal> {
        if number > 1 {
            self.options.resume = Resume::IfMarked;
        }
        let never = &mut |_: &str| false;
        let ended = attempt(&self.options, operator, never, self.touched);
        (self.inventory, self.known_config) = (None, ended.config.as_ref().map(hash));
        ended.keep(operator);
        match &ended.refusal {
            Some(refusal) => {
                self.touched |= refusal.exit == ExitCode::DiskTouched;
                Err(refusal.clone())
            }
            None => Ok(ended.end(self.options.no_reboot, operator)),
        }
    }

    fn news(&mut self) -> Option<String> {
        let found = self.look()?;
        (Some(hash(&found)) != self.known_config).then_some(found.origin)
    }

    fn bundle(&mut self, to: &Destination) -> Result<String, Refusal> {
        let now = sysio::clock::realtime()
            .map_err(|error| Refusal::new("E_INVENTORY", ExitCode::Environment, error.to_string()))?;
        deliver(&collect_bundle(&mut Host, now)?, to)
    }

    fn automatic_bundle(&mut self) -> Option<Destination> {
        merged_args(&self.options).ok().and_then(|args| automatic_destination(&args))
    }

    fn inventory(&mut self) -> Result<Inventory, Refusal> {
        collect_inventory()
    }

    fn take_answers(&mut self, answers: &Answers) -> Result<(), Refusal> {
        if let Some(url) = &answers.url {
            self.options.typed_arguments = format!("metalstrap.config={url}");
        }
        let Some(network) = &answers.network else { return Ok(()) };
        let before = self.network.replace(network.clone());
        typed_network::set_up(network, before.as_ref())
    }

    fn open_shell(&mut self) {
        let start = Cmd::new("systemctl").args(["--no-block", "start", SHELL_UNIT]).time_limit(REQUEST_LIMIT);
        if let Err(error) = start.run() {
            tracing::debug!(%error, "no shell on the second terminal");
        }
    }

    fn power(&mut self, power: Power) -> Result<(), String> {
        let done = match power {
            Power::Restart => power::reboot(),
            Power::Off => power::power_off(),
        };
        done.map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }
}
