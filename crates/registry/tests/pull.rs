//! Pulls from a registry that errs in every way, into a real store.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use image::{Error, FetchErrorKind as Kind, Progress};
use registry::{Access, Content, Registry, Said, Settings};
use support::{Node, kind, password};
use testing::{
    image::{Builder, Built, Compression, multi_platform},
    layer::Layer,
    registry::{Auth, Authority, Fault, Server},
};
fn builder() -> Builder {
    // Content that does not compress well, so that blobs have some length.
    let mut state = 7u64;
    let noise: Vec<u8> = (0..400_000)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_le_bytes()[5]
        })
        .collect();
    Builder::new("lib/app:1")
        .layer(Layer::new().dir("etc", 0o755).file("etc/a", 0o644, b"a"))
        .layer(Layer::new().file("big", 0o600, &noise))
        .layer(Layer::new().whiteout("etc/a").file("etc/b", 0o644, b"b"))
}

fn built() -> Built {
    builder().build().unwrap()
}

#[test]
fn an_image_comes_whole_in_every_packing_and_again_in_one_question() {
    for compression in Compression::ALL {
        let (node, server) = (Node::new(), Server::start().unwrap());
        node.knows(&server);
        let built = builder().compression(compression).build().unwrap();
        let name = server.put("lib/app", "1", &built);
        let registry = Registry::new(node.settings.clone());
        let planned = Mutex::new(Vec::new());
        let done = Mutex::new(0);
        let progress = |progress: Progress| match progress {
            Progress::Plan { layers } => *planned.lock().unwrap() = layers,
            Progress::LayerDone { shared: false, .. } => *done.lock().unwrap() += 1,
            _ => {}
        };
        let cancel = AtomicBool::new(false);
        let said = Said::default();
        let pull = || node.pull_with(&registry, &name, &said, &cancel, &progress);
        let image = pull().unwrap();
        assert_eq!(image.id, built.config);
        assert_eq!(image.repo_tags, std::slice::from_ref(&name));
        assert_eq!(
            image.repo_digests,
            [format!(
                "{}@{}",
                name.rsplit_once(':').unwrap().0,
                built.manifest
            )]
        );
        assert_eq!(image.size, built.size);
        assert_eq!(planned.lock().unwrap().len(), 3);
        assert_eq!(*done.lock().unwrap(), 3);
        assert_eq!(fs::read(image.layers[0].join("etc/b")).unwrap(), b"b");

        server.forget();
        assert_eq!(pull().unwrap(), image);
        assert_eq!(server.asked(), ["HEAD /v2/lib/app/manifests/1"]);
    }
}

#[test]
fn one_blob_that_is_two_layers_is_fetched_once() {
    let (node, server) = (Node::new(), Server::start().unwrap());
    node.knows(&server);
    let same = || Layer::new().file("same", 0o644, b"same");
    let builder = Builder::new("a/b:1")
        .layer(same())
        .layer(same())
        .layer(same());
    let name = server.put("a/b", "1", &builder.build().unwrap());
    let image = node.pull(&name).unwrap();
    assert_eq!(image.layers.len(), 3);
    let blobs = server
        .asked()
        .iter()
        .filter(|line| line.contains("/blobs/"))
        .count();
    assert_eq!(blobs, 2, "configuration and layer: {:?}", server.asked());
}

#[test]
fn a_tag_that_moves_shares_what_stays() {
    let (node, server) = (Node::new(), Server::start().unwrap());
    node.knows(&server);
    let name = server.put("lib/app", "1", &built());
    let old = node.pull(&name).unwrap();
    let new = builder().layer(Layer::new().file("new", 0o644, b"n"));
    server.put("lib/app", "1", &new.build().unwrap());
    server.forget();
    let image = node.pull(&name).unwrap();
    assert_eq!(image.layers[1..], old.layers);
    let asked = server.asked();
    assert_eq!(
        asked.iter().filter(|line| line.contains("/blobs/")).count(),
        2,
        "{asked:?}"
    );
    assert!(
        node.store
            .get(&old.id)
            .unwrap()
            .unwrap()
            .repo_tags
            .is_empty()
    );
}

