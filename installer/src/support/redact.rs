//! Taking secrets out of a text: those that are known, and whatever looks like one. Rather too much than too little. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use profiles::secret::Secret;
use regex::{Captures, Regex};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// How often each rule found something.
pub type Counts = BTreeMap<&'static str, u64>;

/// Shorter texts than this are no secret that could be told from an ordinary word.
const SECRET_MIN_CHARS: usize = 6;

/// What every replacement begins with.
const MARK: &str = "[redacted:";

/// What stands in the marks.
const MARKED: [&str; 10] = [
    "known-secret",
    "private-key",
    "k3s-token",
    "web-token",
    "bearer",
    "url-password",
    "url-signature",
    "password-hash",
    "bootstrap-token",
    "named-value",
];

/// Decides what a match becomes; `None` leaves it.
type Replace = fn(&Captures<'_>) -> Option<String>;

/// One kind of secret.
struct Rule {
    name: &'static str,
    pattern: Regex,
    replace: Replace,
}

/// Takes secrets out of texts.
#[derive(Debug)]
pub struct Redactor {
    /// Each known secret in each of its forms, longest first.
    forms: Vec<Secret>,
    known: usize,
}

impl Redactor {
    /// Knows these secrets besides the patterns. Too short ones are left out: they would take ordinary words out.
    pub fn new(secrets: Vec<Secret>) -> Self {
        let usable: Vec<&Secret> =
            secrets.iter().filter(|secret| secret.expose().chars().count() >= SECRET_MIN_CHARS).collect();
        let mut forms: Vec<String> = usable.iter().flat_map(|secret| forms_of(secret.expose())).collect();
        // Who takes a word of our marks for a secret has none; taking it out would put it in.
        forms.retain(|form| !MARKED.iter().any(|name| mark(name).contains(form.as_str())));
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms: forms.into_iter().map(Secret::new).collect(), known: usable.len() }
    }

    /// How many secrets it knows.
    pub fn known(&self) -> usize {
        self.known
    }

    /// The text without secrets, and what was taken out. Doing it again changes nothing.
    pub fn redact(&self, text: &str) -> (String, Counts) {
        let mut counts = Counts::new();
        let mut text = text.to_owned();
        for form in &self.forms {
            let found = text.matches(form.expose()).count() as u64;
            if found > 0 {
                text = text.replace(form.expose(), &mark("known-secret"));
                *counts.entry("known-secret").or_default() += found;
            }
        }
        for rule in RULES.iter() {
            let mut found = 0;
            let replaced = rule.pattern.replace_all(&text, |captures: &Captures<'_>| {
                let whole = captures.get(0).map(|m| m.as_str()).unwrap_or_default();
                match (rule.replace)(captures) {
                    Some(new) => {
                        found += 1;
                        new
                    }
                    None => whole.to_owned(),
                }
            });
            if found > 0 {
                text = replaced.into_owned();
                *counts.entry(rule.name).or_default() += found;
            }
        }
        (text, counts)
    }

    /// True when a known secret is in there, in any of its forms.
    pub fn finds_known(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form.expose()))
    }
}

fn mark(name: &str) -> String {
    format!("{MARK}{name}]")
}

/// The forms a secret can have in a log: as it is, in JSON, in a URL, in base64.
fn forms_of(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).unwrap_or_default();
    let percent = secret.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    vec![
        secret.to_owned(),
        json.trim_matches('"').to_owned(),
        percent.collect(),
        STANDARD.encode(secret).trim_end_matches('=').to_owned(),
    ]
}

/// A pattern of this file; a test compiles each of them.
fn rule(name: &'static str, pattern: &str, replace: Replace) -> Option<Rule> {
    Regex::new(pattern).ok().map(|pattern| Rule { name, pattern, replace })
}

/// A value: in escaped quotes, in quotes, or bare.
const VALUE: &str = r#"(?:\\"(?P<escaped>.*?)\\"|"(?P<double>(?:[^"\\\n]|\\.)*)"|'(?P<single>[^'\n]*)'|(?P<bare>[^\s"'\\,;&}\]]+))"#;

