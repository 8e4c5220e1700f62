//! Preflight and the health agent: an id that both use comes from the one list, and means the same thing.

use std::collections::BTreeSet;

#[test]
fn the_ids_that_both_use_are_those_that_look_at_the_same_thing() {
    let preflight: BTreeSet<&str> = profiles::preflight::ALL.iter().map(|id| id.name).collect();
    let health: BTreeSet<&str> = agent::catalogue::CATALOGUE.iter().map(|check| check.id).collect();
    let both: Vec<&&str> = preflight.intersection(&health).collect();
    assert_eq!(both, [&"clock.sync", &"vip.reach"]);
}
