use super::*;

fn of(json: &str, v2: bool) -> Vec<Property> {
    limits(&serde_json::from_str(json).unwrap(), v2)
}

fn table(rows: &[(&str, &[(&str, Value)])], v2: bool) {
    for (json, wanted) in rows {
        let wanted: Vec<Property> = wanted
            .iter()
            .map(|(name, value)| property(name, value.clone()))
            .collect();
        assert_eq!(of(json, v2), wanted, "{json}");
    }
}

fn device(path: &str, value: u64) -> Value {
    Value::Array(
        "(st)".to_owned(),
        vec![Value::Struct(vec![Value::text(path), Value::U64(value)])],
    )
}

#[test]
fn every_limit_of_cgroup2_has_its_property() {
    table(
        &[
            (
                r#"{"memory":{"limit":4096}}"#,
                &[("MemoryMax", Value::U64(4096))],
            ),
            (
                r#"{"memory":{"limit":-1}}"#,
                &[("MemoryMax", Value::U64(u64::MAX))],
            ),
            (
                r#"{"memory":{"limit":4096,"swap":8192,"reservation":1024}}"#,
                &[
                    ("MemoryMax", Value::U64(4096)),
                    ("MemoryLow", Value::U64(1024)),
                    ("MemorySwapMax", Value::U64(4096)),
                ],
            ),
            (
                r#"{"memory":{"swap":-1}}"#,
                &[("MemorySwapMax", Value::U64(u64::MAX))],
            ),
            (
                r#"{"cpu":{"shares":1024}}"#,
                &[("CPUWeight", Value::U64(100))],
            ),
            (
                r#"{"cpu":{"shares":1024,"idle":1}}"#,
                &[("CPUWeight", Value::U64(0))],
            ),
            (
                r#"{"cpu":{"quota":25001,"period":50000}}"#,
                &[
                    ("CPUQuotaPeriodUSec", Value::U64(50_000)),
                    ("CPUQuotaPerSecUSec", Value::U64(510_000)),
                ],
            ),
            (
                r#"{"cpu":{"quota":-1}}"#,
                &[("CPUQuotaPerSecUSec", Value::U64(u64::MAX))],
            ),
            (
                r#"{"cpu":{"cpus":"0-2,9","mems":"0"}}"#,
                &[
                    ("AllowedCPUs", Value::bytes(&[7, 2])),
                    ("AllowedMemoryNodes", Value::bytes(&[1])),
                ],
            ),
            (r#"{"pids":{"limit":7}}"#, &[("TasksMax", Value::U64(7))]),
            (r#"{"pids":{"limit":0}}"#, &[("TasksMax", Value::U64(1))]),
            (
                r#"{"pids":{"limit":-1}}"#,
                &[("TasksMax", Value::U64(u64::MAX))],
            ),
            (
                r#"{"blockIO":{"weight":50,"weightDevice":[{"major":8,"minor":0,"weight":70}],
                    "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":5}],
                    "throttleWriteBpsDevice":[{"major":8,"minor":1,"rate":0}],
                    "throttleReadIOPSDevice":[{"major":8,"minor":2,"rate":6}],
                    "throttleWriteIOPSDevice":[{"major":8,"minor":3,"rate":7}]}}"#,
                &[
                    ("IOWeight", Value::U64(50)),
                    ("IODeviceWeight", device("/dev/block/8:0", 70)),
                    ("IOReadBandwidthMax", device("/dev/block/8:0", 5)),
                    ("IOWriteBandwidthMax", device("/dev/block/8:1", u64::MAX)),
                    ("IOReadIOPSMax", device("/dev/block/8:2", 6)),
                    ("IOWriteIOPSMax", device("/dev/block/8:3", 7)),
                ],
            ),
            (
                r#"{"unified":{"memory.high":"5","memory.min":"max","pids.max":"3","cpu.max":"max 50000",
                    "cpuset.cpus":"1","hugetlb.2MB.max":"0"}}"#,
                &[
                    ("CPUQuotaPeriodUSec", Value::U64(50_000)),
                    ("CPUQuotaPerSecUSec", Value::U64(u64::MAX)),
                    ("AllowedCPUs", Value::bytes(&[2])),
                    ("MemoryHigh", Value::U64(5)),
                    ("MemoryMin", Value::U64(u64::MAX)),
                    ("TasksMax", Value::U64(3)),
                ],
            ),
        ],
        true,
    );
}