/// How many rules there must be: none may be lost to a pattern that does not compile.
#[cfg(test)]
const RULE_COUNT: usize = 12;

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let keyed = format!(
        r#"(?i)(?P<path>/)?(?P<key>(?:[a-z0-9]+[_.-])*(?:token|password|passwd|passphrase|secret|secret[_-]key|api[_-]?key|private[_-]?key|client-key-data|psk))(?P<between>\\*["']?\s*[:=]\s*){VALUE}"#
    );
    let rules = [
        rule(
            "private-key",
            r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
            whole_private_key,
        ),
        rule("private-key", r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]{16,}", encoded_private_key),
        rule("k3s-token", r#"K10[0-9a-fA-F]{20,}(?:::[^\s"'\\,;}\]]+)?"#, |_| Some(mark("k3s-token"))),
        rule("web-token", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", |_| {
            Some(mark("web-token"))
        }),
        rule("bearer", r"(?i)\b(?P<scheme>bearer)\s+[A-Za-z0-9._~+/=-]{8,}", |c| {
            Some(format!("{} {}", &c["scheme"], mark("bearer")))
        }),
        rule(
            "bearer",
            r"(?i)(?P<head>authorization\\*['\x22]?\s*[:=]\s*\\*['\x22]?(?:basic|digest|token)\s+)[^\s'\x22\\,;]+",
            |c| Some(format!("{}{}", &c["head"], mark("bearer"))),
        ),
        rule("url-password", r#"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<user>[^\s/@"'\\]+)@"#, url_user),
        // What a storage service signs so that whoever has the URL may fetch or put.
        rule(
            "url-signature",
            r#"(?i)(?P<key>[?&](?:x-amz-|x-goog-)?(?:signature|sig)=)(?P<value>[^\s&"'\\#]+)"#,
            |c| (!c["value"].starts_with(MARK)).then(|| format!("{}{}", &c["key"], mark("url-signature"))),
        ),
        rule("password-hash", r"\$(?:1|5|6|7|y|gy|2[aby])\$[./A-Za-z0-9$,=]{16,}", |_| {
            Some(mark("password-hash"))
        }),
        rule("bootstrap-token", r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b", |_| Some(mark("bootstrap-token"))),
        rule("named-value", r"(?i)\b(?P<key>auth_pass)\s+(?P<value>\S+)", |c| {
            (!c["value"].starts_with(MARK)).then(|| format!("{} {}", &c["key"], mark("named-value")))
        }),
        rule("named-value", &keyed, named_value),
    ];
    rules.into_iter().flatten().collect()
});

fn whole_private_key(_: &Captures<'_>) -> Option<String> {
    Some(mark("private-key"))
}

/// PEM in base64, as in a kubeconfig: certificates are no secret and stay.
fn encoded_private_key(captures: &Captures<'_>) -> Option<String> {
    let text = captures[0].trim_end_matches('=');
    // What is cut off in the middle of four characters still decodes up to there.
    let whole = text.get(..text.len() / 4 * 4).unwrap_or_default();
    let decoded = STANDARD.decode(whole).unwrap_or_default();
    let head = String::from_utf8_lossy(decoded.get(..64).unwrap_or(&decoded)).into_owned();
    (!head.contains("BEGIN CERTIFICATE")).then(|| mark("private-key"))
}

fn url_user(captures: &Captures<'_>) -> Option<String> {
    (!captures["user"].starts_with(MARK)).then(|| format!("{}{}@", &captures["scheme"], mark("url-password")))
}

/// `token: VALUE`, `"password": "VALUE"`, `secret=VALUE`. The name of a file that ends so is none.
fn named_value(captures: &Captures<'_>) -> Option<String> {
    let (value, open, close) =
        [("escaped", "\\\"", "\\\""), ("double", "\"", "\""), ("single", "'", "'"), ("bare", "", "")]
            .iter()
            .find_map(|(name, open, close)| Some((captures.name(name)?.as_str(), *open, *close)))?;
    let harmless = ["", "true", "false", "null", "none", "yes", "no", "{", "[", "|", ">"];
    if captures.name("path").is_some() || value.starts_with(MARK) || harmless.contains(&value) {
        return None;
    }
    Some(format!("{}{}{open}{}{close}", &captures["key"], &captures["between"], mark("named-value")))
}