#[test]
fn the_platform_is_chosen_from_an_index_and_a_digest_pins() {
    let (node, server) = (Node::new(), Server::start().unwrap());
    node.knows(&server);
    let other = builder().platform("linux", "s390x").build().unwrap();
    let own = built();
    let files = multi_platform("x/y:1", &[other.clone(), own.clone()]).unwrap();
    let index = files
        .iter()
        .map(|(_, data)| data)
        .find(|data| {
            let text = String::from_utf8_lossy(data);
            text.contains("\"manifests\"") && !text.contains("annotations")
        })
        .unwrap();
    let digest = testing::image::digest(index);
    let media_type = "application/vnd.oci.image.index.v1+json";
    let name = server.put_files("x/y", "1", &files, &digest, media_type);
    let image = node.pull(&name).unwrap();
    assert_eq!(image.id, own.config);
    assert_eq!(image.repo_digests.len(), 2);

    let repository = name.rsplit_once(':').unwrap().0;
    let pinned = node.pull(&format!("{repository}:other@{digest}")).unwrap();
    assert_eq!(
        pinned.repo_tags,
        std::slice::from_ref(&name),
        "a tag beside a digest is only a comment"
    );

    let wrong = format!("{repository}@{}", other.manifest);
    let error = node.pull(&wrong).unwrap_err();
    assert!(matches!(error, Error::Platform { .. }), "{error}");
}

#[test]
fn a_list_of_docker_manifests_and_layers_that_hold_nothing_are_an_image() {
    let (node, server) = (Node::new(), Server::start().unwrap());
    node.knows(&server);
    let docker = |kind: &str| format!("application/vnd.docker.{kind}");
    let (kind, list) = (
        docker("distribution.manifest.v2+json"),
        docker("distribution.manifest.list.v2+json"),
    );
    let nothing = Layer::new;
    let file = || Layer::new().file("a", 0o640, b"a");
    let image = |architecture: &str| {
        let builder = Builder::new("lib/app:1").platform("linux", architecture);
        let layers = [nothing(), file(), nothing()];
        let built = layers.into_iter().fold(builder, Builder::layer);
        built.build().unwrap()
    };
    let own = testing::image::native_architecture();
    let other = if own == "s390x" { "amd64" } else { "s390x" };
    let entries: Vec<serde_json::Value> = [other, own]
        .map(|architecture| {
            let built = image(architecture);
            let data = |digest: &str| {
                let name = format!("blobs/{}", digest.replace(':', "/"));
                let found = built.blobs.iter().find(|(file, _)| *file == name);
                found.unwrap().1.clone()
            };
            for digest in built.layers.iter().chain([&built.config]) {
                server.put_blob(&data(digest));
            }
            let mut manifest: serde_json::Value =
                serde_json::from_slice(&data(&built.manifest)).unwrap();
            manifest["mediaType"] = kind.clone().into();
            manifest["config"]["mediaType"] = docker("container.image.v1+json").into();
            for layer in manifest["layers"].as_array_mut().unwrap() {
                layer["mediaType"] = docker("image.rootfs.diff.tar.gzip").into();
            }
            let manifest = serde_json::to_vec(&manifest).unwrap();
            let (digest, size) = (testing::image::digest(&manifest), manifest.len());
            server.put_manifest("lib/app", architecture, &kind, manifest);
            serde_json::json!({
                "mediaType": kind,
                "digest": digest,
                "size": size,
                "platform": { "os": "linux", "architecture": architecture },
            })
        })
        .into();
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": list, "manifests": entries });
    let index = serde_json::to_vec(&index).unwrap();
    let name = server.put_manifest("lib/app", "1", &list, index);
    let pulled = node.pull(&name).unwrap();
    assert_eq!(pulled.id, image(own).config);
    let names: Vec<Vec<std::ffi::OsString>> = pulled
        .layers
        .iter()
        .map(|layer| fs::read_dir(layer).unwrap())
        .map(|entries| {
            let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
            entries.map(name).collect()
        })
        .collect();
    assert_eq!(names, [vec![], vec![std::ffi::OsString::from("a")], vec![]]);
}

