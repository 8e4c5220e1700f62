//! DMI, firmware and Secure Boot, from sysfs.

use super::model::{Dmi, Firmware, Tpm};
use super::show::sanitise;
use sysio::sysfs::SysRoot;

/// Four bytes of attributes, then the value.
const SECURE_BOOT_VARIABLE: &str =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// What the firmware says the machine is.
pub(super) fn read_dmi(sys: &SysRoot) -> Dmi {
    let read = |name: &str| Some(sanitise(&sys.read(format!("/sys/class/dmi/id/{name}"))?));
    Dmi {
        vendor: read("sys_vendor"),
        product: read("product_name"),
        serial: read("product_serial"),
        uuid: read("product_uuid").and_then(|text| text.parse().ok()),
    }
}

/// What started the machine.
pub(super) fn read_firmware(sys: &SysRoot) -> Firmware {
    if sys.exists("/sys/firmware/efi") { Firmware::Uefi } else { Firmware::Bios }
}

/// Whether Secure Boot is on.
pub(super) fn read_secure_boot(sys: &SysRoot) -> Option<bool> {
    sys.read_bytes(SECURE_BOOT_VARIABLE)?.get(4).map(|value| *value == 1)
}

/// The first security chip.
pub(super) fn read_tpm(sys: &SysRoot) -> Option<Tpm> {
    let name = sys.list("/sys/class/tpm").into_iter().find(|name| name.starts_with("tpm"))?;
    let version = match sys.read_number(format!("/sys/class/tpm/{name}/tpm_version_major")) {
        Some(1) => Some("1.2".to_owned()),
        Some(2) => Some("2.0".to_owned()),
        _ => None,
    };
    Some(Tpm { version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn reads_a_uefi_machine() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(at("sys/class/dmi/id")).unwrap();
        fs::create_dir_all(at("sys/firmware/efi/efivars")).unwrap();
        fs::write(at("sys/class/dmi/id/sys_vendor"), "QEMU\n").unwrap();
        fs::write(at("sys/class/dmi/id/product_serial"), "  SN-1  \n").unwrap();
        fs::write(at("sys/class/dmi/id/product_uuid"), "AB12CD34-0000-4000-8000-000000000001\n").unwrap();
        fs::write(at(SECURE_BOOT_VARIABLE), [6, 0, 0, 0, 1]).unwrap();
        let sys = SysRoot::new(dir.path());
        let dmi = read_dmi(&sys);
        assert_eq!(
            (dmi.vendor.as_deref(), dmi.serial.as_deref(), dmi.product),
            (Some("QEMU"), Some("SN-1"), None)
        );
        assert_eq!(dmi.uuid.unwrap().to_string(), "ab12cd34-0000-4000-8000-000000000001");
        assert_eq!((read_firmware(&sys), read_secure_boot(&sys)), (Firmware::Uefi, Some(true)));
    }

    #[test]
    fn reads_the_version_of_a_tpm() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sys/class/tpm/tpm0");
        let sys = SysRoot::new(dir.path());
        assert_eq!(read_tpm(&sys), None);
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(read_tpm(&sys), Some(Tpm { version: None }));
        for (number, version) in [("1\n", Some("1.2")), ("2\n", Some("2.0")), ("9\n", None)] {
            fs::write(folder.join("tpm_version_major"), number).unwrap();
            assert_eq!(read_tpm(&sys).unwrap().version.as_deref(), version);
        }
    }

    #[test]
    fn a_bios_machine_has_no_secure_boot() {
        let dir = tempfile::tempdir().unwrap();
        let sys = SysRoot::new(dir.path());
        assert_eq!((read_firmware(&sys), read_secure_boot(&sys)), (Firmware::Bios, None));
        assert_eq!(read_dmi(&sys), Dmi::default());
    }
}
