//! The published 1.0.0-rc form, row by row: every field of its table is read, and stands after the upgrade
//! where version 1.x has it.

use oci::runtime::{
    NamespaceType, SeccompAction, SeccompArch, SeccompOperator, machine, parse, print,
};
use serde_json::{Value, json};

/// struct, field, json_key, type, options.
const TABLE: &str = include_str!("rc/fields.tsv");
const FULL: &str = include_str!("rc/full.json");

/// Where a structure stands in the document.
const PLACES: [(&str, &str); 26] = [
    ("Spec", ""),
    ("Process", "/process"),
    ("User", "/process/user"),
    ("Rlimit", "/process/rlimits/0"),
    ("Root", "/root"),
    ("Platform", "/platform"),
    ("Mount", "/mounts/0"),
    ("Hook", "/hooks/prestart/0"),
    ("Hooks", "/hooks"),
    ("Linux", "/linux"),
    ("Namespace", "/linux/namespaces/0"),
    ("IDMapping", "/linux/uidMappings/0"),
    ("HugepageLimit", "/linux/resources/hugepageLimits/0"),
    ("InterfacePriority", "/linux/resources/network/priorities/0"),
    (
        "blockIODevice",
        "/linux/resources/blockIO/blkioWeightDevice/0",
    ),
    (
        "WeightDevice",
        "/linux/resources/blockIO/blkioWeightDevice/0",
    ),
    (
        "ThrottleDevice",
        "/linux/resources/blockIO/blkioThrottleReadBpsDevice/0",
    ),
    ("BlockIO", "/linux/resources/blockIO"),
    ("Memory", "/linux/resources/memory"),
    ("CPU", "/linux/resources/cpu"),
    ("Pids", "/linux/resources/pids"),
    ("Network", "/linux/resources/network"),
    ("Resources", "/linux/resources"),
    ("Device", "/linux/devices/0"),
    ("DeviceCgroup", "/linux/resources/devices/0"),
    ("Seccomp", "/linux/seccomp"),
];
const MORE_PLACES: [(&str, &str); 2] = [
    ("Arg", "/linux/seccomp/syscalls/0/args/0"),
    ("Syscall", "/linux/seccomp/syscalls/0"),
];

/// What stands elsewhere, or otherwise, after the upgrade. Empty: it is gone.
fn upgraded(pointer: &str, value: &Value) -> Vec<(String, Value)> {
    let same = |pointer: String| vec![(pointer, value.clone())];
    match pointer {
        "/platform" | "/platform/os" | "/platform/arch" => vec![],
        "/process/capabilities" => ["bounding", "effective", "permitted"]
            .map(|set| (format!("{pointer}/{set}"), value.clone()))
            .into(),
        "/linux/resources/disableOOMKiller" => {
            same("/linux/resources/memory/disableOOMKiller".into())
        }
        "/linux/resources/oomScoreAdj" => same("/process/oomScoreAdj".into()),
        "/linux/seccomp/syscalls/0/name" => {
            vec![("/linux/seccomp/syscalls/0/names".into(), json!([value]))]
        }
        // Whole structures are looked at field by field.
        _ if value.is_object()
            || value
                .as_array()
                .is_some_and(|a| a.iter().any(Value::is_object)) =>
        {
            vec![]
        }
        _ => {
            let mut parts: Vec<String> = pointer.split('/').map(str::to_owned).collect();
            for part in &mut parts {
                if let Some(rest) = part.strip_prefix("blkio") {
                    let mut chars = rest.chars();
                    let first = chars.next().map(|c| c.to_ascii_lowercase());
                    *part = first.into_iter().chain(chars).collect();
                }
            }
            same(parts.join("/"))
        }
    }
}

fn full() -> String {
    FULL.replace("\"ARCH\"", &format!("{:?}", machine()))
}

#[test]
fn every_row_is_read_and_upgraded() {
    let text = full();
    let rc: Value = serde_json::from_str(&text).expect("JSON");
    let spec = parse(text.as_bytes()).expect("the rc form parses");
    let printed = print(&spec).expect("prints");
    let new: Value = serde_json::from_str(&printed).expect("JSON");
    let mut rows = 0;
    for row in TABLE.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [structure, _, key, ..] = columns.as_slice() else {
            panic!("{row}")
        };
        if *structure == "const" || key.is_empty() {
            continue;
        }
        rows += 1;
        let place = PLACES
            .iter()
            .chain(&MORE_PLACES)
            .find(|(name, _)| name == structure);
        let (_, place) = place.unwrap_or_else(|| panic!("no place for {structure}"));
        let pointer = format!("{place}/{key}");
        let value = rc
            .pointer(&pointer)
            .unwrap_or_else(|| panic!("the document lacks {pointer}"));
        for (at, wanted) in upgraded(&pointer, value) {
            assert_eq!(
                new.pointer(&at),
                Some(&wanted),
                "{pointer} at {at} in {printed}"
            );
        }
    }
    assert_eq!(rows, 120, "rows with a key");
    assert_eq!(new.get("platform"), None);
    // What was upgraded is a 1.x document that says the same.
    assert_eq!(parse(printed.as_bytes()).expect("parses"), spec);
}

#[test]
fn every_word_is_known() {
    let mut kinds = 0;
    for row in TABLE
        .lines()
        .skip(1)
        .filter(|row| row.starts_with("const\t"))
    {
        let columns: Vec<&str> = row.split('\t').collect();
        let words = columns
            .iter()
            .find(|c| c.contains(' ') && !c.contains("only"))
            .expect("words");
        for word in words.split(' ') {
            let known = match columns[1] {
                "NamespaceType" => word.parse::<NamespaceType>().is_ok(),
                "Arch" => word.parse::<SeccompArch>().is_ok(),
                "Action" => word.parse::<SeccompAction>().is_ok(),
                "Operator" => word.parse::<SeccompOperator>().is_ok(),
                other => panic!("{other}"),
            };
            assert!(known, "{word}");
        }
        kinds += 1;
    }
    assert_eq!(kinds, 4);
}

#[test]
fn every_optional_field_may_be_null() {
    let text = full();
    for row in TABLE.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [structure, _, key, kind, ..] = columns.as_slice() else {
            panic!("{row}")
        };
        // Go writes null for what is a pointer, a slice or a map there.
        let nullable = kind.starts_with('*') || kind.starts_with("[]") || kind.starts_with("map");
        if *structure == "const" || key.is_empty() || !nullable {
            continue;
        }
        let place = PLACES
            .iter()
            .chain(&MORE_PLACES)
            .find(|(name, _)| name == structure);
        let (_, place) = place.expect("a place");
        let mut rc: Value = serde_json::from_str(&text).expect("JSON");
        rc.pointer_mut(place).expect("there")[*key] = Value::Null;
        let read = parse(rc.to_string().as_bytes());
        assert!(read.is_ok(), "{place}/{key}: {read:?}");
    }
}
