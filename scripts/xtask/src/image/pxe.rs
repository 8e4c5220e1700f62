//! The PXE folder: the live files, an iPXE script, GRUB for Secure Boot over the network, and dnsmasq examples.

use super::base::Base;
use super::{live, stage};
use crate::host;
use anyhow::{Context, Result};
use std::path::Path;

/// Boot loaders for TFTP, from the base tree: name in the folder and where Debian's packages put it.
const LOADERS: [(&str, &str); 3] = [
    ("shimx64.efi", "usr/lib/shim/shimx64.efi.signed"),
    ("grubx64.efi", "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"),
    ("mmx64.efi", "usr/lib/shim/mmx64.efi.signed"),
];
/// iPXE from the build host's package `ipxe`: for BIOS, and for UEFI without Secure Boot. Both use the network driver of the firmware.
const IPXE: [&str; 2] = ["undionly.kpxe", "snponly.efi"];
const IPXE_FOLDER: &str = "/usr/lib/ipxe";

/// Fills `out`. `sums` is the sha256 of `SHA256SUMS`: the boot scripts pass it on, so that what is fetched is what was built.
///
/// # Errors
/// A file cannot be read or written.
pub fn write(base: &Base, live_files: &Path, sums: &str, title: &str, out: &Path) -> Result<()> {
    let to = out.join("live");
    std::fs::create_dir_all(&to).with_context(|| format!("making {}", to.display()))?;
    for file in stage::walk(live_files)? {
        if let Some(name) = file.file_name() {
            live::link(&file, &to.join(name))?;
        }
    }
    for (name, packaged) in LOADERS {
        host::write(&out.join(name), stage::read(&base.tree.join(packaged))?)?;
    }
    for name in IPXE {
        host::write(&out.join(name), stage::read(&Path::new(IPXE_FOLDER).join(name))?)?;
    }
    let images = host::workspace().join("images");
    let templates = [
        ("pxe/boot.ipxe", "boot.ipxe"),
        ("grub/netboot.cfg", "grub/grub.cfg"),
        ("pxe/dnsmasq-proxy.conf", "dnsmasq-proxy.conf"),
        ("pxe/dnsmasq-dhcp.conf", "dnsmasq-dhcp.conf"),
    ];
    for (from, to) in templates {
        let path = images.join(from);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        host::write(&out.join(to), text.replace("@SUMS@", sums).replace("@TITLE@", title))?;
    }
    Ok(())
}
