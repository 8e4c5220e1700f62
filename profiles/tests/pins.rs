//! The committed pins parse, and empty ones are named.
#![allow(clippy::unwrap_used, reason = "a test may")]

use profiles::pins::{FileKind, Pins};

const PINS: &str = include_str!("../../images/pins.toml");

fn filled() -> String {
    let hex = "0123456789abcdef".repeat(4);
    PINS.replace("length = 0", "length = 1")
        .replace("sha256 = \"\"", &format!("sha256 = \"{hex}\""))
        .replace("digest = \"\"", &format!("digest = \"sha256:{hex}\""))
}

#[track_caller]
fn problems(text: &str) -> Vec<String> {
    Pins::parse("pins.toml", text.as_bytes()).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn committed_pins_parse() {
    let pins = Pins::parse("pins.toml", PINS.as_bytes()).unwrap();
    assert!(!pins.is_double());
    assert_eq!(pins.k3s().version, "v1.28.9+k3s1");
    let name = |kind| pins.k3s().files.iter().find(|file| file.kind == kind).unwrap().name.as_str();
    assert_eq!(name(FileKind::Binary), "k3s");
    assert_eq!(name(FileKind::AirgapImages), "k3s-airgap-images-amd64.tar.zst");
    assert_eq!(pins.kube_vip().image, "ghcr.io/kube-vip/kube-vip:v0.8.7");
}

#[test]
fn filled_pins_are_filled() {
    let pins = Pins::parse("pins.toml", filled().as_bytes()).unwrap();
    assert_eq!(pins.ensure_filled(), Ok(()));
}

#[test]
fn every_empty_pin_is_named() {
    let text = filled().replacen("length = 1", "length = 0", 1);
    let text = text.replace(&text[text.find("digest = ").unwrap()..text.find("archive").unwrap()], "");
    let error = Pins::parse("pins.toml", text.as_bytes()).unwrap().ensure_filled().unwrap_err();
    let line =
        "2 pins are not filled: k3s.files[0].length, kube_vip.digest; `cargo xtask pins update` fills them";
    assert_eq!(error.to_string(), line);
    let lines: Vec<_> = error.diagnostics.iter().map(ToString::to_string).collect();
    let message = "nobody has filled this pin yet; `cargo xtask pins update` does";
    assert_eq!(
        lines,
        [
            format!("pins.toml:15:10: error E_PIN_EMPTY at k3s.files[0].length: {message}"),
            format!("pins.toml:25:1: error E_PIN_EMPTY at kube_vip.digest: {message}"),
        ]
    );
}

#[test]
fn wrong_pins_are_refused_all_at_once() {
    let text = filled()
        .replace("kind = \"airgap-images\"", "kind = \"binary\"")
        .replace("version = \"v0.8.7\"", "version = \"0.8.7\"")
        .replacen("https://", "http://", 1);
    let expected = [
        "pins.toml:26:11: error E_VALUE_FORMAT at kube_vip.version: `0.8.7` is not a version (as in v1.28.9+k3s1)",
    ];
    assert_eq!(problems(&text), expected);
    let text = text.replace("\"0.8.7\"", "\"v0.8.7\"");
    let expected = [
        "pins.toml:9:12: error E_PIN_INCOMPLETE at k3s.sums_url: artefacts are fetched by HTTPS only",
        "pins.toml:11:1: error E_PIN_INCOMPLETE at k3s.files: no file with kind = \"airgap-images\"",
        "pins.toml:19:8: error E_PIN_INCOMPLETE at k3s.files[1].kind: a second file with kind = \"binary\"",
    ];
    assert_eq!(problems(&text), expected);
}

#[test]
fn the_double_may_come_from_anywhere() {
    let text = filled().replace("https://github.com", "http://127.0.0.1");
    assert_eq!(problems(&text).len(), 3);
    let double = text.replacen("version = 1\n", "version = 1\ndouble = true\n", 1);
    assert!(Pins::parse("pins.toml", double.as_bytes()).unwrap().is_double());
}
