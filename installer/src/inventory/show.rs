//! The inventory for people. Every string of the machine goes through [`sanitise`].

use super::model::{Disk, HealthStatus, Inventory, Nic};
use comfy_table::{Table, presets::NOTHING};

/// Longest text of a device that is shown or kept, in characters; firmware and udev set no limit worth the name.
const TEXT_MAX_CHARS: usize = 256;

/// A text without anything that could move a cursor, change a colour, hide or reorder what follows: such characters are escaped,
/// and what is longer than any honest name is cut.
pub fn sanitise(text: &str) -> String {
    let mut clean = String::new();
    let mut room = TEXT_MAX_CHARS;
    for c in text.chars() {
        let shown = if is_plain(c) { c.to_string() } else { c.escape_default().to_string() };
        let length = shown.chars().count();
        if length > room {
            clean.push('…');
            return clean;
        }
        room -= length;
        clean.push_str(&shown);
    }
    clean
}

/// A JSON text with everything escaped that a terminal could take for a command, or an eye for something else: JSON itself only
/// asks for the first 32 characters. Its meaning stays the same, because such characters can only stand inside of strings.
pub fn escape_json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || is_plain(c) {
            escaped.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| escaped.push_str(&format!("\\u{unit:04x}")));
        }
    }
    escaped
}

/// Not a control character, and nothing invisible that changes the direction or the look of its neighbours.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
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

