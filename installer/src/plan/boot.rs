//! What GRUB reads on the ESP: configuration, boot state, kernel command lines. Pure.
//!
//! Both firmwares share one configuration. It starts a slot only when the install record is there, so the record's
//! rename is the one write that commits an install. Which slot: the first one of `order` that is `ok` and has tries
//! left; a slot's counter goes up before every start and back to 0 when the health agent finds the node good. When
//! every slot has used up its tries, the *last* of `order` that is `ok` starts: it is the one that was good before the
//! newer one came. When the boot state is lost, any slot that has a kernel starts. Nothing ever waits for a key.

use super::ids::InstallIds;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Length of a GRUB environment block. All variables fit the first 512 bytes, so one sector holds the whole state.
pub const GRUBENV_LENGTH: usize = 1024;
/// First line of a GRUB environment block.
const GRUBENV_HEAD: &str = "# GRUB Environment Block\n";
/// Modules in the BIOS core image. All that `grub.cfg` needs, so that no module file has to be read from the ESP.
pub const BIOS_MODULES: [&str; 17] = [
    "biosdisk",
    "part_gpt",
    "fat",
    "normal",
    "configfile",
    "linux",
    "loadenv",
    "test",
    "true",
    "serial",
    "terminal",
    "echo",
    "sleep",
    "reboot",
    "minicmd",
    "search",
    "search_fs_uuid",
];
/// Where the BIOS core image looks for its configuration: partition 2 of the disk it was started from.
pub const BIOS_PREFIX: &str = "(,gpt2)/grub";

/// A root slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The slot a fresh install fills.
    A,
    /// The other one.
    B,
}

impl Slot {
    /// Both slots.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// `a` or `b`, as in paths, variables and the kernel argument.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    fn partuuid(self, ids: &InstallIds) -> Uuid {
        match self {
            Self::A => ids.root_a,
            Self::B => ids.root_b,
        }
    }
}

/// Kernel command line of an installed slot.
pub fn render_cmdline(slot: Slot, ids: &InstallIds) -> String {
    format!(
        "boot=metalstrap metalstrap.slot=PARTUUID={} metalstrap.slotname={} metalstrap.state=PARTUUID={} \
         console=tty0 console=ttyS0,115200 panic=10",
        slot.partuuid(ids),
        slot.name(),
        ids.state
    )
}

/// `/EFI/debian/grub.cfg`: where Debian's signed GRUB looks first. Finds the ESP by its volume id and goes on there.
pub fn render_efi_stub(ids: &InstallIds) -> String {
    format!(
        "search --no-floppy --fs-uuid --set=root {}\nset prefix=($root)/grub\nconfigfile ($root)/grub/grub.cfg\n",
        ids.esp_volume
    )
}

/// `/grub/grub.cfg`.
pub fn render_grub_cfg(ids: &InstallIds) -> String {
    let head = r#"# Written by metalstrap. Chooses the root slot; the state is in grubenv.
# An empty list of superusers locks the editor and the shell; the entries themselves need no password.
set superusers=""
set timeout=2
set timeout_style=menu
if serial --unit=0 --speed=115200; then
  terminal_input console serial
  terminal_output console serial
fi

if [ ! -s ($root)/metalstrap/install.json ]; then
  echo "metalstrap: the installation on this disk is unfinished; boot the install medium again"
  sleep 5
  exit
fi

set order="a b"
set a_ok=0
set a_try=0
set b_ok=0
set b_try=0
load_env --file ($root)/grub/grubenv order a_ok a_try b_ok b_try

set chosen=""
set last=""
for slot in $order; do
  set ok=0
  set try=3
  if [ "$slot" = "a" ]; then set ok=$a_ok; set try=$a_try; fi
  if [ "$slot" = "b" ]; then set ok=$b_ok; set try=$b_try; fi
  if [ "$ok" = "1" -a -s ($root)/slots/$slot/vmlinuz ]; then
    set last=$slot
    if [ -z "$chosen" ]; then
      if [ "$try" = "0" -o "$try" = "1" -o "$try" = "2" ]; then set chosen=$slot; fi
    fi
  fi
done
if [ -z "$chosen" ]; then set chosen=$last; fi
if [ -z "$chosen" ]; then
  if [ -s ($root)/slots/b/vmlinuz ]; then set chosen=b; fi
  if [ -s ($root)/slots/a/vmlinuz ]; then set chosen=a; fi
fi

if [ "$chosen" = "b" ]; then
  set default=1
  set fallback="0 2"
  if [ "$b_try" = "0" ]; then set b_try=1; elif [ "$b_try" = "1" ]; then set b_try=2; else set b_try=3; fi
else
  set default=0
  set fallback="1 2"
  if [ "$a_try" = "0" ]; then set a_try=1; elif [ "$a_try" = "1" ]; then set a_try=2; else set a_try=3; fi
fi
save_env --file ($root)/grub/grubenv order a_ok a_try b_ok b_try

"#;
    let mut text = head.to_owned();
    for slot in Slot::ALL {
        let (name, cmdline) = (slot.name(), render_cmdline(slot, ids));
        text.push_str(&format!(
            "menuentry \"metalstrap, slot {name}\" --unrestricted {{\n  echo \"metalstrap: starting slot {name}\"\n  \
             linux ($root)/slots/{name}/vmlinuz {cmdline}\n  initrd ($root)/slots/{name}/initrd\n}}\n"
        ));
    }
    text.push_str(
        "menuentry \"start the machine again\" --unrestricted {\n  echo \"metalstrap: no slot could be started, trying again\"\n  \
         sleep 10\n  reboot\n}\n",
    );
    text
}

