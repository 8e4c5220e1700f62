//! Where Debian packages come from: the build host's own apt configuration, or `--mirror`. Text in, sources out.

use std::collections::{BTreeMap, BTreeSet};

/// The release the image is made of.
pub const RELEASE: &str = "bookworm";
/// Keyring used where a source names none.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Archive areas the image takes packages from, in so far as the mirror offers them.
const AREAS: [&str; 2] = ["main", "non-free-firmware"];

/// One suite of one Debian mirror.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Base address, without a slash at the end.
    pub uri: String,
    /// Suite: `bookworm`, `bookworm-updates` or `bookworm-security`.
    pub suite: String,
    /// Keyring file that must have signed it.
    pub signed_by: String,
}

impl Source {
    /// Address of the signed index of the suite.
    pub fn inrelease(&self) -> String {
        format!("{}/dists/{}/InRelease", self.uri, self.suite)
    }

    /// Line for `sources.list` with these archive areas.
    pub fn line(&self, areas: &[&str]) -> String {
        format!("deb [signed-by={}] {} {} {}", self.signed_by, self.uri, self.suite, areas.join(" "))
    }
}

/// The Debian sources of a one-line style file (`sources.list`). Foreign repositories and other releases are left out.
pub fn parse_one_line(text: &str) -> BTreeSet<Source> {
    let mut sources = BTreeSet::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t'])) else {
            continue;
        };
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((options, rest)) => (options, rest),
            None => ("", rest),
        };
        let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        let mut words = rest.split_whitespace();
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else { continue };
        if words.any(|area| area == "main") {
            sources.extend(source(uri, suite, signed_by));
        }
    }
    sources
}

/// The Debian sources of a deb822 style file (`*.sources`). Foreign repositories and other releases are left out.
pub fn parse_deb822(text: &str) -> BTreeSet<Source> {
    let mut sources = BTreeSet::new();
    for stanza in stanzas(text) {
        let words = |key: &str| stanza.get(key).map(|value| value.split_whitespace()).into_iter().flatten();
        let disabled = words("enabled").any(|word| word.eq_ignore_ascii_case("no"));
        if disabled
            || !words("types").any(|kind| kind == "deb")
            || !words("components").any(|area| area == "main")
        {
            continue;
        }
        let keyring = words("signed-by").next();
        for uri in words("uris") {
            sources.extend(words("suites").filter_map(|suite| source(uri, suite, keyring)));
        }
    }
    sources
}

/// The sources on one mirror: release and updates there, security beside it where Debian's own mirrors have it.
pub fn from_mirror(mirror: &str) -> BTreeSet<Source> {
    let mirror = mirror.trim_end_matches('/');
    let at = |uri: &str, suite: &str| source(uri, suite, None);
    [
        at(mirror, RELEASE),
        at(mirror, &format!("{RELEASE}-updates")),
        at(&format!("{mirror}-security"), &format!("{RELEASE}-security")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What an `InRelease` says of the suite.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    /// `Debian` for Debian's own.
    pub origin: String,
    /// Archive areas on offer, of those the image uses.
    pub areas: Vec<&'static str>,
    /// When it was made, as in the file.
    pub date: String,
}

/// Reads the head of an `InRelease` file.
pub fn parse_inrelease(text: &str) -> Release {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    };
    let offered = field("Components");
    // The security archive writes `updates/main`.
    let offers = |area: &str| offered.split_whitespace().any(|word| word.rsplit('/').next() == Some(area));
    let areas = AREAS.into_iter().filter(|area| offers(area)).collect();
    Release { origin: field("Origin"), areas, date: field("Date") }
}

fn source(uri: &str, suite: &str, signed_by: Option<&str>) -> Option<Source> {
    let known = [RELEASE.to_owned(), format!("{RELEASE}-updates"), format!("{RELEASE}-security")];
    known.iter().any(|name| name == suite).then(|| Source {
        uri: uri.trim_end_matches('/').to_owned(),
        suite: suite.to_owned(),
        // A key written out in place of a file name: Debian's own key signs Debian's own archive.
        signed_by: signed_by.filter(|name| name.starts_with('/')).unwrap_or(KEYRING).to_owned(),
    })
}

fn stanzas(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut stanzas = vec![BTreeMap::new()];
    let mut key = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some(stanza) = stanzas.last_mut() else { continue };
        if line.trim().is_empty() {
            stanzas.push(BTreeMap::new());
        } else if line.starts_with([' ', '\t']) {
            let value: &mut String = stanza.entry(key.clone()).or_default();
            value.push(' ');
            value.push_str(line.trim());
        } else if let Some((name, value)) = line.split_once(':') {
            key = name.to_ascii_lowercase();
            stanza.insert(key.clone(), value.trim().to_owned());
        }
    }
    stanzas
}

