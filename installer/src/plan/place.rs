//! Where a path of the node lies on the state partition.

/// Path below the root of the state partition for an absolute path of the node; `None` when the node keeps nothing
/// there. `/var/run` and `/var/lock` are links into a tmpfs, so nothing may be written through them.
pub fn on_state(path: &str) -> Option<String> {
    if !super::image::is_plain_path(path) {
        return None;
    }
    if ["/var/run", "/var/lock"].iter().any(|link| path == *link || path.starts_with(&format!("{link}/"))) {
        return None;
    }
    if let Some(rest) = path.strip_prefix("/etc/") {
        return Some(format!("etc/upper/{rest}"));
    }
    ["/var/", "/root/", "/home/"]
        .iter()
        .any(|folder| path.starts_with(folder))
        .then(|| path.trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::on_state;

    #[test]
    fn knows_the_four_folders_and_no_way_out_of_them() {
        assert_eq!(on_state("/etc/hosts").as_deref(), Some("etc/upper/hosts"));
        assert_eq!(on_state("/var/lib/x").as_deref(), Some("var/lib/x"));
        assert_eq!(on_state("/root/.ssh/authorized_keys").as_deref(), Some("root/.ssh/authorized_keys"));
        for path in ["/usr/bin/x", "/etc", "/etc/../usr/x", "/var/run/x", "/var/lock", "etc/x", "/varx/y"] {
            assert_eq!(on_state(path), None, "{path}");
        }
    }
}
