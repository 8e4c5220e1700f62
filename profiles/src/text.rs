//! From bytes to text: everything that can be wrong before TOML begins.

use crate::code::Code;
use crate::diagnostic::Diagnostic;

/// Largest file that is looked at. A cluster of 300 nodes needs about a tenth of it.
pub(crate) const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Longest piece of the input that is repeated in a message.
const EXCERPT_CHARS_MAX: usize = 60;

const BOM: char = '\u{feff}';

/// Line starts of a text, to turn byte offsets into lines and columns.
#[derive(Debug)]
pub(crate) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    /// Finds the line starts.
    pub(crate) fn of(text: &str) -> Self {
        let after_newline = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(after_newline).collect() }
    }

    /// Line and column, both from 1; the column counts characters.
    pub(crate) fn position(&self, text: &str, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let before = text.get(start..offset.min(text.len())).unwrap_or_default();
        let column = before.chars().count() + 1;
        (line, column)
    }
}

/// The text of a file, or `None` with the reason among the diagnostics.
pub(crate) fn parse_text<'b>(
    name: &str,
    bytes: &'b [u8],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<&'b str> {
    let mut refuse = |code: Code, (line, column): (usize, usize), message: String| {
        diagnostics.push(Diagnostic {
            file: name.to_owned(),
            line,
            column,
            severity: code.severity(),
            code,
            path: String::new(),
            message,
            suggestion: None,
        });
    };
    if bytes.len() > FILE_BYTES_MAX {
        // Who reads it stops one byte behind the limit: how long it is nobody knows.
        let message = format!("the file has more than {FILE_BYTES_MAX} bytes");
        refuse(Code::FileTooLarge, (1, 1), message);
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let valid = std::str::from_utf8(valid).unwrap_or_default();
            let at = Lines::of(valid).position(valid, valid.len());
            refuse(Code::FileNotUtf8, at, "the file is not UTF-8 text".to_owned());
            return None;
        }
    };
    if text.starts_with(BOM) {
        refuse(Code::FileBom, (1, 1), "the file starts with a byte order mark".to_owned());
        return None;
    }
    if let Some(at) = text.find('\0') {
        refuse(Code::FileNul, Lines::of(text).position(text, at), "the file holds a NUL byte".to_owned());
        return None;
    }
    Some(text)
}

/// A piece of the input as it may stand in a message: quoted, no control characters, not long.
pub(crate) fn excerpt(text: &str) -> String {
    let safe: String = text.chars().take(EXCERPT_CHARS_MAX).flat_map(char::escape_debug).collect();
    let cut = if text.chars().nth(EXCERPT_CHARS_MAX).is_some() { "…" } else { "" };
    format!("`{safe}{cut}`")
}

#[cfg(test)]
mod tests {
    use super::{Lines, excerpt, parse_text};

    #[test]
    fn columns_count_characters() {
        let text = "ä = 1\nüx = 2\n";
        let lines = Lines::of(text);
        assert_eq!(lines.position(text, 0), (1, 1));
        assert_eq!(lines.position(text, 2), (1, 2));
        assert_eq!(lines.position(text, 7), (2, 1));
        assert_eq!(lines.position(text, 9), (2, 2));
        assert_eq!(lines.position(text, 9999), (3, 1));
    }

    #[test]
    fn excerpts_are_short_and_printable() {
        assert_eq!(excerpt("a\u{1b}b"), "`a\\u{1b}b`");
        assert_eq!(excerpt(&"x".repeat(100)), format!("`{}…`", "x".repeat(60)));
    }

    #[test]
    fn refuses_what_is_not_text() {
        let refusal = |bytes: &[u8]| {
            let mut found = vec![];
            assert_eq!(parse_text("f", bytes, &mut found), None);
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(refusal(b"a\n\xff"), "f:2:1: error E_FILE_NOT_UTF8: the file is not UTF-8 text");
        assert_eq!(
            refusal(b"\xef\xbb\xbfa"),
            "f:1:1: error E_FILE_BOM: the file starts with a byte order mark"
        );
        assert_eq!(refusal(b"ab\0"), "f:1:3: error E_FILE_NUL: the file holds a NUL byte");
        let large = vec![b'#'; 1024 * 1024 + 1];
        let text = "f:1:1: error E_FILE_TOO_LARGE: the file has more than 1048576 bytes";
        assert_eq!(refusal(&large), text);
        assert_eq!(parse_text("f", b"a = 1", &mut vec![]), Some("a = 1"));
    }
}
