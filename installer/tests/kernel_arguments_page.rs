//! Every example of the page about kernel arguments is one that is understood.
#![allow(clippy::unwrap_used, reason = "a test")]

use installer::early_network::parse_early_network;

#[test]
fn the_examples_of_the_page_are_understood_and_the_wrong_one_is_told_as_shown() {
    let page = include_str!("../../docs/reference/kernel-arguments.md");
    let (examples, wrong) = page.split_once("A wrong argument").unwrap();
    let examples: Vec<&str> = examples.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(examples.len(), 3);
    for line in examples {
        assert!(parse_early_network(line).unwrap().is_some(), "{line}");
    }
    let errors = parse_early_network("ip=dchp").unwrap_err();
    let shown = errors[0].to_string();
    let shown = shown.split_once("ip=dhcp").unwrap().0;
    assert!(wrong.contains(shown), "{shown}");
}