#[test]
fn what_breaks_is_resumed_where_it_broke() {
    let (node, server) = (Node::new(), Server::start().unwrap());
    node.knows(&server);
    let built = built();
    let name = server.put("lib/app", "1", &built);
    let big = format!("GET /v2/lib/app/blobs/{}", built.layers[1]);
    server.fault(&big, 1, Fault::Reset { after: 100_000 });
    server.fault(&big, 1, Fault::Reset { after: 50_000 });
    server.fault(&big, 1, Fault::NoRange);
    assert_eq!(node.pull(&name).unwrap().id, built.config);
    let ranges: Vec<Option<String>> = server
        .seen()
        .iter()
        .filter(|seen| seen.target.contains(&built.layers[1]))
        .map(|seen| seen.headers.get("range").cloned())
        .collect();
    let some = |at: u32| Some(format!("bytes={at}-"));
    assert_eq!(ranges, [None, some(100_000), some(150_000)]);
}

#[test]
fn a_registry_that_errs_is_asked_again_and_told_of_in_the_end() {
    let busy = |after: &str| Fault::Answer {
        status: "429 Too Many Requests",
        headers: vec![("retry-after".into(), after.into())],
        body: Vec::new(),
    };
    let (node, server) = (Node::new(), Server::start().unwrap());
    node.knows(&server);
    let name = server.put("lib/app", "1", &built());
    server.fault("/manifests/", 1, busy("1"));
    let began = Instant::now();
    node.pull(&name).unwrap();
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "Retry-After counts"
    );

    // The same as a date, by the registry's clock, which is wrong by years.
    let (node, server) = (Node::new(), Server::start().unwrap());
    node.knows(&server);
    let name = server.put("lib/app", "1", &built());
    let dated = Fault::Answer {
        status: "503 Service Unavailable",
        headers: vec![
            ("date".into(), "Sun, 06 Nov 1994 08:49:36 GMT".into()),
            ("retry-after".into(), "Sun, 06 Nov 1994 08:49:38 GMT".into()),
        ],
        body: Vec::new(),
    };
    server.fault("/manifests/", 1, dated);
    let began = Instant::now();
    node.pull(&name).unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2), "the date counts");

    let failing = Fault::Answer {
        status: "503 Service Unavailable",
        headers: Vec::new(),
        body: Vec::new(),
    };
    for (fault, part) in [
        (failing, "503 Service Unavailable (tried 4 times)"),
        (
            busy("3600"),
            "wait 3600 s, and registry.max_retry_after is 5 s",
        ),
        (
            busy("Fri, 31 Dec 9999 23:59:59 GMT"),
            "registry.max_retry_after is 5 s",
        ),
    ] {
        let (node, server) = (Node::new(), Server::start().unwrap());
        node.knows(&server);
        let name = server.put("lib/app", "1", &built());
        server.fault("/manifests/", 100, fault);
        let error = node.pull(&name).unwrap_err();
        assert_eq!(kind(&error), Some(Kind::Unavailable));
        let text = error.to_string();
        assert!(
            text.contains(part) && text.contains(&server.url()),
            "{text}"
        );
        node.assert_empty();
    }
}

