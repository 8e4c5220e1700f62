//! Local driver, not committed.
#![allow(clippy::unwrap_used)]
use tests::scenarios::{Context, Image, find};
fn main() {
    let name = std::env::args().nth(1).unwrap();
    let p = std::path::PathBuf::from;
    let context = Context {
        image: Image { iso: p("/x"), live: p("/x"), pxe: p("/x"), double: true },
        single: std::fs::read_to_string("profiles/examples/single.toml").unwrap(),
        ha: String::new(),
        work: p("target/vm").canonicalize().unwrap(),
        web_server: vec![],
        accel: tests::accel::detect().unwrap(),
        echo: |line| eprintln!("{:7.1} {}", line.secs, line.text),
    };
    match (find(&name).unwrap().run)(&context) {
        Ok(f) => println!("OK {f:#?}"),
        Err(e) => { println!("FAILED {e:#}"); std::process::exit(1) }
    }
}
