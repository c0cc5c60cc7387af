//! The invariants of ARCHITECTURE.md that a look at the sources can check.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// For each crate of ours, all crates that it links, directly or not; build and test dependencies
/// do not count.
fn linked() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut names = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        names.insert(text(&package["id"]), text(&package["name"]));
    }
    let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let normal = node["deps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| {
                let kinds = dependency["dep_kinds"].as_array().unwrap();
                kinds.iter().any(|kind| kind["kind"].is_null())
            });
        edges.insert(
            text(&node["id"]),
            normal.map(|dependency| text(&dependency["pkg"])).collect(),
        );
    }
    let mut all = BTreeMap::new();
    for member in metadata["workspace_members"].as_array().unwrap() {
        let member = text(member);
        let mut seen = BTreeSet::new();
        let mut todo = vec![member.clone()];
        while let Some(id) = todo.pop() {
            for next in &edges[&id] {
                if seen.insert(names[next].clone()) {
                    todo.push(next.clone());
                }
            }
        }
        all.insert(names[&member].clone(), seen);
    }
    all
}

/// Every Rust file below `crates/*/src`, with the name of its crate.
fn sources() -> Vec<(String, PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        walk(&entry.path().join("src"), &mut |path| {
            found.push((
                name.clone(),
                path.to_owned(),
                fs::read_to_string(path).unwrap(),
            ));
        });
    }
    assert!(found.len() > 50, "only {} sources", found.len());
    found
}

fn walk(directory: &Path, act: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, act);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            act(&path);
        }
    }
}

#[test]
fn crates_call_in_one_direction_only() {
    let linked = linked();
    // Who must not link what, not even through others.
    let forbidden: [(&[&str], &[&str]); 5] = [
        (
            &["cri", "sandbox", "coffer", "image", "network"],
            &["container", "init", "agent"],
        ),
        (
            &[
                "sandbox",
                "agent",
                "agent-api",
                "container",
                "network",
                "image",
            ],
            &["cri", "cri-api"],
        ),
        (
            &["container", "oci", "init", "sys", "oci-cli"],
            &["agent", "agent-api", "sandbox", "image"],
        ),
        (&["init"], &["sys", "oci", "serde", "thiserror"]),
        (&["sys"], &["oci", "container", "network"]),
    ];
    for (crates, banned) in forbidden {
        for name in crates {
            let links = linked
                .get(*name)
                .unwrap_or_else(|| panic!("no crate {name}"));
            for other in banned {
                assert!(!links.contains(*other), "{name} links {other}");
            }
        }
    }
}

#[test]
fn the_core_knows_no_async_and_no_protobuf() {
    let linked = linked();
    for name in ["sys", "init", "oci", "container", "oci-cli"] {
        for banned in [
            "tokio", "tonic", "prost", "ttrpc", "futures", "hyper", "protobuf",
        ] {
            assert!(!linked[name].contains(banned), "{name} links {banned}");
        }
    }
}

#[test]
fn one_protobuf_in_the_tree() {
    for (name, links) in linked() {
        assert!(
            !links.contains("protobuf"),
            "{name} links protobuf beside prost"
        );
    }
}

#[test]
fn test_helpers_are_linked_by_tests_only() {
    for (name, links) in linked() {
        let test_only = ["system-tests", "vm-tests", "bench"].contains(&name.as_str());
        assert!(
            test_only || !links.contains("testing"),
            "{name} links testing"
        );
    }
}

