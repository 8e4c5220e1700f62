//! From the network: QEMU's own iPXE fetches the boot script by TFTP and all the rest by HTTP.

use super::install::{Way, fresh_dir, install_and_check, nothing};
use super::{Context, Figures};
use crate::cluster::{Changes, MAC, adapt, secrets};
use crate::machine::{Machine, Network, WEB_ADDRESS};
use anyhow::{Context as _, Result};
use std::fs;

/// What the project promises: an install by PXE, with the root image in memory, in 1.25 GiB.
const MEMORY_MIB: u32 = 1280;
/// What the master asks for here: what is left of [`MEMORY_MIB`] after kernel and firmware, instead of the 2 GiB of its profile.
const MASTER_MIN_MIB: i64 = 1024;

/// Boots from the network card, installs, reboots into the disk, waits for health.
pub(super) fn run(context: &Context) -> Result<Figures> {
    let dir = fresh_dir(context, "pxe-bios")?;
    let (tftp, web) = (dir.join("tftp"), dir.join("web"));
    fs::create_dir(&tftp)
        .and_then(|()| fs::create_dir(&web))
        .context("making the folders of the PXE server")?;
    let changes = Changes { memory_min_mib: Some(MASTER_MIN_MIB), ..Changes::node("master-1") };
    fs::write(web.join("cluster.toml"), adapt(&context.single, changes)?)?;
    fs::write(web.join("secrets.toml"), secrets())?;
    // What an operator's DHCP server would say: where the folder is, and the further kernel arguments.
    let script = format!(
        "#!ipxe\ndhcp\nset base http://{WEB_ADDRESS}\nset extra metalstrap.config=http://{WEB_ADDRESS}/cluster.toml\n\
         chain ${{base}}/boot.ipxe\n"
    );
    fs::write(tftp.join("start.ipxe"), script)?;
    let network = Network {
        web: vec![web, context.image.pxe.clone()],
        web_server: context.web_server.clone(),
        netboot: Some((tftp, "start.ipxe".to_owned())),
        boot_order: Some(1),
        ..Network::new(MAC)
    };
    let machine = Machine::new("pxe-bios").memory_mib(MEMORY_MIB);
    install_and_check(context, &dir, Way { machine, network }, &mut nothing).map(|(figures, _)| figures)
}
