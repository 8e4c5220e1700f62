//! What an install that did not end leaves behind, told from what somebody has put on the disk since. Pure.
//!
//! The unfinished mark lies between partition table and first partition, where most partitioners and installers never write: it
//! outlives them. So the mark alone frees no disk. All that is found besides must be of the install that the mark names.

use super::UNREADABLE;
use super::model::Signature;
use super::tables::TableIdentity;
use crate::plan::data::DataIds;
use crate::plan::ids::InstallIds;
use crate::plan::mark::{parse_mark, parse_mark_mount};
use uuid::Uuid;

/// How the labels of all our partitions begin.
const OUR_LABELS: &str = "metalstrap-";

/// What is on a disk besides the mark.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'s> {
    /// Device of the whole disk.
    pub disk: &'s str,
    /// Identities of its tables.
    pub tables: &'s TableIdentity,
    /// Number of partitions the kernel sees.
    pub partitions: usize,
    /// All that was found, on the whole and in its partitions.
    pub contents: &'s [Signature],
}

/// The install that left this disk as it is; `None` without a mark, or when anything on the disk is not of that install.
pub fn find_unfinished(mark: &[u8], around: &Surroundings<'_>) -> Option<Uuid> {
    let install = parse_mark(mark)?;
    let table = match parse_mark_mount(mark) {
        None => InstallIds::from_install(install).disk,
        Some(mount) => DataIds::new(install, mount).disk,
    };
    let has_our_table = around.tables.guids.contains(&table);
    let only_our_table = around.tables.guids.iter().all(|guid| *guid == table);
    let of_the_table = |signature: &Signature| {
        let kind = signature.kind.to_ascii_lowercase();
        // On the whole disk a table is all there may be; in our own partitions is what we have put there.
        (signature.place == around.disk && (kind.contains("gpt") || kind.contains("pmbr")))
            || (signature.place != around.disk && has_our_table && signature.kind != UNREADABLE)
    };
    let explained = only_our_table
        && !around.tables.has_mbr_partitions
        && around.tables.labels.iter().all(|label| label.starts_with(OUR_LABELS))
        && (around.partitions == 0 || has_our_table)
        && around
            .contents
            .iter()
            .all(|signature| of_the_table(signature) || signature.kind == "protective MBR without a GPT");
    explained.then_some(install)
}

#[cfg(test)]
mod tests {
    use super::{Surroundings, find_unfinished};
    use crate::inventory::model::Signature;
    use crate::inventory::tables::TableIdentity;
    use crate::plan::data::DataIds;
    use crate::plan::ids::InstallIds;
    use crate::plan::mark::{render_mark, render_mark_of_data};
    use uuid::Uuid;

    const ID: Uuid = Uuid::from_u128(7);

    fn signature(kind: &str, place: &str) -> Signature {
        Signature { kind: kind.to_owned(), label: None, place: place.to_owned() }
    }

    fn tables(guids: &[Uuid]) -> TableIdentity {
        TableIdentity { guids: guids.iter().copied().collect(), ..TableIdentity::default() }
    }

    fn find(mark: &[u8], tables: &TableIdentity, labels: &[&str], contents: &[(&str, &str)]) -> Option<Uuid> {
        let tables = TableIdentity {
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ..tables.clone()
        };
        let contents: Vec<Signature> = contents.iter().map(|(kind, place)| signature(kind, place)).collect();
        let around =
            Surroundings { disk: "/dev/sda", tables: &tables, partitions: labels.len(), contents: &contents };
        find_unfinished(mark, &around)
    }

    #[test]
    fn what_the_install_itself_has_left_is_unfinished() {
        let mark = render_mark(ID);
        assert_eq!(find(&mark, &tables(&[]), &[], &[]), Some(ID), "before the table");
        let pmbr = [("PMBR", "/dev/sda"), ("protective MBR without a GPT", "/dev/sda")];
        assert_eq!(find(&mark, &tables(&[]), &[], &pmbr), Some(ID), "cut in the table");
        let ours = tables(&[InstallIds::from_install(ID).disk]);
        let damaged = [("gpt", "/dev/sda"), ("GPT with damaged entries", "/dev/sda")];
        assert_eq!(find(&mark, &ours, &[], &damaged), Some(ID));
        let whole =
            [("gpt", "/dev/sda"), ("vfat", "/dev/sda2"), ("ext4", "/dev/sda5"), ("k3s node", "/dev/sda5")];
        assert_eq!(find(&mark, &ours, &["metalstrap-esp", "metalstrap-state"], &whole), Some(ID));
        let mark = render_mark_of_data(ID, "/var/lib/rancher");
        let ours = tables(&[DataIds::new(ID, "/var/lib/rancher").disk]);
        let data = [("gpt", "/dev/sda"), ("ext4", "/dev/sda2")];
        assert_eq!(find(&mark, &ours, &["metalstrap-marks", "metalstrap-data"], &data), Some(ID));
    }

    #[test]
    fn what_somebody_has_put_there_since_is_his() {
        let mark = render_mark(ID);
        let (none, ours) = (tables(&[]), tables(&[InstallIds::from_install(ID).disk]));
        let foreign = tables(&[Uuid::from_u128(1)]);
        let both = tables(&[InstallIds::from_install(ID).disk, Uuid::from_u128(1)]);
        let mbr = TableIdentity { has_mbr_partitions: true, ..none.clone() };
        let gpt = ("gpt", "/dev/sda");
        assert_eq!(find(&mark, &foreign, &["root"], &[gpt, ("ext4", "/dev/sda1")]), None);
        assert_eq!(find(&mark, &foreign, &[], &[gpt]), None, "a table without partitions");
        assert_eq!(find(&mark, &both, &[], &[gpt]), None, "one of the two headers");
        assert_eq!(find(&mark, &mbr, &[], &[("dos", "/dev/sda")]), None);
        assert_eq!(find(&mark, &none, &[], &[("ext4", "/dev/sda")]), None, "a file system on the whole");
        assert_eq!(find(&mark, &none, &[], &[("unreadable", "/dev/sda")]), None);
        assert_eq!(find(&mark, &ours, &["metalstrap-esp", "photos"], &[gpt]), None, "a partition more");
        assert_eq!(find(&mark, &ours, &["metalstrap-esp", ""], &[gpt]), None, "one without a label");
        assert_eq!(find(&mark, &ours, &[], &[gpt, ("LVM2_member", "/dev/sda")]), None);
        assert_eq!(find(&mark, &ours, &["metalstrap-esp"], &[gpt, ("unreadable", "/dev/sda1")]), None);
        // The table of a data disk for another place, and of the system disk of the same install.
        let mark = render_mark_of_data(ID, "/var/lib/rancher");
        assert_eq!(find(&mark, &tables(&[DataIds::new(ID, "/var/lib/other").disk]), &[], &[gpt]), None);
        assert_eq!(find(&mark, &ours, &[], &[gpt]), None);
        assert_eq!(find(&[0; 4096], &none, &[], &[]), None);
    }
}
