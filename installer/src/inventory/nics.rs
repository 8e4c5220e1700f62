//! Ethernet interfaces, from sysfs, with the permanent addresses that only netlink tells.

use super::model::Nic;
use super::show::sanitise;
use profiles::node::MacAddr;
use std::collections::BTreeMap;
use sysio::sysfs::SysRoot;

/// `ARPHRD_ETHER`; loopback and tunnels have other numbers.
const TYPE_ETHERNET: i64 = 1;

/// Reads all Ethernet interfaces, by name. `permanent` has the burnt-in addresses by name; where one is missing the current
/// address is taken.
pub(super) fn read_nics(sys: &SysRoot, permanent: &BTreeMap<String, [u8; 6]>) -> Vec<Nic> {
    let names = sys.list("/sys/class/net").into_iter();
    names
        .filter(|name| sys.read_number(format!("/sys/class/net/{name}/type")) == Some(TYPE_ETHERNET))
        .map(|name| read_nic(sys, name, permanent))
        .collect()
}

fn read_nic(sys: &SysRoot, name: String, permanent: &BTreeMap<String, [u8; 6]>) -> Nic {
    let folder = format!("/sys/class/net/{name}");
    let current = || sys.read(format!("{folder}/address")).and_then(|text| text.parse().ok());
    let mac = permanent.get(&name).map(|bytes| MacAddr(*bytes)).or_else(current);
    let bus_path = sys.link(&folder).and_then(|target| {
        let text = target.to_string_lossy().into_owned();
        let (_, path) = text.split_once("devices/")?;
        path.split_once("/net/").map(|(path, _)| sanitise(path))
    });
    Nic {
        mac: mac.filter(|mac| mac.0 != [0; 6]),
        driver: sys.link_name(format!("{folder}/device/driver")),
        is_virtual: !sys.exists(format!("{folder}/device")),
        bus_path,
        // The kernel refuses to tell while the interface is down.
        carrier: sys.read_number(format!("{folder}/carrier")).map(|carrier| carrier == 1),
        master: sys.link_name(format!("{folder}/master")),
        neighbour: None,
        speed_mbit: sys.read_number(format!("{folder}/speed")).and_then(|speed| u32::try_from(speed).ok()),
        name: sanitise(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::read_nics;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;
    use sysio::sysfs::SysRoot;

    #[test]
    fn tells_ports_from_virtual_interfaces_and_prefers_the_permanent_address() {
        let dir = tempfile::tempdir().unwrap();
        let sys = dir.path().join("sys");
        let port = sys.join("devices/pci0000:00/0000:00:03.0/virtio0/net/eth0");
        let bridge = sys.join("devices/virtual/net/br0");
        let lo = sys.join("devices/virtual/net/lo");
        fs::create_dir_all(sys.join("class/net")).unwrap();
        fs::create_dir_all(sys.join("bus/virtio/drivers/virtio_net")).unwrap();
        for (folder, kind) in [(&port, "1"), (&bridge, "1"), (&lo, "772")] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("type"), kind).unwrap();
            fs::write(folder.join("address"), "02:00:00:00:00:01\n").unwrap();
            let name = folder.file_name().unwrap();
            let target = std::path::Path::new("../..").join(folder.strip_prefix(&sys).unwrap());
            symlink(target, sys.join("class/net").join(name)).unwrap();
        }
        fs::write(port.join("carrier"), "1\n").unwrap();
        fs::write(port.join("speed"), "-1\n").unwrap();
        symlink("../..", port.join("device")).unwrap();
        symlink(sys.join("bus/virtio/drivers/virtio_net"), port.join("../../driver")).unwrap();
        let permanent = BTreeMap::from([("eth0".to_owned(), [0x52, 0x54, 0, 0, 0, 9])]);
        let nics = read_nics(&SysRoot::new(dir.path()), &permanent);
        let [br0, eth0] = &nics[..] else { panic!("{nics:#?}") };
        assert!(br0.is_virtual && !eth0.is_virtual);
        assert_eq!(br0.mac.unwrap().to_string(), "02:00:00:00:00:01");
        assert_eq!(eth0.mac.unwrap().to_string(), "52:54:00:00:00:09");
        assert_eq!(eth0.bus_path.as_deref(), Some("pci0000:00/0000:00:03.0/virtio0"));
        assert_eq!(eth0.driver.as_deref(), Some("virtio_net"));
        assert_eq!((eth0.carrier, eth0.speed_mbit, br0.carrier), (Some(true), None, None));
    }
}
