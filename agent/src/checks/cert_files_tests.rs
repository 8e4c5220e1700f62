//! Files on a disk, and the judge's table.
#![allow(clippy::disallowed_methods)]

use super::{Certificate, DAY_SECS, FILES_MAX, Observation, judge, observe, parse};
use crate::verdict::Verdict;
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use std::fs;
use std::path::Path;

const CA_END: i64 = 1_893_456_000; // 2030-01-01
const LEAF_END: i64 = 1_798_761_600; // 2027-01-01
const BEGIN: i64 = 1_767_225_600; // 2026-01-01

/// PEM of a CA and of a leaf it signed.
fn pair() -> (String, String) {
    let params = |end| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = end;
        params
    };
    let mut ca = params(date_time_ymd(2030, 1, 1));
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca_pem = ca.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(ca, key);
    let leaf = params(date_time_ymd(2027, 1, 1)).signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    (ca_pem, leaf.pem())
}

fn put(root: &Path, path: &str, text: &str) {
    let full = root.join(path);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    fs::write(full, text).unwrap();
}

fn certificate(file: &str, is_ca: bool, not_before: i64, not_after: i64) -> Certificate {
    Certificate { file: file.to_owned(), is_ca, not_before, not_after }
}

#[test]
fn reads_all_files_of_k3s_and_none_of_images() {
    let (root, (ca, leaf)) = (tempfile::tempdir().unwrap(), pair());
    put(root.path(), "server/tls/server-ca.crt", &ca);
    put(root.path(), "server/tls/etcd/server-client.crt", &format!("{leaf}{ca}"));
    put(
        root.path(),
        "server/tls/broken.crt",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    put(root.path(), "server/tls/empty.crt", "");
    put(root.path(), "server/tls/large.crt", &"#".repeat(64 * 1024 + 1));
    put(root.path(), "server/tls/server-ca.key", "no business of the check");
    put(root.path(), "server/tls/temporary-certs/apiserver.crt", "left alone");
    put(root.path(), "agent/client-kubelet.crt", &leaf);
    put(root.path(), "agent/containerd/image/some.crt", "left alone");
    fs::create_dir(root.path().join("server/tls/folder.crt")).unwrap();
    let seen = observe(root.path());
    let expected = [
        certificate("agent/client-kubelet.crt", false, BEGIN, LEAF_END),
        certificate("server/tls/etcd/server-client.crt", false, BEGIN, LEAF_END),
        certificate("server/tls/server-ca.crt", true, BEGIN, CA_END),
    ];
    assert_eq!(seen.certificates, expected);
    let unreadable = [
        "server/tls/broken.crt: not a certificate",
        "server/tls/empty.crt: no certificate",
        "server/tls/large.crt: longer than 64 KiB",
    ];
    assert_eq!(seen.unreadable, unreadable);
}

#[test]
fn reads_a_bounded_number_of_files_and_says_so() {
    let (root, (_, leaf)) = (tempfile::tempdir().unwrap(), pair());
    for number in 0..FILES_MAX + 2 {
        put(root.path(), &format!("agent/{number:03}.crt"), &leaf);
    }
    let seen = observe(root.path());
    assert_eq!(seen.certificates.len(), FILES_MAX);
    assert_eq!(seen.unreadable, ["2 more files than 200"]);
}

#[test]
fn a_missing_folder_holds_nothing_and_an_unreadable_one_is_named() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(observe(root.path()), Observation::default());
    put(root.path(), "agent", "a file");
    assert_eq!(observe(root.path()).unreadable, ["agent: Not a directory (os error 20)"]);
}