/// What `blkid` and we call it, in words that people know it by.
fn render_kind(kind: &str) -> &str {
    match kind {
        "gpt" => "GPT partition table",
        "dos" => "MBR partition table",
        "PMBR" => "protective MBR",
        "LVM2_member" | "LVM1_member" => "LVM physical volume",
        "linux_raid_member" => "mdraid member",
        "ddf_raid_member"
        | "isw_raid_member"
        | "lsi_mega_raid_member"
        | "promise_fasttrack_raid_member"
        | "adaptec_raid_member"
        | "nvidia_raid_member"
        | "silicon_medley_raid_member"
        | "via_raid_member" => "member of a firmware RAID",
        "mpath_member" => "multipath member",
        "crypto_LUKS" => "LUKS",
        "zfs_member" => "ZFS member",
        "btrfs" => "Btrfs",
        "ceph_bluestore" => "Ceph OSD",
        "bcache" => "bcache member",
        "drbd" => "DRBD volume",
        "VMFS_volume_member" | "VMFS" => "VMFS datastore",
        "swsuspend" => "hibernated system",
        other => other,
    }
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
    if let Some(mark) = &disk.data_mark {
        let [host, role, cluster, mount] = [&mark.hostname, &mark.role, &mark.cluster, &mark.mount];
        return format!("data of {host} ({role}) of cluster {cluster} for {mount}, made by metalstrap");
    }
    if disk.empty {
        return "empty".to_owned();
    }
    let mut found: Vec<String> = Vec::new();
    for signature in &disk.contents {
        let kind = sanitise(render_kind(&signature.kind));
        let text = match &signature.label {
            Some(label) => format!("{kind} \"{}\"", sanitise(label).replace('"', "\\\"")),
            None => kind,
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
        ("tpm", render_tpm(inventory)),
        ("cpu", render_cpu(inventory)),
        ("memory", format!("{} MiB", inventory.memory_mib)),
    ] {
        head.add_row([name.to_owned(), value]);
    }
    format!("{}\n\n{}\n\n{}\n", trim_lines(&head), render_disks(&inventory.disks), render_nics(inventory))
}

fn render_tpm(inventory: &Inventory) -> String {
    match &inventory.tpm {
        None => "-".to_owned(),
        Some(tpm) => tpm.version.as_deref().map_or("unknown version".to_owned(), sanitise),
    }
}

/// `12 x Intel(R) Xeon(R) E-2336 CPU @ 2.90GHz (1 socket, 6 cores, x86-64-v4)`.
fn render_cpu(inventory: &Inventory) -> String {
    let cpu = &inventory.cpu;
    let count = |number: Option<u32>, noun: &str| {
        number.map(|n| if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") })
    };
    let details = [count(cpu.sockets, "socket"), count(cpu.physical_cores, "core"), cpu.level.clone()];
    let details: Vec<String> = details.into_iter().flatten().map(|text| sanitise(&text)).collect();
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    format!("{} x {}{details}", cpu.cores, sanitise(&cpu.model))
}

/// The disks as a table.
fn render_disks(disks: &[Disk]) -> String {
    let mut table = new_table();
    table
        .set_header(["DISK", "SIZE", "TYPE", "ATTACHED", "MODEL", "SERIAL", "HEALTH", "CONTENTS", "USED BY"]);
    for disk in disks {
        let used = if disk.boot_medium { "this live system".to_owned() } else { disk.holders.join(", ") };
        table.add_row([
            sanitise(&disk.path),
            render_size(disk.size_bytes),
            disk.kind().as_str().to_owned(),
            sanitise(disk.transport.as_deref().unwrap_or("-")),
            sanitise(disk.model.as_deref().unwrap_or("-")),
            sanitise(disk.serial.as_deref().unwrap_or("-")),
            render_health(disk),
            render_contents(disk),
            if used.is_empty() { "-".to_owned() } else { sanitise(&used) },
        ]);
    }
    if disks.is_empty() { "no disks".to_owned() } else { trim_lines(&table) }
}

fn render_health(disk: &Disk) -> String {
    match disk.health.status {
        HealthStatus::Passed => "good".to_owned(),
        HealthStatus::Failing => "FAILING".to_owned(),
        HealthStatus::None => "-".to_owned(),
        HealthStatus::Unknown => "not known".to_owned(),
    }
}

/// `switch1 port Gi1/0/1`.
fn render_neighbour(nic: &Nic) -> String {
    let Some(neighbour) = &nic.neighbour else { return "-".to_owned() };
    let or_unnamed = |text: &Option<String>| text.as_deref().map_or("unnamed".to_owned(), sanitise);
    format!("{} port {}", or_unnamed(&neighbour.system), or_unnamed(&neighbour.port))
}

fn render_nics(inventory: &Inventory) -> String {
    let mut table = new_table();
    table.set_header(["PORT", "MAC", "DRIVER", "LINK", "SPEED", "PART OF", "PLACE", "NEIGHBOUR"]);
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
            sanitise(nic.master.as_deref().unwrap_or("-")),
            sanitise(nic.bus_path.as_deref().unwrap_or("-")),
            render_neighbour(nic),
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
    use super::{escape_json, render_size, sanitise};

    #[test]
    fn nothing_of_a_hostile_string_reaches_the_terminal() {
        assert_eq!(sanitise("S\x1b[31mN\r\n\0\u{202e}é"), "S\\u{1b}[31mN\\r\\n\\u{0}\\u{202e}é");
    }

    #[test]
    fn a_long_string_is_cut() {
        let shown = sanitise(&"L".repeat(5000));
        assert_eq!((shown.chars().count(), shown.ends_with("L…")), (257, true));
        assert_eq!(sanitise(&"L".repeat(256)), "L".repeat(256));
    }

    #[test]
    fn escaped_json_means_the_same_and_moves_no_cursor() {
        let value = serde_json::json!({"serial": "S\u{9b}31m\u{7f}\u{202e}\u{e0041}\u{1b}\n\\é"});
        let escaped = escape_json(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(escaped, "{\n  \"serial\": \"S\\u009b31m\\u007f\\u202e\\udb40\\udc41\\u001b\\n\\\\é\"\n}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn sizes_are_rounded_down() {
        let sizes = [0, 1023, 1024, 1 << 30, (20 << 30) - 1, 500_107_862_016, u64::MAX];
        let texts: Vec<_> = sizes.iter().map(|s| render_size(*s)).collect();
        assert_eq!(texts, ["0 B", "1023 B", "1 KiB", "1 GiB", "19.9 GiB", "465.7 GiB", "16777215.9 TiB"]);
    }
}
