//! `lldpcli -f json0 show neighbors`: who is at the other end of each cable. What a neighbour says is untrusted.

use super::model::Neighbour;
use super::show::sanitise;
use serde_json::Value;
use std::collections::BTreeMap;

/// Neighbours that are believed; nobody has more ports.
const NEIGHBOURS_MAX: usize = 256;

/// VLANs of one neighbour that are kept.
const VLANS_MAX: usize = 64;

/// Reads the neighbours by interface name; the first one of an interface counts. Anything else gives none.
pub fn parse_neighbours(text: &str) -> BTreeMap<String, Neighbour> {
    let Ok(root) = serde_json::from_str::<Value>(text) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    let interfaces = list(&root, "lldp").into_iter().flat_map(|lldp| list(lldp, "interface"));
    for interface in interfaces.take(NEIGHBOURS_MAX) {
        let Some(name) = interface.get("name").and_then(Value::as_str) else { continue };
        let chassis = list(interface, "chassis").into_iter().next();
        let port = list(interface, "port").into_iter().next();
        let neighbour = Neighbour {
            system: chassis.and_then(|chassis| text_of(chassis, "name").or_else(|| text_of(chassis, "id"))),
            port: port.and_then(|port| text_of(port, "id").or_else(|| text_of(port, "descr"))),
            vlans: list(interface, "vlan").into_iter().filter_map(vlan_id).take(VLANS_MAX).collect(),
        };
        found.entry(name.to_owned()).or_insert(neighbour);
    }
    found
}

/// The items of a list, which `json0` makes of everything.
fn list<'v>(value: &'v Value, key: &str) -> Vec<&'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten().collect()
}

fn text_of(value: &Value, key: &str) -> Option<String> {
    let text = list(value, key).into_iter().next()?.get("value")?.as_str()?;
    Some(sanitise(text.trim())).filter(|text| !text.is_empty())
}

fn vlan_id(vlan: &Value) -> Option<u16> {
    let id = vlan.get("vlan-id")?;
    id.as_str().and_then(|text| text.parse().ok()).or_else(|| u16::try_from(id.as_u64()?).ok())
}

#[cfg(test)]
mod tests {
    use super::parse_neighbours;

    const CAPTURE: &str = r#"{"lldp":[{"interface":[
        {"name":"eno1","via":"LLDP","chassis":[{"id":[{"type":"mac","value":"00:1c:73:00:00:01"}],"name":[{"value":"sw-rack1"}]}],
         "port":[{"id":[{"type":"ifname","value":"Ethernet12"}],"descr":[{"value":"node 12"}]}],
         "vlan":[{"vlan-id":"10","pvid":true},{"vlan-id":20}]},
        {"name":"eno2","chassis":[{"id":[{"type":"mac","value":"00:1c:73:00:00:02"}]}],"port":[{"descr":[{"value":"p\u001b[31m"}]}]},
        {"name":"eno1","chassis":[{"name":[{"value":"an impostor"}]}]}]}]}"#;

    #[test]
    fn reads_switch_port_and_vlans() {
        let found = parse_neighbours(CAPTURE);
        let eno1 = &found["eno1"];
        assert_eq!((eno1.system.as_deref(), eno1.port.as_deref()), (Some("sw-rack1"), Some("Ethernet12")));
        assert_eq!(eno1.vlans, [10, 20]);
        let eno2 = &found["eno2"];
        assert_eq!(
            (eno2.system.as_deref(), eno2.port.as_deref()),
            (Some("00:1c:73:00:00:02"), Some("p\\u{1b}[31m"))
        );
    }

    #[test]
    fn everything_else_is_no_neighbour() {
        for text in ["", "[]", "{\"lldp\":{}}", "{\"lldp\":[{\"interface\":[{}]}]}", "lldpd is not running"] {
            assert!(parse_neighbours(text).is_empty(), "{text}");
        }
    }
}
