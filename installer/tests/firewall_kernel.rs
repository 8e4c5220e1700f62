//! The kernel's side, in network and mount namespaces of their own: comparing, loading, trying, going back, and what stands
//! when rules do not load.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may")]

mod render_support;

use render_support::{ha, render, run_in_namespace, said};

const MINIMAL: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../images/overlay/usr/lib/metalstrap/firewall-minimal.nft");

/// `/etc/metalstrap` and `/run` are empty; `$FW` is the command; a table of somebody else is there and must stay.
const START: &str = r#"set -eu
mount --make-rprivate / && mount -t tmpfs none /run && mount -t tmpfs none /etc && mkdir /etc/metalstrap
cp "$CASE/node.json" "$CASE/firewall.nft" /etc/metalstrap/
nft add table ip other && nft add chain ip other c
now() { nft -s list table inet metalstrap 2>/dev/null | sha256sum; }
code() { "$@" >/run/out 2>&1 && echo 0 || echo $?; }
"#;

/// What the script prints.
fn kernel(script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let rendered = render(&ha("worker-1"));
    for name in ["node.json", "firewall.nft"] {
        let text = rendered.file(&format!("/etc/metalstrap/{name}")).unwrap().contents.expose();
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let program = assert_cmd::cargo::cargo_bin("metalstrap");
    let variables =
        format!("CASE='{}' FW='{}' MINIMAL='{MINIMAL}'\n", folder.path().display(), program.display());
    let script =
        format!("{variables}{START}{script}\nnft list table ip other >/dev/null && echo other stays\n");
    let output = run_in_namespace(&["bash", "-c", &script], "");
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

#[test]
fn diff_sees_one_changed_rule_and_no_counters() {
    let said = kernel(
        r#"code $FW firewall diff; cat /run/out
nft -f /etc/metalstrap/firewall.nft; code $FW firewall diff; cat /run/out
ip link set lo up; ping -c1 -W1 127.0.0.1 >/dev/null; code $FW firewall diff
nft add rule inet metalstrap input tcp dport 4444 accept; code $FW firewall diff; grep -c '^+.*4444' /run/out
$FW firewall diff --output json | grep -c '"same": false'
"#,
    );
    assert_eq!(
        said,
        "4\ntable inet metalstrap is not loaded\n0\nthe kernel has exactly the rules of this node\n0\n4\n1\n1\nother stays\n"
    );
}

#[test]
fn apply_loads_writes_and_notes_what_diff_then_finds() {
    let said = kernel(
        r#"echo old >/etc/metalstrap/firewall.nft
$FW firewall apply; code $FW firewall diff; cmp "$CASE/firewall.nft" /etc/metalstrap/firewall.nft && echo written
rules=$(sha256sum </etc/metalstrap/firewall.nft); grep -c "${rules%% *}" /run/metalstrap/firewall.json
code $FW firewall confirm; cat /run/out
"#,
    );
    assert_eq!(said, "loaded\n0\nwritten\n1\n4\nmetalstrap: no rules are on trial\nother stays\n");
}

#[test]
fn a_trial_goes_back_by_itself_even_when_its_session_is_killed() {
    let said = kernel(
        r#"nft -f "$MINIMAL"; before=$(now)
{ setsid bash -c "$FW firewall apply --try 5 >/run/said; kill -9 -\$\$" || :; } 2>/dev/null
cat /run/said; [ "$(now)" != "$before" ] && echo on trial
code $FW firewall apply; cat /run/out
for _ in $(seq 120); do [ "$(now)" = "$before" ] && break; sleep 0.25; done
[ "$(now)" = "$before" ] && echo back; [ -e /run/metalstrap/firewall-trial ] || echo over
cmp -s "$CASE/firewall.nft" /etc/metalstrap/firewall.nft && echo file untouched
"#,
    );
    assert_eq!(
        said,
        "loaded on trial: back again in 5 s, unless `metalstrap firewall confirm` comes first\non trial\n4\n\
         metalstrap: rules are on trial already; `metalstrap firewall confirm` or `revert` comes first\nback\nover\nfile untouched\nother stays\n"
    );
}

#[test]
fn a_confirmed_trial_stays() {
    let said = kernel(
        r#"echo old >/etc/metalstrap/firewall.nft
$FW firewall apply --try 5 >/dev/null; head -c3 /etc/metalstrap/firewall.nft; echo
$FW firewall confirm; kept=$(now); sleep 7; [ "$(now)" = "$kept" ] && echo stays
cmp "$CASE/firewall.nft" /etc/metalstrap/firewall.nft && echo written; code $FW firewall diff
"#,
    );
    assert_eq!(said, "old\nkept\nstays\nwritten\n0\nother stays\n");
}

#[test]
fn a_trial_without_a_table_before_it_goes_back_to_none() {
    let said = kernel(
        r#"$FW firewall apply --try 3600 >/dev/null; $FW firewall revert; code nft list table inet metalstrap
"#,
    );
    assert_eq!(said, "back at the rules before the trial\n1\nother stays\n");
}

#[test]
fn rules_that_do_not_load_leave_the_minimal_table_in_force_and_good_ones_replace_it() {
    let said = kernel(
        r#"nft -f "$MINIMAL"; before=$(now)
sed 's/policy drop/policy drob/' /etc/metalstrap/firewall.nft >/run/broken.nft
code nft -f /run/broken.nft; [ "$(now)" = "$before" ] && echo minimal stays
nft -f /etc/metalstrap/firewall.nft; nft list table inet metalstrap | grep -c drop_minimal || :
code $FW firewall diff
"#,
    );
    assert_eq!(said, "1\nminimal stays\n0\n0\nother stays\n");
}

#[test]
fn going_back_from_a_trial_gives_exactly_the_whole_table_before_it() {
    let said = kernel(
        r#"nft -f /etc/metalstrap/firewall.nft; before=$(now)
sed -i 's#10.0.2.0/24#10.0.1.0/24#' /etc/metalstrap/node.json; code $FW firewall diff
$FW firewall apply --try 3600 >/dev/null; [ "$(now)" != "$before" ] && echo on trial; code $FW firewall diff
$FW firewall revert; [ "$(now)" = "$before" ] && echo same
cp "$CASE/node.json" /etc/metalstrap/; code $FW firewall diff
"#,
    );
    assert_eq!(said, "4\non trial\n0\nback at the rules before the trial\nsame\n0\nother stays\n");
}

#[test]
fn without_root_nothing_is_compared_and_the_reason_is_said() {
    let said = kernel(
        r#"code setpriv --reuid 65534 --clear-groups --bounding-set -all $FW firewall diff; tail -n1 /run/out
"#,
    );
    assert_eq!(
        said,
        "4\nmetalstrap: making a scratch network namespace (needs root): Operation not permitted (os error 1)\nother stays\n"
    );
}
