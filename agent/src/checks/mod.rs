//! One file per check: an entry for the catalogue, a look (I/O), and a pure judge with its table test.

pub mod apiserver_ready;
pub mod boot_slot;
pub mod cert_files;
pub mod clock_sync;
pub mod disk_data;
pub mod disk_state;
pub mod etcd_member;
pub mod etcd_quorum;
pub mod firewall_coverage;
pub mod firewall_drift;
pub mod firewall_table;
pub mod haproxy_backends;
pub mod haproxy_config;
pub mod install_record;
pub mod k3s_supervisor;
pub mod kubelet_health;
pub mod link_state;
pub mod memory_available;
pub mod node_ready;
pub mod unit;
pub mod units_failed;
pub mod vip_local;
pub mod vip_proxy;
pub mod vip_reach;