/// The boot state of a fresh install: slot a is there, slot b is not.
pub fn fresh_boot_state() -> BTreeMap<String, String> {
    [("order", "a b"), ("a_ok", "1"), ("a_try", "0"), ("b_ok", "0"), ("b_try", "0")]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// A GRUB environment block with these variables: always [`GRUBENV_LENGTH`] bytes.
pub fn render_grubenv(variables: &BTreeMap<String, String>) -> Vec<u8> {
    let mut block = GRUBENV_HEAD.to_owned();
    for (key, value) in variables {
        block.push_str(&format!("{key}={value}\n"));
    }
    let mut block = block.into_bytes();
    block.resize(GRUBENV_LENGTH, b'#');
    block
}

/// The variables of a GRUB environment block; `None` when it is not one.
pub fn parse_grubenv(block: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = std::str::from_utf8(block).ok()?;
    let body = text.strip_prefix(GRUBENV_HEAD)?;
    if block.len() != GRUBENV_LENGTH {
        return None;
    }
    let pairs = body.lines().filter_map(|line| line.split_once('='));
    Some(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// The slots in the order in which GRUB would try them; for starting a slot without GRUB (kexec).
pub fn slots_to_try(variables: &BTreeMap<String, String>) -> Vec<Slot> {
    let value = |key: String| variables.get(&key).map(String::as_str).unwrap_or_default();
    let order = variables.get("order").map_or("a b", String::as_str);
    let known = order.split_whitespace().filter_map(|name| Slot::ALL.into_iter().find(|s| s.name() == name));
    let ok: Vec<Slot> = known.filter(|s| value(format!("{}_ok", s.name())) == "1").collect();
    let fresh = |s: &Slot| matches!(value(format!("{}_try", s.name())), "0" | "1" | "2");
    let mut slots: Vec<Slot> = ok.iter().copied().filter(|s| fresh(s)).collect();
    slots.extend(ok.iter().rev().filter(|s| !fresh(s)));
    slots
}

#[cfg(test)]
mod tests {
    use super::{
        BTreeMap, GRUBENV_LENGTH, Slot, fresh_boot_state, parse_grubenv, render_cmdline, render_efi_stub,
        render_grub_cfg, render_grubenv, slots_to_try,
    };
    use crate::plan::ids::InstallIds;

    #[test]
    fn boot_state_is_one_block_whose_variables_fit_the_first_sector() {
        let block = render_grubenv(&fresh_boot_state());
        assert_eq!(block.len(), GRUBENV_LENGTH);
        assert!(block[512..].iter().all(|b| *b == b'#'));
        assert_eq!(parse_grubenv(&block), Some(fresh_boot_state()));
        assert_eq!(parse_grubenv(&block[..1023]), None);
        assert_eq!(parse_grubenv(&[0; 1024]), None);
    }

    #[test]
    fn slots_are_tried_in_order_and_the_older_good_one_when_all_tries_are_used() {
        let state = |text: &str| -> BTreeMap<String, String> {
            text.split(',')
                .filter_map(|p| p.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect()
        };
        assert_eq!(slots_to_try(&fresh_boot_state()), [Slot::A]);
        assert_eq!(slots_to_try(&state("order=a b,a_ok=1,a_try=3,b_ok=0,b_try=0")), [Slot::A]);
        assert_eq!(slots_to_try(&state("order=b a,a_ok=1,a_try=0,b_ok=1,b_try=0")), [Slot::B, Slot::A]);
        assert_eq!(slots_to_try(&state("order=b a,a_ok=1,a_try=0,b_ok=1,b_try=3")), [Slot::A, Slot::B]);
        assert_eq!(slots_to_try(&state("order=b a,a_ok=1,a_try=3,b_ok=1,b_try=3")), [Slot::A, Slot::B]);
        assert_eq!(slots_to_try(&state("order=a b,a_ok=1,a_try=3,b_ok=1,b_try=3")), [Slot::B, Slot::A]);
    }

    #[test]
    fn the_configuration_names_partitions_only_by_identity() {
        let ids = InstallIds::for_plan("lab", "master-1", "S1");
        let text = render_grub_cfg(&ids) + &render_efi_stub(&ids);
        assert!(text.contains(&format!("metalstrap.slot=PARTUUID={}", ids.root_b)));
        assert!(!text.contains("/dev/") && !text.contains("PARTLABEL") && !text.contains("--label"));
        assert!(render_cmdline(Slot::A, &ids).contains("metalstrap.slotname=a"));
    }
}