#[test]
fn lies_and_nonsense_are_refused_and_leave_nothing() {
    let built = built();
    let layer = format!("GET /v2/lib/app/blobs/{}", built.layers[1]);
    let config = format!("GET /v2/lib/app/blobs/{}", built.config);
    let manifest = "GET /v2/lib/app/manifests/";
    let html = Fault::Answer {
        status: "200 OK",
        headers: vec![("content-type".into(), "text/html; charset=utf-8".into())],
        body: b"<html>log in, please</html>".to_vec(),
    };
    let to = |target: &str| Fault::Answer {
        status: "307 Temporary Redirect",
        headers: vec![("location".into(), target.into())],
        body: Vec::new(),
    };
    for (what, part, fault, said) in [
        (
            "other bytes",
            layer.as_str(),
            Fault::Body(vec![0; 400_000]),
            "bytes",
        ),
        (
            "a longer body",
            &layer,
            Fault::Body(vec![0; 900_000]),
            "more than",
        ),
        (
            "a body cut short",
            &layer,
            Fault::Body(vec![0x1f, 0x8b]),
            "descriptor says",
        ),
        ("a wrong length", &layer, Fault::LongLength { more: 10 }, ""),
        ("HTML for a layer", &layer, html.clone(), "descriptor says"),
        (
            "another configuration",
            &config,
            Fault::Body(b"{}".to_vec()),
            "descriptor says",
        ),
        ("HTML for a manifest", manifest, html, "HTML"),
        (
            "another manifest",
            manifest,
            Fault::Body(b"{}".to_vec()),
            "digest",
        ),
        (
            "a huge manifest",
            manifest,
            Fault::Body(vec![b' '; 5 << 20]),
            "more than",
        ),
        (
            "a loop",
            "manifests",
            to("/v2/lib/app/manifests/1"),
            "redirects more than",
        ),
        (
            "a redirect out of http",
            "manifests",
            to("file:///etc/passwd"),
            "redirects",
        ),
        (
            "a redirect to nowhere",
            &layer,
            to("http://127.0.0.1:1/x"),
            "127.0.0.1",
        ),
    ] {
        let (node, server) = (Node::new(), Server::start().unwrap());
        node.knows(&server);
        let name = server.put("lib/app", "1", &built);
        server.fault(part, 100, fault);
        let error = node.pull(&name).expect_err(what);
        let text = error.sentence();
        assert!(text.contains(said), "{what}: {text}");
        node.assert_empty();
    }
}

#[test]
fn a_manifest_that_is_two_things_or_of_old_is_refused() {
    for (data, part) in [
        (
            r#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#,
            "at once",
        ),
        (
            r#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#,
            "schema 1",
        ),
        (
            r#"{"schemaVersion":2,"mediaType":"application/x-helm"}"#,
            "no image",
        ),
        ("[]", "manifest"),
        ("not json", "manifest"),
    ] {
        let (node, server) = (Node::new(), Server::start().unwrap());
        node.knows(&server);
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let name = server.put_manifest("lib/app", "1", kind, data.into());
        let error = node.pull(&name).unwrap_err();
        assert!(error.to_string().contains(part), "{data}: {error}");
        node.assert_empty();
    }
}

#[test]
fn a_transfer_that_stalls_is_ended() {
    for fault in [
        Fault::Hang { after: 100_000 },
        Fault::Slow { rate: 300 },
        Fault::Mute,
    ] {
        let (node, server) = (Node::new(), Server::start().unwrap());
        node.knows(&server);
        let built = built();
        let name = server.put("lib/app", "1", &built);
        server.fault(&built.layers[1], 1, fault.clone());
        let began = Instant::now();
        let error = node.pull(&name).unwrap_err();
        assert_eq!(kind(&error), Some(Kind::TimedOut), "{fault:?}: {error}");
        assert!(began.elapsed() < Duration::from_secs(30), "{fault:?}");
        node.assert_empty();
    }
}

