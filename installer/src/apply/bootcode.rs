//! GRUB's boot code for BIOS, made ready for this disk: pure bytes in, bytes out.
//!
//! GRUB's own setup program wants to look through a mounted file system; the ESP is written without a mount here, and
//! the two writes that make a disk bootable must be known to the byte. The offsets are those of GRUB 2.06's `boot.S`
//! and `diskboot.S`.

/// Size of the sectors the BIOS reads.
const SECTOR: usize = 512;
/// First byte after the boot code in the first sector: disk signature and partition table follow.
const CODE_END: usize = 440;
/// Where the boot code looks for the first sector of the core image.
const KERNEL_SECTOR: usize = 0x5c;
/// The jump over the test of the boot drive; two NOPs make old BIOSes work that pass a wrong drive (as GRUB's setup does).
const DRIVE_CHECK: usize = 0x66;
/// End of the core image's first sector holds the list of the blocks that follow: start, count, segment.
const BLOCK_LIST: usize = SECTOR - 12;
/// Real-mode segment right behind the first core sector.
const SEGMENT_AFTER_FIRST: u16 = 0x820;

/// Why GRUB's images cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootCodeError {
    /// `boot.img` is not what it should be.
    #[error("boot.img has {0} bytes and not 512 that end in 55 AA")]
    BootImage(usize),
    /// The core image does not fit.
    #[error("the core image has {have} bytes, the partition has room for {room}")]
    CoreImage {
        /// Its length.
        have: usize,
        /// Bytes before the unfinished mark.
        room: u64,
    },
}

/// The core image with its list of blocks, for a place that starts at this sector (of 512 bytes), padded to sectors.
///
/// # Errors
/// An image that is too short to be one or does not fit.
pub fn place_core_image(core: &[u8], first_sector: u64, room: u64) -> Result<Vec<u8>, BootCodeError> {
    let error = BootCodeError::CoreImage { have: core.len(), room };
    let mut image = core.to_vec();
    image.resize(core.len().div_ceil(SECTOR) * SECTOR, 0);
    let sectors = u16::try_from(image.len() / SECTOR).map_err(|_| error.clone())?;
    if sectors < 2 || image.len() as u64 > room {
        return Err(error);
    }
    let list = [
        &(first_sector + 1).to_le_bytes()[..],
        &(sectors - 1).to_le_bytes()[..],
        &SEGMENT_AFTER_FIRST.to_le_bytes()[..],
    ]
    .concat();
    image[BLOCK_LIST..SECTOR].copy_from_slice(&list);
    Ok(image)
}

/// The first sector of the disk with GRUB's boot code in it; what `sector` holds from byte 440 on stays.
///
/// # Errors
/// A boot image of the wrong form.
pub fn place_boot_code(
    boot: &[u8],
    sector: &[u8; SECTOR],
    core_sector: u64,
) -> Result<[u8; SECTOR], BootCodeError> {
    if boot.len() != SECTOR || !boot.ends_with(&[0x55, 0xaa]) {
        return Err(BootCodeError::BootImage(boot.len()));
    }
    let mut out = *sector;
    out[..CODE_END].copy_from_slice(&boot[..CODE_END]);
    out[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&core_sector.to_le_bytes());
    out[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    out[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{place_boot_code, place_core_image};

    #[test]
    fn the_block_list_names_the_sectors_that_follow() {
        let image = place_core_image(&[1; 1500], 2048, 4096).unwrap();
        assert_eq!(image.len(), 1536);
        assert_eq!(image[500..512], [1, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0x20, 8]);
        assert_eq!(
            place_core_image(&[1; 1500], 2048, 1024).unwrap_err().to_string(),
            "the core image has 1500 bytes, the partition has room for 1024"
        );
    }

    #[test]
    fn the_partition_table_in_the_first_sector_stays() {
        let mut boot = [7; 512];
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        let mut sector = [9; 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        let out = place_boot_code(&boot, &sector, 2048).unwrap();
        assert_eq!(out[440..], sector[440..]);
        assert_eq!(out[0x5c..0x68], [0, 8, 0, 0, 0, 0, 0, 0, 7, 7, 0x90, 0x90]);
        assert_eq!(
            place_boot_code(&boot[..511], &sector, 2048).unwrap_err().to_string(),
            "boot.img has 511 bytes and not 512 that end in 55 AA"
        );
    }
}
