//! The unfinished mark: the block that says "an install was let loose on this disk and has not ended".

use super::layout::MARK_LENGTH;
use uuid::Uuid;

/// First words of the mark.
const MARK_HEAD: &str = "METALSTRAP UNFINISHED v1 ";
/// First word of its second line on a data disk.
const MOUNT_HEAD: &str = "MOUNT ";

/// The block written before anything else and removed after everything else.
pub fn render_mark(install: Uuid) -> Vec<u8> {
    let mut block = format!("{MARK_HEAD}{install}\n").into_bytes();
    block.resize(usize::try_from(MARK_LENGTH).unwrap_or(4096), 0);
    block
}

/// The block on a data disk: the identities of its table follow from the mount point too.
pub fn render_mark_of_data(install: Uuid, mount: &str) -> Vec<u8> {
    let mut block = format!("{MARK_HEAD}{install}\n{MOUNT_HEAD}{mount}\n").into_bytes();
    block.resize(usize::try_from(MARK_LENGTH).unwrap_or(4096), 0);
    block
}

/// The mount point in the mark of a data disk; `None` in that of a system disk.
pub fn parse_mark_mount(block: &[u8]) -> Option<&str> {
    parse_mark(block)?;
    let line = block.split(|b| *b == b'\n').nth(1)?;
    std::str::from_utf8(line).ok()?.strip_prefix(MOUNT_HEAD)
}

/// Reads a mark back; `None` when the block is anything else.
pub fn parse_mark(block: &[u8]) -> Option<Uuid> {
    let line = block.split(|b| *b == b'\n').next()?;
    let id = std::str::from_utf8(line).ok()?.strip_prefix(MARK_HEAD)?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{parse_mark, parse_mark_mount, render_mark, render_mark_of_data};
    use uuid::Uuid;

    #[test]
    fn reads_back_what_was_written_and_nothing_else() {
        let id = Uuid::from_u128(7);
        let block = render_mark(id);
        assert_eq!(block.len(), 4096);
        assert_eq!(parse_mark(&block), Some(id));
        for other in [&b""[..], &[0; 4096], b"METALSTRAP UNFINISHED v2 x\n", b"METALSTRAP UNFINISHED v1 \n"] {
            assert_eq!(parse_mark(other), None);
        }
    }

    #[test]
    fn the_mark_of_a_data_disk_names_its_place() {
        let id = Uuid::from_u128(7);
        let block = render_mark_of_data(id, "/var/lib/rancher");
        assert_eq!(block.len(), 4096);
        assert_eq!((parse_mark(&block), parse_mark_mount(&block)), (Some(id), Some("/var/lib/rancher")));
        assert_eq!(parse_mark_mount(&render_mark(id)), None);
        assert_eq!(parse_mark_mount(b"METALSTRAP\nMOUNT /var/lib/x\n"), None);
    }
}
