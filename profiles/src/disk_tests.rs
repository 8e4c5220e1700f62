//! The size grammar and the patterns, case by case.
use super::{DiskKind, DiskTransport, SizeRange, is_possible, matches_glob};

fn range(text: &str) -> SizeRange {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn bounds_are_exact_to_the_byte() {
    for (text, inside, outside) in [
        (">= 100GB", vec![100_000_000_000, u64::MAX], vec![99_999_999_999]),
        (">100GB", vec![100_000_000_001], vec![100_000_000_000]),
        ("< 2TB", vec![0, 1_999_999_999_999], vec![2_000_000_000_000]),
        ("<=2TiB", vec![2 << 40], vec![(2 << 40) + 1]),
        ("= 20 GiB", vec![20 << 30], vec![(20 << 30) - 1, (20 << 30) + 1]),
        (">= 100GB, < 2TB", vec![100_000_000_000, 1_999_999_999_999], vec![0, 2_000_000_000_000]),
        ("<2TB,>=100GB", vec![100_000_000_000], vec![2_000_000_000_000]),
        (">= 1.5TB", vec![1_500_000_000_000], vec![1_499_999_999_999]),
        (">= 0.333KiB", vec![340], vec![339]),
        (">= 8 PiB", vec![8 << 50], vec![(8 << 50) - 1]),
        (">= 512B", vec![512], vec![511]),
        (">= 1kB", vec![1000], vec![999]),
    ] {
        let range = range(text);
        assert!(inside.iter().all(|bytes| range.contains(*bytes)), "{text}");
        assert!(!outside.iter().any(|bytes| range.contains(*bytes)), "{text}");
        assert_eq!((range.to_string().as_str(), range.is_empty()), (text, false));
    }
}

#[test]
fn contradictions_are_empty_and_not_wrong() {
    for text in [">= 2TB, < 1TB", "< 0B", "> 10GB, < 10GB", "> 18446744073709551615B", "> 1GB, <= 1GB"] {
        assert!(range(text).is_empty(), "{text}");
    }
}

#[test]
fn everything_else_is_no_range() {
    for text in [
        "",
        " ",
        ",",
        "100GB",
        ">= ",
        ">=100",
        ">= GB",
        ">= 100G",
        ">= 100 gb",
        ">= -1GB",
        ">= 1e3GB",
        ">= 1,5TB",
        ">= 1.5.5TB",
        ">= .5TB",
        ">= 5.TB",
        ">= 1.2345TB",
        "=> 1GB",
        "== 1GB",
        "!= 1GB",
        "~ 1GB",
        ">= 1GB < 2TB",
        ">= 1GB,",
        ">= 1GB,, < 2GB",
        ">= 1GB, >= 2GB",
        "< 1GB, <= 2GB",
        "= 1GB, < 2GB",
        "1GB..2GB",
        ">= 20EB",
        ">= 18446744073709551616B",
        ">= 99999999999999999999999PB",
        ">= 1GB\n",
        ">=\t1GB",
        ">= 1GB; reboot",
        "≥ 1GB",
        ">= ١GB",
        &">= 1GB".repeat(20),
    ] {
        assert!(text.parse::<SizeRange>().is_err(), "{text:?}");
    }
}

#[test]
fn patterns_stand_for_what_they_say() {
    for (pattern, text) in [
        ("*", ""),
        ("Samsung*", "Samsung SSD 870"),
        ("*SSD*", "Samsung SSD 870"),
        ("SSD ?70", "SSD 870"),
        ("a*b*c", "a--b--b-c"),
        ("[a]*", "[a]x"),
        ("ä?", "äö"),
        ("", ""),
    ] {
        assert!(matches_glob(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [
        ("", "a"),
        ("samsung*", "Samsung"),
        ("?", ""),
        ("a*b", "a--c"),
        ("SSD", "SSD 870"),
        ("*SSD", "SSD 870"),
    ] {
        assert!(!matches_glob(pattern, text), "{pattern} {text}");
    }
    assert!(!matches_glob(&"*a".repeat(500), &"a".repeat(499)));
}

#[test]
fn a_kind_excludes_some_transports() {
    assert!(
        is_possible(DiskKind::Nvme, DiskTransport::Nvme) && !is_possible(DiskKind::Nvme, DiskTransport::Sata)
    );
    assert!(
        is_possible(DiskKind::Emmc, DiskTransport::Mmc) && !is_possible(DiskKind::Hdd, DiskTransport::Mmc)
    );
    assert!(is_possible(DiskKind::Virtual, DiskTransport::Sata));
}