#[test]
fn those_of_v1_have_its_names() {
    table(
        &[
            (
                r#"{"memory":{"limit":4096,"swap":8192,"reservation":1024}}"#,
                &[("MemoryLimit", Value::U64(4096))],
            ),
            (
                r#"{"cpu":{"shares":512,"cpus":"0"}}"#,
                &[("CPUShares", Value::U64(512))],
            ),
            (
                r#"{"blockIO":{"weight":50,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":5}],
                    "throttleReadIOPSDevice":[{"major":8,"minor":2,"rate":6}]}}"#,
                &[
                    ("BlockIOWeight", Value::U64(50)),
                    ("BlockIOReadBandwidth", device("/dev/block/8:0", 5)),
                ],
            ),
            (r#"{"unified":{"memory.high":"5"}}"#, &[]),
        ],
        false,
    );
}

#[test]
fn device_rules_become_a_policy_and_a_list() {
    let allow = |list: &[(&str, &str)]| {
        let pair = |(node, access): &(&str, &str)| {
            Value::Struct(vec![Value::text(*node), Value::text(*access)])
        };
        Value::Array("(ss)".to_owned(), list.iter().map(pair).collect())
    };
    table(
        &[
            (
                r#"{"devices":[{"allow":false,"access":"rwm"},
                    {"allow":true,"type":"c","major":1,"minor":3,"access":"rw"},
                    {"allow":true,"type":"b","major":8,"minor":-1},
                    {"allow":false,"type":"b","major":8,"minor":1},
                    {"allow":true,"type":"c","access":"m"}]}"#,
                &[
                    ("DevicePolicy", Value::text("strict")),
                    (
                        "DeviceAllow",
                        allow(&[("/dev/char/1:3", "rw"), ("block-8", "rwm"), ("char-*", "m")]),
                    ),
                ],
            ),
            (
                r#"{"devices":[{"allow":true},{"allow":true,"type":"c","major":1,"minor":3}]}"#,
                &[
                    ("DevicePolicy", Value::text("auto")),
                    ("DeviceAllow", allow(&[])),
                ],
            ),
        ],
        true,
    );
}

#[test]
fn annotations_are_properties_of_their_own() {
    let annotations = |name: &str, text: &str| {
        let key = format!("org.systemd.property.{name}");
        annotated(&BTreeMap::from([
            (key, text.to_owned()),
            ("other".into(), "x".into()),
        ]))
    };
    for (text, wanted) in [
        ("uint64 5000000", Value::U64(5_000_000)),
        ("uint32 5", Value::U32(5)),
        ("int64 -5", Value::I64(-5)),
        ("-5", Value::I32(-5)),
        ("true", Value::Bool(true)),
        ("'a b'", Value::text("a b")),
        (
            "['a.service', \"b.service\"]",
            Value::Array(
                "s".to_owned(),
                vec![Value::text("a.service"), Value::text("b.service")],
            ),
        ),
    ] {
        let found = annotations("TimeoutStopUSec", text).unwrap();
        assert_eq!(found, [property("TimeoutStopUSec", wanted)], "{text}");
    }
    for (name, text) in [
        ("After", "a.service"),
        ("a.b", "1"),
        ("Bad", "1"),
        ("After", "'a"),
        ("Nice", "{}"),
    ] {
        let error = annotations(name, text).unwrap_err();
        assert!(error.is_invalid_input(), "{name} {text}: {error}");
    }
}