#[cfg(test)]
mod tests {
    use super::{KEYRING, from_mirror, parse_deb822, parse_inrelease, parse_one_line};

    fn shown(sources: &std::collections::BTreeSet<super::Source>) -> Vec<String> {
        sources.iter().map(|source| format!("{} {} {}", source.uri, source.suite, source.signed_by)).collect()
    }

    #[test]
    fn one_line_style_keeps_debian_and_leaves_out_the_rest() {
        let text = "deb http://mirror.example/debian/ bookworm main contrib # ours\n\
                    deb-src http://mirror.example/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/etc/key.gpg] http://mirror.example/sec bookworm-security main\n\
                    deb http://other.example/linux bookworm stable\n\
                    deb http://mirror.example/debian trixie main\n#deb http://off.example bookworm main\n";
        let expected = [
            format!("http://mirror.example/debian bookworm {KEYRING}"),
            "http://mirror.example/sec bookworm-security /etc/key.gpg".to_owned(),
        ];
        assert_eq!(shown(&parse_one_line(text)), expected);
    }

    #[test]
    fn deb822_takes_every_suite_of_a_stanza_and_no_disabled_one() {
        let text = "Types: deb\n# comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n bookworm-backports\n\
                    Components: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n\n\
                    Types: deb\nEnabled: no\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n";
        let expected = [
            format!("http://mirror.example/debian bookworm {KEYRING}"),
            format!("http://mirror.example/debian bookworm-updates {KEYRING}"),
        ];
        assert_eq!(shown(&parse_deb822(text)), expected);
    }

    #[test]
    fn mirror_has_release_updates_and_security_beside_it() {
        let expected = [
            format!("http://m.example/debian bookworm {KEYRING}"),
            format!("http://m.example/debian bookworm-updates {KEYRING}"),
            format!("http://m.example/debian-security bookworm-security {KEYRING}"),
        ];
        assert_eq!(shown(&from_mirror("http://m.example/debian/")), expected);
    }

    #[test]
    fn line_names_keyring_and_areas() {
        let source = parse_one_line("deb http://m.example/debian bookworm main").pop_first().unwrap();
        let line =
            format!("deb [signed-by={KEYRING}] http://m.example/debian bookworm main non-free-firmware");
        assert_eq!(source.line(&["main", "non-free-firmware"]), line);
        assert_eq!(source.inrelease(), "http://m.example/debian/dists/bookworm/InRelease");
    }

    #[test]
    fn inrelease_tells_origin_date_and_the_areas_we_use() {
        let text = "-----BEGIN PGP SIGNED MESSAGE-----\nOrigin: Debian\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n\
                    Components: updates/main updates/contrib updates/non-free-firmware\n";
        let release = parse_inrelease(text);
        assert_eq!(release.origin, "Debian");
        assert_eq!(release.areas, ["main", "non-free-firmware"]);
        assert_eq!(release.date, "Sat, 11 Jul 2026 10:16:37 UTC");
    }
}
