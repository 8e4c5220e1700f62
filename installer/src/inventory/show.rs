//! The inventory for people. Every string of the machine goes through [`sanitise`].

use super::model::{Disk, Inventory};
use comfy_table::{Table, presets::NOTHING};

/// A text without anything that could move a cursor or change a colour: control characters are escaped.
pub fn sanitise(text: &str) -> String {
    let is_plain = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_plain(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

/// A size in binary units, rounded down to one decimal: `19.5 GiB`.
pub fn render_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let (whole, rest) = (tenths / 10, tenths % 10);
    if rest == 0 { format!("{whole} {}", UNITS[unit]) } else { format!("{whole}.{rest} {}", UNITS[unit]) }
}

/// What is on a disk and what uses it, in a few words.
pub(crate) fn render_contents(disk: &Disk) -> String {
    if let Some(record) = &disk.install_record {
        let (host, cluster) = (sanitise(&record.hostname), sanitise(&record.cluster));
        return format!("{host} of cluster {cluster}, installed by metalstrap");
    }
    if let Some(id) = disk.unfinished_install {
        return format!("unfinished install {id}");
    }
    if disk.empty {
        return "empty".to_owned();
    }
    let mut found: Vec<String> = Vec::new();
    for signature in &disk.contents {
        let text = match &signature.label {
            Some(label) => format!("{} \"{}\"", sanitise(&signature.kind), sanitise(label)),
            None => sanitise(&signature.kind),
        };
        if !found.contains(&text) {
            found.push(text);
        }
    }
    if found.is_empty() { "unknown data".to_owned() } else { found.join(", ") }
}

/// The inventory as a text for people.
pub fn render_inventory(inventory: &Inventory) -> String {
    let dmi = &inventory.dmi;
    let or_dash = |text: Option<&String>| text.map_or("-".to_owned(), |t| sanitise(t));
    let secure_boot = match inventory.secure_boot {
        Some(true) => ", Secure Boot on",
        Some(false) => ", Secure Boot off",
        None => "",
    };
    let mut head = new_table();
    let firmware = format!("{:?}", inventory.firmware).to_uppercase();
    for (name, value) in [
        ("machine", format!("{} {}", or_dash(dmi.vendor.as_ref()), or_dash(dmi.product.as_ref()))),
        ("serial", or_dash(dmi.serial.as_ref())),
        ("uuid", dmi.uuid.map_or("-".to_owned(), |u| u.to_string())),
        ("virtual", or_dash(inventory.virtualisation.as_ref())),
        ("firmware", format!("{firmware}{secure_boot}")),
        ("cpu", format!("{} x {}", inventory.cpu.cores, sanitise(&inventory.cpu.model))),
        ("memory", format!("{} MiB", inventory.memory_mib)),
    ] {
        head.add_row([name.to_owned(), value]);
    }
    format!("{}\n\n{}\n\n{}\n", trim_lines(&head), render_disks(&inventory.disks), render_nics(inventory))
}

/// The disks as a table.
fn render_disks(disks: &[Disk]) -> String {
    let mut table = new_table();
    table.set_header(["DISK", "SIZE", "TYPE", "MODEL", "SERIAL", "CONTENTS", "USED BY"]);
    for disk in disks {
        let used = if disk.boot_medium { "this live system".to_owned() } else { disk.holders.join(", ") };
        table.add_row([
            sanitise(&disk.path),
            render_size(disk.size_bytes),
            sanitise(disk.transport.as_deref().unwrap_or("-")),
            sanitise(disk.model.as_deref().unwrap_or("-")),
            sanitise(disk.serial.as_deref().unwrap_or("-")),
            render_contents(disk),
            if used.is_empty() { "-".to_owned() } else { sanitise(&used) },
        ]);
    }
    if disks.is_empty() { "no disks".to_owned() } else { trim_lines(&table) }
}

fn render_nics(inventory: &Inventory) -> String {
    let mut table = new_table();
    table.set_header(["PORT", "MAC", "DRIVER", "LINK", "SPEED", "PLACE"]);
    for nic in inventory.ports() {
        let link = match nic.carrier {
            Some(true) => "up",
            Some(false) => "no cable",
            None => "down",
        };
        table.add_row([
            sanitise(&nic.name),
            nic.mac.map_or("-".to_owned(), |mac| mac.to_string()),
            sanitise(nic.driver.as_deref().unwrap_or("-")),
            link.to_owned(),
            nic.speed_mbit.map_or("-".to_owned(), |speed| format!("{speed} Mbit/s")),
            sanitise(nic.bus_path.as_deref().unwrap_or("-")),
        ]);
    }
    if inventory.ports().next().is_none() { "no network ports".to_owned() } else { trim_lines(&table) }
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table
}

/// Tables pad every line; nobody needs blanks at line ends.
fn trim_lines(table: &Table) -> String {
    table.to_string().lines().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{render_size, sanitise};

    #[test]
    fn nothing_of_a_hostile_string_reaches_the_terminal() {
        assert_eq!(sanitise("S\x1b[31mN\r\n\0\u{202e}é"), "S\\u{1b}[31mN\\r\\n\\u{0}\\u{202e}é");
    }

    #[test]
    fn sizes_are_rounded_down() {
        let sizes = [0, 1023, 1024, 1 << 30, (20 << 30) - 1, 500_107_862_016, u64::MAX];
        let texts: Vec<_> = sizes.iter().map(|s| render_size(*s)).collect();
        assert_eq!(texts, ["0 B", "1023 B", "1 KiB", "1 GiB", "19.9 GiB", "465.7 GiB", "16777215.9 TiB"]);
    }
}
