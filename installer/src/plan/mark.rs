//! The unfinished mark: the block that says "an install was let loose on this disk and has not ended".

use super::layout::MARK_LENGTH;
use uuid::Uuid;

/// First words of the mark.
const MARK_HEAD: &str = "METALSTRAP UNFINISHED v1 ";

/// The block written before anything else and removed after everything else.
pub fn render_mark(install: Uuid) -> Vec<u8> {
    let mut block = format!("{MARK_HEAD}{install}\n").into_bytes();
    block.resize(usize::try_from(MARK_LENGTH).unwrap_or(4096), 0);
    block
}

/// Reads a mark back; `None` when the block is anything else.
pub fn parse_mark(block: &[u8]) -> Option<Uuid> {
    let line = block.split(|b| *b == b'\n').next()?;
    let id = std::str::from_utf8(line).ok()?.strip_prefix(MARK_HEAD)?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{parse_mark, render_mark};
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
}
