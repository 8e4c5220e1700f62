//! The page of all checks is the catalogue's.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use agent::catalogue::CATALOGUE;
use std::path::Path;

#[test]
fn page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/health-checks.md");
    let rendered = agent::reference::render(CATALOGUE);
    if std::env::var_os("METALSTRAP_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &rendered).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page == rendered, "run METALSTRAP_BLESS=1 cargo test -p agent --test reference");
}
