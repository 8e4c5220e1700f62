//! Who and what a machine is, for somebody who stands in front of it without a configuration: lines of at most 79 columns. Pure.

use crate::disks::{DiskOverrides, judge_disks, render_verdicts};
use crate::inventory::{Inventory, Nic, sanitise};
use crate::plan::layout::DISK_MIN_MIB;
use profiles::node::{DiskSelector, Requirements};

/// Columns of a serial terminal, less one: a line of all 80 makes some of them wrap.
const COLUMNS: usize = 79;
/// What every line begins with, and what its continuation does.
const HEAD: &str = "metalstrap:   ";
const MORE: &str = "metalstrap:       ";

/// The machine as lines.
pub fn render_portrait(inventory: &Inventory) -> Vec<String> {
    let dmi = &inventory.dmi;
    let known = |text: &Option<String>| text.as_deref().map_or("unknown".to_owned(), sanitise);
    let mut lines = vec!["metalstrap: this machine has no host name yet; it is".to_owned()];
    let mut add = |text: String| lines.extend(wrap(&text));
    add(format!("{} {}, serial {}", known(&dmi.vendor), known(&dmi.product), known(&dmi.serial)));
    add(format!("UUID {}", dmi.uuid.map_or("unknown".to_owned(), |uuid| uuid.to_string())));
    let firmware = format!("{:?}", inventory.firmware).to_uppercase();
    add(format!("{firmware}, {} processors, {} MiB of memory", inventory.cpu.cores, inventory.memory_mib));
    inventory.ports().for_each(|nic| add(render_port(nic)));
    if inventory.ports().next().is_none() {
        add("no network port".to_owned());
    }
    let requirements = Requirements { memory_min_mib: 0, disk_min_mib: DISK_MIN_MIB };
    let verdicts = judge_disks(inventory, &DiskSelector::default(), &requirements, &DiskOverrides::default());
    render_verdicts(&verdicts).into_iter().for_each(|verdict| add(format!("disk {verdict}")));
    if verdicts.is_empty() {
        add("no disk".to_owned());
    }
    lines
}

/// `port eth0 52:54:00:00:00:11, link up, neighbour switch1 port Gi1/0/1`.
pub(super) fn render_port(nic: &Nic) -> String {
    let mac = nic.mac.map_or("without a MAC".to_owned(), |mac| mac.to_string());
    let link = match nic.carrier {
        Some(true) => "link up",
        Some(false) => "no cable",
        None => "down",
    };
    let speed = nic.speed_mbit.map(|speed| format!(" {speed} Mbit/s")).unwrap_or_default();
    let neighbour = nic.neighbour.as_ref().map(|neighbour| {
        let name = |text: &Option<String>| text.as_deref().map_or("unnamed".to_owned(), sanitise);
        format!(", neighbour {} port {}", name(&neighbour.system), name(&neighbour.port))
    });
    format!("port {} {mac}, {link}{speed}{}", sanitise(&nic.name), neighbour.unwrap_or_default())
}

/// Breaks a text at blanks; a word that is longer than a line is broken anywhere.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![HEAD.to_owned()];
    let mut is_fresh = true;
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        loop {
            let Some(line) = lines.last_mut() else { return lines };
            let used = line.chars().count() + usize::from(!is_fresh);
            let room = COLUMNS.saturating_sub(used);
            if rest.len() <= room {
                if !is_fresh {
                    line.push(' ');
                }
                line.extend(rest.iter());
                is_fresh = false;
                break;
            }
            if is_fresh {
                line.extend(rest.drain(..room.max(1)));
            }
            lines.push(MORE.to_owned());
            is_fresh = true;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{render_portrait, wrap};
    use crate::inventory::parse_inventory;

    #[test]
    fn a_machine_shows_its_identity_its_ports_and_its_disks() {
        let inventory =
            parse_inventory(include_str!("../../tests/fixtures/inventory/eight-nics.json")).unwrap();
        let text = render_portrait(&inventory).join("\n");
        for nic in inventory.ports() {
            assert!(text.contains(&format!("port {} {}", nic.name, nic.mac.unwrap())), "{text}");
        }
        let dmi = &inventory.dmi;
        let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        assert!(text.contains(&format!("serial {}", known(dmi.serial.clone()))), "{text}");
        assert!(text.contains(&format!("UUID {}", known(dmi.uuid.map(|uuid| uuid.to_string())))), "{text}");
        assert!(inventory.disks.iter().all(|disk| text.contains(&disk.path)), "{text}");
        assert!(
            text.contains("may be taken") || text.contains("never taken") || text.contains("holds data"),
            "{text}"
        );
    }

    #[test]
    fn nothing_of_a_hostile_machine_moves_the_cursor_or_breaks_the_screen() {
        for text in [
            include_str!("../../tests/fixtures/inventory/hostile-strings.json"),
            include_str!("../../tests/fixtures/inventory/eight-nics.json"),
        ] {
            let lines = render_portrait(&parse_inventory(text).unwrap());
            assert!(lines.len() > 4);
            for line in lines {
                assert!(line.chars().count() < 80 && !line.chars().any(char::is_control), "{line:?}");
                assert!(line.starts_with("metalstrap: "), "{line:?}");
            }
        }
    }

    #[test]
    fn long_texts_are_broken_at_blanks_and_long_words_anywhere() {
        let lines = wrap(&format!("{} {} end", "a".repeat(60), "b".repeat(100)));
        assert_eq!(
            lines,
            [
                format!("metalstrap:   {}", "a".repeat(60)),
                format!("metalstrap:       {}", "b".repeat(61)),
                format!("metalstrap:       {} end", "b".repeat(39))
            ]
        );
        assert_eq!(wrap("x y"), ["metalstrap:   x y"]);
    }
}
