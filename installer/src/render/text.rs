//! Writers for text formats without a serialiser: every value from outside passes one of these before it is in a file.

use super::error::RenderError;
use std::fmt::{Display, Write};

/// First line of every file that has comments.
pub(super) const HEADER: &str =
    "# Written by metalstrap from /etc/metalstrap/node.json; changes are lost when it is applied again.\n";

/// A value that stands alone on a line or after `key=`: no control characters, no outer white space, no line
/// continuation.
pub(super) fn line<'a>(field: &'static str, value: &'a str) -> Result<&'a str, RenderError> {
    let reason = if value.is_empty() {
        "it is empty"
    } else if value.chars().any(char::is_control) {
        "it has a control character"
    } else if value.trim() != value {
        "it begins or ends with white space"
    } else if value.ends_with('\\') {
        "it ends with a backslash"
    } else {
        return Ok(value);
    };
    Err(RenderError::Value { field, reason })
}

/// A bare word of letters, digits and the characters in `more`, that does not begin with `-`.
pub(super) fn word<'a>(field: &'static str, value: &'a str, more: &str) -> Result<&'a str, RenderError> {
    let reason = if value.is_empty() {
        "it is empty"
    } else if value.starts_with('-') {
        "it begins with a hyphen"
    } else if !value.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c)) {
        "it has a character that does not belong there"
    } else {
        return Ok(value);
    };
    Err(RenderError::Value { field, reason })
}

/// A DNS name or a single label.
pub(super) fn dns_name<'a>(field: &'static str, value: &'a str) -> Result<&'a str, RenderError> {
    word(field, value, "-.")
}

/// A name the kernel takes for a network interface, without characters that mean something elsewhere.
pub(crate) fn interface_name(value: &str) -> Result<&str, RenderError> {
    if value.len() > 15 {
        return Err(RenderError::Value { field: "interface name", reason: "it is longer than 15 bytes" });
    }
    word("interface name", value, "-_.")
}

/// A systemd file (`.network`, `.link`, `.service`, `.conf`): sections with `key=value`.
pub(super) struct IniFile {
    text: String,
    wrong: Option<RenderError>,
}

impl IniFile {
    /// An empty file with the usual header.
    pub(super) fn new() -> Self {
        Self { text: HEADER.to_owned(), wrong: None }
    }

    /// Begins a section.
    pub(super) fn section(mut self, name: &'static str) -> Self {
        self.text.push_str("\n[");
        self.text.push_str(name);
        self.text.push_str("]\n");
        self
    }

    /// Adds one assignment; a value that is not one plain line makes [`IniFile::finish`] fail.
    pub(super) fn entry(mut self, key: &'static str, value: impl Display) -> Self {
        let value = value.to_string();
        match line(key, &value) {
            Ok(value) => {
                // Writing into a String cannot fail.
                let _ = writeln!(self.text, "{key}={value}");
            }
            Err(error) => {
                self.wrong.get_or_insert(error);
            }
        }
        self
    }

    /// Adds an assignment that resets a list.
    pub(super) fn reset(mut self, key: &'static str) -> Self {
        self.text.push_str(key);
        self.text.push_str("=\n");
        self
    }

    /// Adds one assignment for each value.
    pub(super) fn entries<T: Display>(self, key: &'static str, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self, |file, value| file.entry(key, value))
    }

    /// The text, or the first value that could not be written.
    pub(super) fn finish(self) -> Result<String, RenderError> {
        match self.wrong {
            Some(error) => Err(error),
            None => Ok(self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IniFile, dns_name, interface_name, line, word};

    #[test]
    fn refuses_a_value_that_would_begin_a_new_line() {
        let error =
            IniFile::new().section("Network").entry("DNS", "10.0.0.1\nDHCP=yes").finish().unwrap_err();
        assert_eq!(error.to_string(), "rendering DNS: it has a control character");
        let good = IniFile::new().section("Network").entry("DNS", "10.0.0.1").finish().unwrap();
        assert!(good.ends_with("\n\n[Network]\nDNS=10.0.0.1\n"), "{good}");
    }

    #[test]
    fn names_what_is_wrong_with_a_line() {
        assert_eq!(line("x", "").unwrap_err().to_string(), "rendering x: it is empty");
        assert_eq!(
            line("x", " a").unwrap_err().to_string(),
            "rendering x: it begins or ends with white space"
        );
        assert_eq!(line("x", "a\\").unwrap_err().to_string(), "rendering x: it ends with a backslash");
        assert_eq!(line("x", "a\u{85}b").unwrap_err().to_string(), "rendering x: it has a control character");
        assert_eq!(line("x", "a b").unwrap(), "a b");
    }

    #[test]
    fn names_what_is_wrong_with_a_word() {
        let strange = "rendering x: it has a character that does not belong there";
        assert_eq!(dns_name("x", "time.example.org").unwrap(), "time.example.org");
        assert_eq!(dns_name("x", "a b").unwrap_err().to_string(), strange);
        assert_eq!(dns_name("x", "a#b").unwrap_err().to_string(), strange);
        assert_eq!(word("x", "-a", "-").unwrap_err().to_string(), "rendering x: it begins with a hyphen");
        assert_eq!(interface_name("cluster0").unwrap(), "cluster0");
        assert_eq!(
            interface_name("a123456789012345").unwrap_err().to_string(),
            "rendering interface name: it is longer than 15 bytes"
        );
        assert_eq!(
            interface_name("eth\"0").unwrap_err().to_string(),
            "rendering interface name: it has a character that does not belong there"
        );
    }
}
