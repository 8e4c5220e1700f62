//! Node labels and taints: what a kubelet takes (reference, section 1.4).

use serde_json::{Value, json};

/// A taint in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    key: String,
    value: String,
    effect: String,
}

impl Taint {
    /// Parses `key=value:Effect` or `key:Effect`.
    ///
    /// # Errors
    /// Says what is wrong, quoting the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (left, effect) = text.rsplit_once(':').ok_or_else(|| format!("{text:?} has no :Effect"))?;
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return Err(format!("{text:?}: effect must be NoSchedule, PreferNoSchedule or NoExecute"));
        }
        let (key, value) = left.split_once('=').unwrap_or((left, ""));
        check_name(key).map_err(|e| format!("{text:?}: {e}"))?;
        check_value(value).map_err(|e| format!("{text:?}: {e}"))?;
        Ok(Self { key: key.into(), value: value.into(), effect: effect.into() })
    }

    /// As in a Node object.
    pub fn to_json(&self) -> Value {
        if self.value.is_empty() {
            json!({"key": self.key, "effect": self.effect})
        } else {
            json!({"key": self.key, "value": self.value, "effect": self.effect})
        }
    }
}

/// Why a kubelet may not set this label on itself; `None` when it may.
pub fn refuse_label(key: &str, value: &str) -> Option<String> {
    if let Err(error) = check_name(key).and_then(|()| check_value(value)) {
        return Some(error);
    }
    let prefix = key.split_once('/').map_or("", |(p, _)| p);
    let of_kubernetes =
        ["kubernetes.io", "k8s.io"].iter().any(|d| prefix == *d || prefix.ends_with(&format!(".{d}")));
    let allowed_prefix =
        ["topology.kubernetes.io", "node.kubernetes.io", "kubelet.kubernetes.io"].contains(&prefix);
    let allowed = ["kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os"].contains(&key);
    (of_kubernetes && !allowed_prefix && !allowed).then(|| {
        format!("{key:?} is in a kubernetes.io or k8s.io name space that a kubelet may not set on itself")
    })
}

fn is_word(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.len() <= 63
        && text.chars().all(inner)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

fn check_name(key: &str) -> Result<(), String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    let prefix_ok = prefix.is_none_or(|p| {
        !p.is_empty()
            && p.len() <= 253
            && p.split('.').all(|l| is_word(l) && !l.contains(['_']) && l.to_ascii_lowercase() == l)
    });
    if prefix_ok && is_word(name) { Ok(()) } else { Err(format!("{key:?} is not a qualified name")) }
}

fn check_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_word(value) { Ok(()) } else { Err(format!("{value:?} is not a label value")) }
}

#[cfg(test)]
mod tests {
    use super::{Taint, refuse_label};

    #[test]
    fn refuses_the_labels_that_stop_a_kubelet() {
        assert_eq!(
            refuse_label("node-role.kubernetes.io/worker", "true").as_deref(),
            Some(
                "\"node-role.kubernetes.io/worker\" is in a kubernetes.io or k8s.io name space that a kubelet may not set on itself"
            )
        );
        assert_eq!(refuse_label("metalstrap.dev/role", "master"), None);
        assert_eq!(refuse_label("topology.kubernetes.io/zone", "rack1"), None);
        assert_eq!(refuse_label("a b", "x").as_deref(), Some("\"a b\" is not a qualified name"));
    }

    #[test]
    fn parses_taints_and_says_what_is_wrong() {
        assert!(Taint::parse("node-role.kubernetes.io/control-plane=true:NoSchedule").is_ok());
        assert!(Taint::parse("dedicated:NoExecute").is_ok());
        assert_eq!(Taint::parse("a=b").unwrap_err(), "\"a=b\" has no :Effect");
        assert_eq!(
            Taint::parse("a=b:Never").unwrap_err(),
            "\"a=b:Never\": effect must be NoSchedule, PreferNoSchedule or NoExecute"
        );
    }
}
