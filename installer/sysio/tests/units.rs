//! The D-Bus client against a fake systemd.

#![allow(clippy::unwrap_used)]

#[path = "fakes/systemd.rs"]
mod systemd;

use std::sync::{Arc, Mutex};
use std::time::Duration;
use sysio::units::{Bus, Systemd, Unit};
use systemd::{FakeUnit, unit};

const LIMIT: Duration = Duration::from_secs(20);

fn units() -> systemd::Units {
    Arc::new(Mutex::new(vec![
        FakeUnit {
            left_active: 6_000_000,
            restarts: 4,
            ..unit("k3s.service", "loaded", "activating", "start", 7_000_000)
        },
        unit("ghost.service", "not-found", "failed", "failed", 1),
        unit("b.service", "loaded", "failed", "failed", 2),
        unit("a.service", "loaded", "failed", "failed", 3),
        unit("var.mount", "loaded", "active", "mounted", 4),
    ]))
}

#[tokio::test]
async fn reads_a_unit_and_when_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bus");
    systemd::serve(&socket, units());
    let client = Systemd::new(Bus::Peer(socket), LIMIT);
    let unit = client.unit("k3s.service").await.unwrap();
    let expected = Unit {
        name: "k3s.service".to_owned(),
        load_state: "loaded".to_owned(),
        active_state: "activating".to_owned(),
        sub_state: "start".to_owned(),
        has_job: false,
        changed_monotonic_usecs: 7_000_000,
        left_active_monotonic_usecs: 6_000_000,
        restarts: 4,
    };
    assert_eq!(unit, expected);
    let mount = client.unit("var.mount").await.unwrap();
    assert_eq!((mount.changed_monotonic_usecs, mount.restarts), (4, 0), "only services are started again");
    assert_eq!(client.unit("haproxy.service").await.unwrap().load_state, "not-found");
}

#[tokio::test]
async fn lists_failed_units_sorted_and_without_ghosts() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bus");
    systemd::serve(&socket, units());
    let failed = Systemd::new(Bus::Peer(socket), LIMIT).failed_units().await.unwrap();
    assert_eq!(failed.iter().map(|unit| unit.name.as_str()).collect::<Vec<_>>(), ["a.service", "b.service"]);
}

#[tokio::test]
async fn connects_again_after_the_bus_went_away() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bus");
    let client = Systemd::new(Bus::Peer(socket.clone()), LIMIT);
    let error = client.unit("k3s.service").await.unwrap_err();
    assert_eq!(error.to_string(), "connecting to systemd over D-Bus");
    systemd::serve(&socket, units());
    assert_eq!(client.unit("k3s.service").await.unwrap().sub_state, "start");
}

#[tokio::test]
async fn a_bus_that_does_not_answer_costs_its_time_limit_only() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bus");
    let mute = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let client = Systemd::new(Bus::Peer(socket), Duration::from_millis(50));
    let outcome = tokio::time::timeout(LIMIT, client.unit("k3s.service")).await.unwrap();
    drop(mute);
    let error = outcome.unwrap_err();
    assert_eq!(error.to_string(), "connecting to systemd over D-Bus");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "I/O error: timed out");
}
