//! What a judge says about one observation.

use report::State;

/// A message longer than this is cut: a report must stay small whatever a failing service prints.
pub const MESSAGE_MAX_CHARS: usize = 300;

/// Verdict on one observation, before time is taken into account (see `board`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// State.
    pub state: State,
    /// Stable CamelCase reason.
    pub reason: &'static str,
    /// One sentence with the measured value.
    pub message: String,
}

impl Verdict {
    /// Looked, and it is fine.
    pub fn ok(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(State::Ok, reason, message)
    }

    /// Works, but somebody should look.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(State::Warning, reason, message)
    }

    /// Does not do its work.
    pub fn critical(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(State::Critical, reason, message)
    }

    /// Could not look.
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(State::Unknown, reason, message)
    }

    /// Any state; the message loses control characters and everything beyond [`MESSAGE_MAX_CHARS`].
    pub fn new(state: State, reason: &'static str, message: impl Into<String>) -> Self {
        Self { state, reason, message: clean(&message.into()) }
    }
}

/// One line without control characters, of bounded length.
pub fn clean(text: &str) -> String {
    let mut out: String =
        text.chars().take(MESSAGE_MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MESSAGE_MAX_CHARS).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn messages_are_one_bounded_line() {
        assert_eq!(clean("a\nb\x1b[31mc"), "a b [31mc");
        assert_eq!(clean(&"x".repeat(400)), format!("{}…", "x".repeat(300)));
    }
}
