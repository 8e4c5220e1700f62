//! Enabling units as systemd would: links made from the `[Install]` section. Pure, apart from the reading of unit files
//! that the caller does.

/// What the `[Install]` section of a unit asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallSection {
    /// Units that want it.
    pub wanted_by: Vec<String>,
    /// Units that require it.
    pub required_by: Vec<String>,
    /// Other names.
    pub alias: Vec<String>,
}

impl InstallSection {
    /// Names of the links below `/etc/systemd/system` that enable `unit`.
    pub fn links(&self, unit: &str) -> Vec<String> {
        let wants = self.wanted_by.iter().map(|target| format!("{target}.wants/{unit}"));
        let requires = self.required_by.iter().map(|target| format!("{target}.requires/{unit}"));
        let aliases = self.alias.iter().filter(|alias| *alias != unit).cloned();
        wants.chain(requires).chain(aliases).collect()
    }
}

/// Reads the `[Install]` section of a unit file.
pub fn parse_install_section(text: &str) -> InstallSection {
    let mut section = InstallSection::default();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[Install]";
        } else if inside && let Some((key, value)) = line.split_once('=') {
            let list = match key.trim() {
                "WantedBy" => &mut section.wanted_by,
                "RequiredBy" => &mut section.required_by,
                "Alias" => &mut section.alias,
                _ => continue,
            };
            list.extend(value.split_whitespace().map(str::to_owned));
        }
    }
    section
}

#[cfg(test)]
mod tests {
    use super::parse_install_section;

    #[test]
    fn links_follow_the_install_section_only() {
        let text = "[Unit]\nWantedBy=no.target\n[Install]\n# c\nWantedBy=multi-user.target a.target\nRequiredBy = b.target\n\
                    Alias=other.service chrony.service\nAlso=x.service\n";
        assert_eq!(
            parse_install_section(text).links("chrony.service"),
            [
                "multi-user.target.wants/chrony.service",
                "a.target.wants/chrony.service",
                "b.target.requires/chrony.service",
                "other.service"
            ]
        );
        assert!(parse_install_section("[Service]\nType=exec\n").links("x.service").is_empty());
    }
}