#[cfg(test)]
mod tests {
    use super::{RULE_COUNT, RULES, Redactor, Secret};
    use proptest::prelude::{any, prop};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    fn redactor() -> Redactor {
        Redactor::new(vec![Secret::new("hunter2-hunter2"), Secret::new("a\"b\\c def"), Secret::new("short")])
    }

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(RULES.len(), RULE_COUNT);
        assert!(RULES.iter().all(|rule| super::MARKED.contains(&rule.name)));
        let redactor = Redactor::new(vec![Secret::new("redacted"), Secret::new("secret")]);
        assert_eq!(redactor.redact("token: abc").0, "token: [redacted:named-value]");
        assert!(!redactor.finds_known("[redacted:known-secret]"));
    }

    #[test]
    fn known_secrets_go_in_every_form() {
        let (text, counts) = redactor().redact(
            "x=hunter2-hunter2 aHVudGVyMi1odW50ZXIy a\\\"b\\\\c def a%22b%5Cc%20def 'a\"b\\c def' short",
        );
        let gone = "[redacted:known-secret]";
        assert_eq!(text, format!("x={gone} {gone} {gone} {gone} '{gone}' short"));
        assert_eq!((counts["known-secret"], redactor().known()), (5, 2));
    }

    #[test]
    fn what_looks_like_a_secret_goes_and_the_rest_stays() {
        let hex = "0a".repeat(32);
        let cases = [
            (
                format!("token K10{hex}::server:abcdef, joined"),
                "token [redacted:k3s-token], joined".to_owned(),
            ),
            ("Authorization: Bearer abcd.efgh-1234".into(), "Authorization: Bearer [redacted:bearer]".into()),
            ("Authorization: Basic dXNlcjpwdw==".into(), "Authorization: Basic [redacted:bearer]".into()),
            (
                "metalstrap.config=http://bob:pw@h/c.toml".into(),
                "metalstrap.config=http://[redacted:url-password]@h/c.toml".into(),
            ),
            (
                "https://h/c.toml?X-Amz-Date=1&X-Amz-Signature=0a1b&y=2".into(),
                "https://h/c.toml?X-Amz-Date=1&X-Amz-Signature=[redacted:url-signature]&y=2".into(),
            ),
            ("https://h/c?sv=1&sig=a%2Bb%3D".into(), "https://h/c?sv=1&sig=[redacted:url-signature]".into()),
            ("http://h/c?x=1&token=abc&y=2".into(), "http://h/c?x=1&token=[redacted:named-value]&y=2".into()),
            (
                "{\"password\": \"two words\", \"n\": 1}".into(),
                "{\"password\": \"[redacted:named-value]\", \"n\": 1}".into(),
            ),
            (
                "msg=\"{\\\"token\\\":\\\"a b\\\"}\"".into(),
                "msg=\"{\\\"token\\\":\\\"[redacted:named-value]\\\"}\"".into(),
            ),
            ("auth_pass s3cr3t".into(), "auth_pass [redacted:named-value]".into()),
            ("server_token = 'x y'".into(), "server_token = '[redacted:named-value]'".into()),
            ("join abcdef.0123456789abcdef now".into(), "join [redacted:bootstrap-token] now".into()),
            ("root:$6$saltsalt$hashhashhashhash:1".into(), "root:[redacted:password-hash]:1".into()),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig_-".into(), "[redacted:web-token]".into()),
        ];
        for (text, expected) in cases {
            assert_eq!(redactor().redact(&text).0, expected);
        }
        for harmless in [
            "reading /etc/rancher/k3s/server-token: Permission denied",
            "agent-token-file: /etc/rancher/k3s/agent-token",
            "token: null, password: \"\"",
            "user@example.org http://h/@x rtt 10.0.0.1",
            "tokens were found; passwords are not used",
        ] {
            assert_eq!(redactor().redact(harmless).0, harmless);
        }
    }

    #[test]
    fn private_keys_go_whole_or_cut_and_certificates_stay() {
        let pem = |kind: &str| format!("-----BEGIN {kind}-----\nMIIabc\nMIIdef\n-----END {kind}-----\n");
        let text = format!("a\n{}b\n{}c\n", pem("EC PRIVATE KEY"), pem("CERTIFICATE"));
        let expected = format!("a\n[redacted:private-key]\nb\n{}c\n", pem("CERTIFICATE"));
        assert_eq!(redactor().redact(&text).0, expected);
        assert_eq!(redactor().redact("x -----BEGIN PRIVATE KEY-----\nMII").0, "x [redacted:private-key]");
        let encode = |kind| base64::Engine::encode(&super::STANDARD, pem(kind));
        let (key, certificate) = (encode("EC PRIVATE KEY"), encode("CERTIFICATE"));
        let kubeconfig =
            format!("client-certificate-data: {certificate}\nother: {key}\nclient-key-data: abc\n");
        assert_eq!(
            redactor().redact(&kubeconfig).0,
            format!(
                "client-certificate-data: {certificate}\nother: [redacted:private-key]\nclient-key-data: [redacted:named-value]\n"
            )
        );
    }

    proptest! {
        #[test]
        fn no_known_secret_survives_and_a_second_time_changes_nothing(
            before in any::<String>(),
            secret in "[!-~]{6,40}",
            after in any::<String>(),
            key in prop::sample::select(vec!["token=", "password: ", "", "Bearer ", "http://u:", "K10"]),
        ) {
            let redactor = Redactor::new(vec![Secret::new(secret.clone())]);
            let (text, _) = redactor.redact(&format!("{before}{key}{secret}{after}"));
            prop_assert!(!redactor.finds_known(&text));
            prop_assert_eq!(&redactor.redact(&text).0, &text);
        }
    }
}