#[test]
fn a_cancelled_pull_ends_at_once_and_leaves_nothing() {
    let (node, server) = (Node::new(), Server::start().unwrap());
    node.knows(&server);
    let built = built();
    let name = server.put("lib/app", "1", &built);
    server.fault(&built.layers[1], 1, Fault::Hang { after: 100_000 });
    let cancel = AtomicBool::new(false);
    let registry = Registry::new(Settings {
        stall: Duration::from_secs(100),
        ..node.settings.clone()
    });
    let began = Instant::now();
    let asked = || {
        server
            .asked()
            .iter()
            .any(|line| line.contains(&built.layers[1]))
    };
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !asked() && began.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(5));
            }
            cancel.store(true, Ordering::Relaxed);
        });
        node.pull_with(&registry, &name, &Said::default(), &cancel, &|_| ())
            .unwrap_err()
    });
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10));
    node.assert_empty();
}

#[test]
fn who_asks_is_said_as_the_registry_wants_it_and_remembered() {
    let right = password("u", "p:q");
    let identity = Said {
        identity_token: "refresh".into(),
        ..Said::default()
    };
    let bearer = Said {
        registry_token: "token-0".into(),
        ..Said::default()
    };
    let token = |user: &str, password: &str| Auth::Token {
        user: user.into(),
        password: password.into(),
    };
    let basic = Auth::Basic {
        user: "u".into(),
        password: "p:q".into(),
    };
    for (auth, said) in [
        (basic, &right),
        (token("u", "p:q"), &right),
        (token("", ""), &Said::default()),
        (Auth::Identity("refresh".into()), &identity),
        (token("u", "p"), &bearer),
    ] {
        let (node, server) = (Node::new(), Server::start().unwrap());
        node.knows(&server);
        let name = server.put("lib/app", "1", &built());
        server.auth(auth.clone());
        let registry = Registry::new(node.settings.clone());
        let cancel = AtomicBool::new(false);
        let pull = || node.pull_with(&registry, &name, said, &cancel, &|_| ());
        pull().unwrap_or_else(|error| panic!("{auth:?}: {error}"));
        server.forget();
        pull().unwrap();
        assert_eq!(server.asked().len(), 1, "{auth:?}: {:?}", server.asked());
        // A token that is worth nothing any more is got anew.
        if matches!(auth, Auth::Token { .. } | Auth::Identity(_)) && *said != bearer {
            server.revoke_tokens();
            pull().unwrap();
        }
    }
}

#[test]
fn wrong_or_missing_credentials_are_told_without_the_secret() {
    let auth = [
        Auth::Basic {
            user: "u".into(),
            password: "p".into(),
        },
        Auth::Token {
            user: "u".into(),
            password: "p".into(),
        },
        Auth::Challenge("Digest realm=\"x\"".into()),
        Auth::Challenge("Bearer realm=\"ftp://x\"".into()),
    ];
    for auth in auth {
        for said in [Said::default(), password("canary-user", "canary-secret")] {
            let (node, server) = (Node::new(), Server::start().unwrap());
            node.knows(&server);
            let name = server.put("lib/app", "1", &built());
            server.auth(auth.clone());
            let error = node.pull_as(&name, &said).unwrap_err();
            let found = kind(&error);
            assert!(
                matches!(found, Some(Kind::Unauthenticated | Kind::Refused)),
                "{auth:?}: {error}"
            );
            assert!(!error.sentence().contains("canary"), "{error}");
            node.assert_empty();
        }
    }
}

