//! The kernel command line, as the kernel itself takes it apart.

/// Words of a command line, with the kernel's quotes taken off.
pub fn split_words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// What the value of a switch says: on without one; `None` for a value that is neither on nor off.
pub fn parse_switch(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("1" | "yes" | "true" | "on") => Some(true),
        Some("0" | "no" | "false" | "off") => Some(false),
        Some(_) => None,
    }
}

/// Whether a switch is on. The last one counts, as in the kernel; one with a value that says neither is off.
pub fn is_on(line: &str, name: &str) -> bool {
    let said = split_words(line).into_iter().rev().find_map(|word| {
        let (key, value) =
            word.split_once('=').map_or((word.as_str(), None), |(key, value)| (key, Some(value)));
        (key == name).then(|| parse_switch(value).unwrap_or(false))
    });
    said.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::{is_on, split_words};

    #[test]
    fn quotes_keep_blanks() {
        assert_eq!(split_words("a=\"b c\" \"d=e f\"  g\n"), ["a=b c", "d=e f", "g"]);
        assert_eq!(split_words(""), [""; 0]);
    }

    #[test]
    fn the_last_switch_counts() {
        for (line, on) in [
            ("quiet x.debug", true),
            ("x.debug=1 quiet", true),
            ("x.debug=1 x.debug=off", false),
            ("x.debug=0 x.debug", true),
            ("x.debug=maybe", false),
            ("x.debugger \"a x.debug\"", false),
        ] {
            assert_eq!(is_on(line, "x.debug"), on, "{line}");
        }
    }
}
