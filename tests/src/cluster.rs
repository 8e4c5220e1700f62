//! The cluster file of a test: a shipped example with the machine's own Ethernet address, and a planted secret.

use anyhow::{Context, Result};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value, value};

/// Ethernet address of the machine under test.
pub const MAC: &str = "52:54:00:4d:53:11";

/// Serial number of the disk that is installed to.
pub const DISK_SERIAL: &str = "MS-TARGET-0001";

/// Serial number of the data disk of a node that has one.
pub const DATA_SERIAL: &str = "MS-DATA-0001";

/// The secret that is planted as the server token and must never be seen again, except in the files meant for it.
pub const CANARY: &str = "zqCANARY7f3d9b51c0e84a26";

/// What an example is changed to for a test.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    /// Node that the machine under test is to become.
    pub node: &'static str,
    /// Least memory that node asks for, in MiB.
    pub memory_min_mib: Option<i64>,
    /// Where the disk with [`DATA_SERIAL`] is mounted; the system disk is named as well then.
    pub data_mount: Option<&'static str>,
}

impl Changes {
    /// Only the Ethernet address of `node` is changed.
    pub fn node(node: &'static str) -> Self {
        Self { node, memory_min_mib: None, data_mount: None }
    }
}

/// Adapts the text of an example: one of its nodes gets [`MAC`].
///
/// # Errors
/// The text is no TOML, or has no such node.
pub fn adapt(example: &str, changes: Changes) -> Result<String> {
    let mut document: DocumentMut = example.parse().context("reading the example cluster file")?;
    let nodes = document
        .get_mut("nodes")
        .and_then(Item::as_array_of_tables_mut)
        .context("the example has no nodes")?;
    let node = nodes
        .iter_mut()
        .find(|node| node.get("hostname").and_then(Item::as_str) == Some(changes.node))
        .with_context(|| format!("the example has no node {}", changes.node))?;
    node.insert("mac", value(MAC));
    if let Some(mib) = changes.memory_min_mib {
        node.insert("memory_min_mib", value(mib));
    }
    if let Some(mount) = changes.data_mount {
        node.insert("disk", value(with_serial(DISK_SERIAL)));
        let mut data = Table::new();
        data.insert("mount", value(mount));
        data.insert("disk", value(with_serial(DATA_SERIAL)));
        node.insert("data_disks", value(Value::from_iter([Value::InlineTable(data.into_inline_table())])));
    }
    Ok(document.to_string())
}

/// The cluster file with this key for operators and no other.
///
/// # Errors
/// The text is no TOML, or has no table `admin`.
pub fn with_operator_key(cluster: &str, public: &str) -> Result<String> {
    let mut document: DocumentMut = cluster.parse().context("reading the cluster file")?;
    let admin = document.get_mut("admin").and_then(Item::as_table_mut).context("it has no table admin")?;
    admin.insert("ssh_authorized_keys", value(Array::from_iter([public])));
    Ok(document.to_string())
}

/// The cluster file with this time server and no other.
///
/// # Errors
/// The text is no TOML, or has no cluster network.
pub fn with_ntp(cluster: &str, server: &str) -> Result<String> {
    let mut document: DocumentMut = cluster.parse().context("reading the cluster file")?;
    let network = document.get_mut("networks").and_then(|networks| networks.get_mut("cluster"));
    let network = network.and_then(Item::as_table_mut).context("it has no cluster network")?;
    network.insert("ntp", value(Array::from_iter([server])));
    Ok(document.to_string())
}

/// A disk table that takes one very disk.
fn with_serial(serial: &str) -> InlineTable {
    InlineTable::from_iter([("serial", serial)])
}

/// The secrets file with the canary as the server token.
pub fn secrets() -> String {
    format!("version = 1\n\n[secrets]\nserver_token = \"{CANARY}\"\n")
}

#[cfg(test)]
mod tests {
    use super::{CANARY, Changes, adapt, secrets, with_ntp, with_operator_key};

    const EXAMPLE: &str = "version = 1 # kept\n\n[[nodes]]\nhostname = \"master-1\"\nmac = \"52:54:00:00:00:01\"\n\n\
        [[nodes]]\nhostname = \"proxy-1\"\nmac = \"52:54:00:00:00:02\"\n";

    #[test]
    fn gives_the_named_node_the_address_of_the_machine() {
        let changes = Changes { memory_min_mib: Some(900), ..Changes::node("proxy-1") };
        assert_eq!(
            adapt(EXAMPLE, changes).unwrap(),
            "version = 1 # kept\n\n[[nodes]]\nhostname = \"master-1\"\nmac = \"52:54:00:00:00:01\"\n\n\
             [[nodes]]\nhostname = \"proxy-1\"\nmac = \"52:54:00:4d:53:11\"\nmemory_min_mib = 900\n"
        );
    }

    #[test]
    fn names_the_system_disk_and_the_data_disk_of_a_node_that_has_one() {
        let changes = Changes { data_mount: Some("/var/lib/rancher"), ..Changes::node("proxy-1") };
        let text = adapt(EXAMPLE, changes).unwrap();
        assert!(
            text.ends_with(
                "disk = { serial = \"MS-TARGET-0001\" }\n\
                 data_disks = [{ mount = \"/var/lib/rancher\", disk = { serial = \"MS-DATA-0001\" } }]\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn plants_the_canary_as_the_server_token() {
        let document: toml_edit::DocumentMut = secrets().parse().unwrap();
        assert_eq!(document["secrets"]["server_token"].as_str(), Some(CANARY));
    }

    #[test]
    fn puts_key_and_time_server_in_place_of_others() {
        let text = "[networks.cluster]\nntp = [\"a\"]\n\n[admin]\nssh_authorized_keys = [\n    # old\n    \"b\",\n]\n";
        assert_eq!(
            with_ntp(&with_operator_key(text, "key").unwrap(), "10.0.0.7").unwrap(),
            "[networks.cluster]\nntp = [\"10.0.0.7\"]\n\n[admin]\nssh_authorized_keys = [\"key\"]\n"
        );
        assert!(with_ntp("", "x").is_err() && with_operator_key("", "x").is_err());
    }

    #[test]
    fn says_what_the_example_lacks() {
        let changes = Changes::node("other");
        assert_eq!(adapt(EXAMPLE, changes).unwrap_err().to_string(), "the example has no node other");
        assert_eq!(adapt("version = 1", changes).unwrap_err().to_string(), "the example has no nodes");
    }
}
