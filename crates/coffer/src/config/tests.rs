use super::*;

fn said(pairs: &[(&'static str, &str)]) -> Said {
    let mut said = Said::default();
    for (key, value) in pairs {
        said.say(key, Some(*value));
    }
    said
}

#[test]
fn an_unknown_key_is_named_with_the_nearest() {
    let table = [
        (
            "sokket = \"/x\"",
            "unknown key \"sokket\"; did you mean \"socket\"?",
        ),
        (
            "[network]\nipv5 = \"10.0.0.0/8\"",
            "unknown key \"network.ipv5\"; did you mean \"network.ipv4\"?",
        ),
        (
            "[netwerk]\nmode = \"none\"",
            "unknown key \"netwerk.mode\"; did you mean \"network.mode\"?",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(Said::parse(text).unwrap_err(), expected);
    }
    let error = Said::parse("[plugins]\nx = 1").unwrap_err();
    assert!(
        error.starts_with("unknown key \"plugins.x\"; the keys are root,"),
        "{error}"
    );
    let error = Said::parse("network = \"bridge\"").unwrap_err();
    assert!(error.starts_with("unknown key \"network\""), "{error}");
}

#[test]
fn a_wrong_type_and_wrong_syntax_are_errors() {
    let table = [
        (
            "root = 7",
            "key \"root\" is the number 7, expected a string",
        ),
        (
            "network.mtu = \"big\"",
            "key \"network.mtu\" is a string, expected a number",
        ),
        (
            "[container_log]\nmax_bytes = \"1M\"",
            "key \"container_log.max_bytes\" is a string, expected a number",
        ),
        (
            "network.mtu = -1",
            "key \"network.mtu\" is the number -1, expected a number",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(Said::parse(text).unwrap_err(), expected);
    }
    assert!(Said::parse("root = ").unwrap_err().contains("line 1"));
}

#[test]
fn flags_win_over_the_file_and_the_socket_follows_the_state() {
    let file = Said::parse("state = \"/f\"\nroot = \"/r\"\nagent = \"/agent\"").unwrap();
    let config = said(&[("state", "/s")]).or(file).mean(None).unwrap();
    assert_eq!(config.state, Path::new("/s"));
    assert_eq!(config.root, Path::new("/r"));
    assert_eq!(config.socket, Path::new("/s/coffer.sock"));
    assert_eq!(config.log_limits, cri::LogLimits::default());
}

#[test]
fn limits_of_logs_are_numbers_of_bytes() {
    let file = "agent = \"/agent\"\n[container_log]\nmax_bytes = 1000\nbytes_per_second = 20";
    let config = Said::parse(file).unwrap().mean(None).unwrap();
    let limits = (
        config.log_limits.max_bytes,
        config.log_limits.bytes_per_second,
    );
    assert_eq!(limits, (1000, 20));
}

#[test]
fn the_meaning_is_checked_and_the_error_names_the_key() {
    let agent = said(&[("agent", "/agent")]);
    let table = [
        ("root", "relative"),
        ("seccomp_root", "profiles"),
        ("cgroup_root", "../up"),
        ("cgroup_root", "/abs"),
        ("log_level", "loud"),
        ("network.mode", "cni"),
        ("network.bridge", "a/b"),
        ("network.bridge", "sixteen-letters-"),
        ("network.ipv4", "10.0.0.0"),
        ("network.ipv4", "10.0.0.1/16"),
        ("network.ipv4", "10.0.0.0/31"),
        ("network.ipv4", "fd00::/64"),
        ("network.ipv6", "fd00::/127"),
        ("network.ipv6", "10.0.0.0/16"),
        ("network.table", "with space"),
        ("stream.address", "localhost"),
        ("stream.idle_timeout", "4"),
        ("stream.idle_timeout", "0s"),
        ("stream.idle_timeout", "\u{e9}"),
    ];
    for (key, value) in table {
        let error = said(&[(key, value)])
            .or(agent.clone())
            .mean(None)
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains(key), "{key} = {value:?}: {text}");
    }
    for text in [
        "[network]\nmtu = 100",
        "[network]\nmtu = 70000",
        "network.ipv4 = \"\"\nnetwork.ipv6 = \"\"",
    ] {
        let error = Said::parse(text)
            .unwrap()
            .or(agent.clone())
            .mean(None)
            .unwrap_err();
        assert!(error.to_string().contains("network."), "{error}");
    }
    assert!(agent.mean(None).is_ok());
}

#[test]
fn a_missing_file_is_an_error_only_when_named() {
    let error = Said::read(Some(Path::new("/nonexistent/config.toml"))).unwrap_err();
    assert!(
        error.to_string().contains("/nonexistent/config.toml"),
        "{error}"
    );
}

#[test]
fn a_missing_agent_says_where_it_was_looked_for() {
    let empty = tempfile::tempdir().unwrap();
    let error = find_agent(Some(empty.path()));
    if !Path::new("/usr/libexec/coffer/coffer-agent").exists() {
        let text = error.unwrap_err().to_string();
        assert!(text.contains(&empty.path().display().to_string()), "{text}");
    }
}