#[test]
fn credentials_stay_with_their_host() {
    // The registry redirects its blobs elsewhere, and elsewhere asks who we are.
    let (node, server, other) = (
        Node::new(),
        Server::start().unwrap(),
        Server::start().unwrap(),
    );
    node.knows(&server);
    let built = built();
    let name = server.put("lib/app", "1", &built);
    other.put("lib/app", "1", &built);
    server.auth(Auth::Basic {
        user: "u".into(),
        password: "p".into(),
    });
    let target = format!("{}/v2/lib/app/blobs/{}", other.url(), built.layers[1]);
    let redirect = Fault::Answer {
        status: "307 Temporary Redirect",
        headers: vec![("location".into(), target)],
        body: Vec::new(),
    };
    server.fault(&built.layers[1], 100, redirect.clone());
    node.pull_as(&name, &password("u", "p")).unwrap();
    assert!(
        other
            .seen()
            .iter()
            .all(|seen| seen.authorization().is_none())
    );

    let node = Node::new();
    node.knows(&server);
    other.auth(Auth::Basic {
        user: "u".into(),
        password: "p".into(),
    });
    let error = node.pull_as(&name, &password("u", "p")).unwrap_err();
    assert_eq!(kind(&error), Some(Kind::Unauthenticated), "{error}");
    assert!(
        other
            .seen()
            .iter()
            .all(|seen| seen.authorization().is_none())
    );

    // A mirror does not get what is for the registry, and what is for another place nobody gets.
    let (node, mirror) = (Node::new(), Server::start().unwrap());
    mirror.put("lib/app", "1", &built);
    let text = format!("server = {:?}\n[host.{:?}]\n", server.url(), mirror.url());
    node.hosts(&server.host(), &text);
    node.pull_as(&name, &password("u", "p")).unwrap();
    assert!(
        mirror
            .seen()
            .iter()
            .all(|seen| seen.authorization().is_none())
    );
    assert!(
        mirror
            .seen()
            .iter()
            .all(|seen| seen.target.contains("?ns="))
    );
    let elsewhere = Said {
        server_address: "https://elsewhere.example/v1/".into(),
        ..password("u", "p")
    };
    let node = Node::new();
    node.knows(&server);
    server.forget();
    node.pull_as(&name, &elsewhere).unwrap_err();
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.authorization().is_none())
    );
}

#[test]
fn files_hold_credentials_too() {
    let (node, server) = (Node::new(), Server::start().unwrap());
    node.knows(&server);
    let name = server.put("lib/app", "1", &built());
    server.auth(Auth::Basic {
        user: "u".into(),
        password: "p".into(),
    });
    let auth = format!(
        r#"{{"auths": {{"{}/lib": {{"auth": "dTpw"}}}}}}"#,
        server.host()
    );
    fs::write(&node.settings.auth_files[0], auth).unwrap();
    node.pull(&name).unwrap();
}

#[test]
fn mirrors_are_asked_first_and_each_answer_is_told() {
    let (node, mirror) = (Node::new(), Server::start().unwrap());
    let built = built();
    mirror.put("lib/app", "1", &built);
    let text = format!(
        "server = \"http://127.0.0.1:1\"\n[host.{:?}]\n",
        mirror.url()
    );
    node.hosts("registry.example", &text);
    let image = node.pull("registry.example/lib/app:1").unwrap();
    assert_eq!(image.repo_tags, ["registry.example/lib/app:1"]);

    let error = node.pull("registry.example/lib/none:1").unwrap_err();
    let text = error.to_string();
    for part in [
        mirror.url().as_str(),
        "404 Not Found",
        "http://127.0.0.1:1: ",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(
        kind(&error),
        Some(Kind::Unavailable),
        "the registry itself was not heard"
    );

    // A mirror that breaks off is followed by the registry, from where it broke.
    let (node, server) = (Node::new(), Server::start().unwrap());
    server.put("lib/app", "1", &built);
    let text = format!("server = {:?}\n[host.{:?}]\n", server.url(), mirror.url());
    node.hosts("registry.example", &text);
    mirror.fault(&built.layers[1], 100, Fault::Reset { after: 0 });
    node.pull("registry.example/lib/app:1").unwrap();
    assert!(
        server
            .asked()
            .iter()
            .any(|line| line.contains(&built.layers[1]))
    );
}

#[test]
fn tls_wants_an_authority_and_a_client_certificate_where_asked() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(&authority).unwrap();
    let built = built();
    let name = server.put("lib/app", "1", &built);
    let node = Node::new();
    let error = node.pull(&name).unwrap_err();
    assert!(error.to_string().contains("hosts.toml"), "{error}");

    let dir = node.dir.path().join("hosts").join(server.host());
    fs::create_dir_all(&dir).unwrap();
    // Docker's layout first, then ours.
    fs::write(dir.join("ca.crt"), authority.pem()).unwrap();
    node.pull(&name).unwrap();
    let text = format!("server = {:?}\nca = \"ca.crt\"", server.url());
    fs::write(dir.join("hosts.toml"), &text).unwrap();
    node.pull(&name).unwrap();
    fs::write(
        dir.join("hosts.toml"),
        format!("server = {:?}\nskip_verify = true", server.url()),
    )
    .unwrap();
    node.pull(&name).unwrap();

    let authority = Authority::new().unwrap().asking_clients();
    let server = Server::start_tls(&authority).unwrap();
    let name = server.put("lib/app", "1", &built);
    let (cert, key) = (dir.join("c.cert"), dir.join("c.key"));
    authority.write_client(&cert, &key).unwrap();
    fs::write(dir.join("ca2.crt"), authority.pem()).unwrap();
    let ca = dir.join("ca2.crt");
    let text = format!("server = {:?}\nca = {ca:?}\n", server.url());
    node.hosts(&server.host(), &text);
    node.pull(&name).unwrap_err();
    node.hosts(
        &server.host(),
        &format!("{text}client = [[{cert:?}, {key:?}]]"),
    );
    node.pull(&name).unwrap();

    // In the clear without leave, and TLS where there is none.
    let plain = Server::start().unwrap();
    let name = plain.put("lib/app", "1", &built);
    let error = node.pull(&name).unwrap_err();
    assert_eq!(kind(&error), Some(Kind::Unavailable), "{error}");
    assert!(plain.seen().is_empty());
}