#[test]
fn takes_every_certificate_of_a_ca_and_the_first_of_a_leaf() {
    let (ca, leaf) = pair();
    let ends = |text: &str| {
        let all = parse("x", text.as_bytes());
        all.map(|all| all.iter().map(|one| one.not_after).collect::<Vec<_>>())
    };
    assert_eq!(ends(&format!("{ca}{ca}")), Ok(vec![CA_END, CA_END]));
    assert_eq!(ends(&format!("{leaf}{ca}")), Ok(vec![LEAF_END]));
    assert_eq!(ends(&format!("{leaf}{}", &ca[..80])), Ok(vec![LEAF_END]));
    assert_eq!(ends(&format!("{ca}{}", &ca[..80])), Err("not PEM".to_owned()));
    assert_eq!(ends("text"), Err("no certificate".to_owned()));
}

#[test]
fn judges_each_kind_by_its_own_limits() {
    let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
    let lasting = |is_ca, secs: i64| certificate("f.crt", is_ca, 0, now.as_second() + secs);
    let valid = |until: &str, name: &str| {
        Verdict::ok("Valid", format!("none of 1 certificates ends before {until}: {name}"))
    };
    let table = [
        (lasting(false, 60 * DAY_SECS), valid("2027-01-20", "f.crt")),
        (
            lasting(false, 60 * DAY_SECS - 1),
            Verdict::warning("ExpiresSoon", "f.crt expires on 2027-01-19, in 59 days"),
        ),
        (
            lasting(false, 7 * DAY_SECS),
            Verdict::warning("ExpiresSoon", "f.crt expires on 2026-11-28, in 7 days"),
        ),
        (
            lasting(false, 7 * DAY_SECS - 1),
            Verdict::critical("AboutToExpire", "f.crt expires on 2026-11-27, in 6 days"),
        ),
        (lasting(false, -1), Verdict::critical("Expired", "f.crt expired on 2026-11-20")),
        (lasting(true, 365 * DAY_SECS), valid("2027-11-21", "CA f.crt")),
        (
            lasting(true, 365 * DAY_SECS - 1),
            Verdict::warning("ExpiresSoon", "CA f.crt expires on 2027-11-20, in 364 days"),
        ),
        (
            lasting(true, 30 * DAY_SECS - 1),
            Verdict::critical("AboutToExpire", "CA f.crt expires on 2026-12-20, in 29 days"),
        ),
        (certificate("f.crt", false, 0, i64::MAX), valid("9999-12-30", "f.crt")),
        (
            certificate("f.crt", false, now.as_second() + 1, LEAF_END * 2),
            Verdict::critical("NotYetValid", "f.crt is not valid before 2026-11-21"),
        ),
    ];
    for (one, expected) in table {
        let seen = Observation { certificates: vec![one.clone()], unreadable: Vec::new() };
        assert_eq!(judge(&seen, now), expected, "{one:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other() {
    let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
    let end = |days: i64| now.as_second() + days * DAY_SECS;
    let unreadable = vec!["x.crt: not PEM".to_owned()];
    let judge = |certificates: &[Certificate], unreadable: &[String]| {
        let seen = Observation { certificates: certificates.to_vec(), unreadable: unreadable.to_vec() };
        judge(&seen, now)
    };
    let good = certificate("good.crt", false, 0, end(300));
    let soon = certificate("soon.crt", false, 0, end(20));
    let ca = certificate("ca.crt", true, 0, end(10));
    let old = certificate("old.crt", false, 0, end(-1));
    let none = Verdict::unknown("NoCertificates", "k3s has made no certificates yet");
    assert_eq!(judge(&[], &[]), none);
    let unknown = Verdict::unknown("Unreadable", "cannot read x.crt: not PEM");
    assert_eq!(judge(std::slice::from_ref(&good), &unreadable), unknown);
    let both = "soon.crt expires on 2026-12-11, in 20 days; cannot read x.crt: not PEM";
    assert_eq!(judge(&[good.clone(), soon.clone()], &unreadable), Verdict::warning("ExpiresSoon", both));
    let all = "old.crt expired on 2026-11-20; CA ca.crt expires on 2026-12-01, in 10 days; \
               soon.crt expires on 2026-12-11, in 20 days; and 1 more";
    assert_eq!(judge(&[good, soon, ca, old], &unreadable), Verdict::critical("Expired", all));
}