/// `file::test` in the document is a function of that name in a file (or the file of a module) of that
/// name; a `*` at its end stands for any rest.
#[test]
fn tests_that_the_threat_model_names_are_there() {
    let text = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let mut sources = Vec::new();
    for dir in ["crates", "tests/tests"] {
        walk(&root().join(dir), &mut |path| {
            sources.push((path.to_owned(), fs::read_to_string(path).unwrap()));
        });
    }
    let spans = text.split('`').skip(1).step_by(2);
    let is_word = |word: &str| {
        let mut bytes = word.bytes();
        !word.is_empty() && bytes.all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let mut looked = 0;
    for span in spans {
        let Some((file, test)) = span.rsplit_once("::") else {
            continue;
        };
        let file = file.rsplit("::").next().unwrap();
        let (start, exact) = match test.strip_suffix('*') {
            Some(start) => (start, false),
            None => (test, true),
        };
        if !is_word(file) || (exact && !is_word(start)) {
            continue;
        }
        looked += 1;
        let called = if exact {
            format!("fn {start}(")
        } else {
            format!("fn {start}")
        };
        let found = sources.iter().any(|(path, text): &(PathBuf, String)| {
            let of_file = path.file_stem().is_some_and(|stem| stem == file)
                || path.file_stem().is_some_and(|stem| stem == "mod")
                    && path.parent().is_some_and(|dir| dir.ends_with(file));
            of_file && text.contains(&called)
        });
        assert!(found, "docs/threat-model.md names {span}");
    }
    assert!(looked >= 30, "only {looked} tests were looked for");
}

#[test]
fn unsafe_code_lives_in_sys_and_init_only() {
    let mut roots = 0;
    for (name, path, text) in sources() {
        let may = ["sys", "init"].contains(&name.as_str());
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_root =
            path.parent().unwrap().ends_with("src") && ["lib.rs", "main.rs"].contains(&&*file);
        if is_root && !may {
            roots += 1;
            assert!(
                text.contains("#![forbid(unsafe_code)]"),
                "{} does not forbid unsafe code",
                path.display()
            );
        }
        if may {
            let lines: Vec<&str> = text.lines().collect();
            for (number, line) in lines.iter().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if code.contains("unsafe {") {
                    // Clippy asks for a comment at each block; that it says SAFETY is checked here.
                    let before = lines[number.saturating_sub(8)..=number].join("\n");
                    assert!(
                        before.contains("SAFETY:"),
                        "{}:{}",
                        path.display(),
                        number + 1
                    );
                }
            }
        }
    }
    assert!(roots >= 12, "only {roots} crate roots were looked at");
}

#[test]
fn wire_types_stop_at_the_door() {
    // The crates that speak a wire, the crate of its types, and who may name them.
    for (name, path, text) in sources() {
        let relative = path.display().to_string();
        let door = relative.contains("convert")
            || relative.ends_with("/client.rs")
            || relative.contains("/cri/src/v1/")
            || relative.contains("/cri/src/v1alpha1/")
            || relative.contains("/cri/src/node/")
            || relative.contains("/agent/src/service/")
            || relative.contains("/agent/src/wire/")
            || name.ends_with("-api");
        let keeps_state = relative.contains("/state/") || relative.contains("/domain/");
        let names_wire = text.contains("cri_api::v1") || text.contains("agent_api::");
        if keeps_state {
            assert!(!names_wire, "{relative} has wire types in state or domain");
        }
        if name == "cri" || name == "coffer" {
            assert!(
                door || !text.contains("cri_api::v1"),
                "{relative} names CRI's wire types"
            );
        }
    }
}

#[test]
fn nothing_on_disk_is_a_wire_type() {
    for (name, path, text) in sources() {
        if name.ends_with("-api") && !path.display().to_string().contains("/lib.rs") {
            assert!(
                !text.contains("Serialize"),
                "{} can be serialized",
                path.display()
            );
        }
    }
}

#[test]
fn failpoints_have_one_name_each() {
    let mut seen = BTreeMap::new();
    for (_, path, text) in sources() {
        for (at, _) in text.match_indices("failpoint!(\"") {
            let rest = &text[at + "failpoint!(\"".len()..];
            let name = rest.split('"').next().unwrap().to_owned();
            let line = text[..at].lines().last().unwrap_or_default();
            if line.trim_start().starts_with("//") || name.starts_with("sys.test.") {
                continue;
            }
            let known = name.split('.').count() >= 2
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '_' | '-'));
            assert!(
                known,
                "{}: {name:?} is not like pod.run.netns.before",
                path.display()
            );
            if let Some(other) = seen.insert(name.clone(), path.clone()) {
                assert_eq!(other, path, "{name:?} is in two files");
            }
        }
    }
    assert!(seen.len() >= 10, "only {} failpoints", seen.len());
}

#[test]
fn sources_stay_readable() {
    // STYLE: a file is one idea; few pass 400 lines. Tables and generated code may.
    let mut long = Vec::new();
    for (name, path, text) in sources() {
        let lines = text.split("#[cfg(test)]").next().unwrap().lines().count();
        let table = path.to_string_lossy().contains("tests");
        if lines > 600 && !table && !name.ends_with("-api") {
            long.push(format!("{} has {lines} lines", path.display()));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}