#[test]
fn a_push_sends_what_is_lacking_and_can_be_pulled_again() {
    let (node, server) = (Node::new(), Server::start().unwrap());
    node.knows(&server);
    let built = built();
    let dir = node.dir.path().join("files");
    fs::create_dir_all(&dir).unwrap();
    let blob = |digest: &str| {
        let name = format!("blobs/{}", digest.replace(':', "/"));
        let (_, data) = built.blobs.iter().find(|(file, _)| *file == name).unwrap();
        data.clone()
    };
    let files = std::iter::once(&built.config).chain(&built.layers);
    let content = Content {
        manifest: blob(&built.manifest),
        digest: built.manifest.clone(),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        blobs: files
            .map(|digest| {
                let path = dir.join(&digest[7..]);
                let data = blob(digest);
                fs::write(&path, &data).unwrap();
                (digest.clone(), data.len() as u64, path)
            })
            .collect(),
    };
    server.auth(Auth::Token {
        user: "u".into(),
        password: "p".into(),
    });
    server.put_blob(&blob(&built.layers[0]));
    server.fault(
        "PUT /v2/lib/app/blobs/uploads/",
        1,
        Fault::Reset { after: 0 },
    );
    let name = format!("{}/lib/app:2", server.host());
    let existed = Arc::new(Mutex::new(0));
    let count = Arc::clone(&existed);
    let watch: registry::Watch = Arc::new(move |pushed| {
        if let registry::Pushed::Blob { existed: true, .. } = pushed {
            *count.lock().unwrap() += 1;
        }
    });
    let push = |said: &Said| {
        let registry = Registry::new(node.settings.clone());
        let handle = node.runtime.handle().clone();
        let session = registry
            .session(&name.parse().unwrap(), said, Access::Push, handle)
            .unwrap();
        session.push(&content, &watch, &|| false)
    };
    let error = push(&password("u", "wrong")).unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated, "{error}");
    push(&password("u", "p")).unwrap();
    assert_eq!(*existed.lock().unwrap(), 1);
    assert_eq!(server.manifest("lib/app", "2"), Some(blob(&built.manifest)));
    let image = node.pull_as(&name, &password("u", "p")).unwrap();
    assert_eq!(image.id, built.config);
}
