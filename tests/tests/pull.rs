//! Images from registries, through the whole daemon: both versions of CRI, the command line, clients
//! that go away, and a daemon that is killed on the way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    fs,
    time::{Duration, Instant},
};

use cri_api::{v1, v1alpha1};
use system_tests::{
    Node, configs,
    node::program,
    pty::Pty,
    said::{fails, ok, stderr},
};
use testing::{
    image::{Built, Compression, busybox},
    layer::Layer,
    registry::{Auth, Fault, Server},
};
use tonic::{Code, Status, transport::Channel};

fn built() -> Built {
    busybox().unwrap().build().unwrap()
}

async fn pull(node: &Node, image: &str, auth: Option<v1::AuthConfig>) -> Result<String, Status> {
    let client = node.client().await;
    let request = v1::PullImageRequest {
        image: spec(image),
        auth,
        sandbox_config: None,
    };
    let answer = client.images.clone().pull_image(request).await?;
    Ok(answer.into_inner().image_ref)
}

fn spec(image: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec {
        image: image.to_owned(),
        ..Default::default()
    })
}

async fn status(node: &Node, image: &str) -> Option<v1::Image> {
    let client = node.client().await;
    let request = v1::ImageStatusRequest {
        image: spec(image),
        verbose: false,
    };
    let answer = client.images.clone().image_status(request).await.unwrap();
    answer.into_inner().image
}

/// Nothing of a pull lies around.
fn assert_no_image(node: &Node) {
    for dir in ["images/tmp", "images/blobs/sha256", "layers"] {
        let entries = fs::read_dir(node.root().join(dir)).unwrap();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.is_empty(), "{dir}: {names:?}");
    }
}

/// Waits until the registry was asked for something.
async fn until_asked(server: &Server, part: &str) {
    for tries in 0.. {
        if server.asked().iter().any(|line| line.contains(part)) {
            return;
        }
        assert!(
            tries < 1000,
            "{part} was not asked for: {:?}",
            server.asked()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_kubelet_pulls_and_finds_the_image_by_all_its_names() {
    let node = Node::started().await;
    let server = node.registry();
    let built = built();
    let name = server.put("lib/busybox", "1", &built);
    let id = pull(&node, &name, None).await.unwrap();
    assert_eq!(id, built.config);
    let repository = name.rsplit_once(':').unwrap().0.to_owned();
    let digest = format!("{repository}@{}", built.manifest);
    for word in [&name, &digest, &id] {
        let image = status(&node, word)
            .await
            .unwrap_or_else(|| panic!("{word}"));
        assert_eq!(image.id, id);
        assert_eq!(image.repo_tags, std::slice::from_ref(&name));
        assert_eq!(image.repo_digests, std::slice::from_ref(&digest));
        assert_eq!(image.size, built.size);
    }
    server.forget();
    assert_eq!(pull(&node, &name, None).await.unwrap(), id);
    assert_eq!(
        server.asked().len(),
        1,
        "one question: {:?}",
        server.asked()
    );

    let client = node.client().await;
    let pod = configs::host_pod("one", &node.logs());
    let config = configs::shell("main", &id, configs::FOREVER);
    let (_, container) = client.run(&pod, &config).await.unwrap();
    let (code, out) = client
        .exec(&container, &["/bin/echo", "runs"])
        .await
        .unwrap();
    assert_eq!((code, out.as_str()), (0, "runs\n"));
    node.finish().await;
}

#[tokio::test]
async fn each_failure_has_its_code_and_no_secret_is_logged() {
    let node = Node::started().await;
    let server = node.registry();
    let built = built();
    let name = server.put("lib/busybox", "1", &built);
    let host = server.host();
    for (image, code, part) in [
        (format!("{host}/lib/none:1"), Code::NotFound, "404"),
        (
            "127.0.0.1:1/lib/x:1".to_owned(),
            // How a kubelet knows it, to tell people that the registry is unavailable.
            Code::Unknown,
            "RegistryUnavailable: resolve 127.0.0.1:1",
        ),
        ("UPPER".to_owned(), Code::InvalidArgument, "lower case"),
        (String::new(), Code::InvalidArgument, "image"),
    ] {
        let error = pull(&node, &image, None).await.unwrap_err();
        assert_eq!(error.code(), code, "{image}: {error:?}");
        assert!(error.message().contains(part), "{image}: {error:?}");
    }
    server.auth(Auth::Token {
        user: "canary-user".into(),
        password: "canary-secret".into(),
    });
    let auth = |password: &str| {
        Some(v1::AuthConfig {
            username: "canary-user".into(),
            password: password.into(),
            ..Default::default()
        })
    };
    let wrong = auth("canary-wrong");
    for auth in [None, wrong] {
        let error = pull(&node, &name, auth).await.unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated, "{error:?}");
        assert!(!error.message().contains("canary"), "{error:?}");
    }
    let bad = v1::AuthConfig {
        auth: "canary!".into(),
        ..Default::default()
    };
    let error = pull(&node, &name, Some(bad)).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
    assert_no_image(&node);
    pull(&node, &name, auth("canary-secret")).await.unwrap();
    // Who may not ask does not get what others have brought here.
    let error = pull(&node, &name, None).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated, "{error:?}");
    let log = node.daemon_log();
    assert!(!log.contains("canary"), "{log}");
    assert!(!log.contains("token-0"), "{log}");
    node.finish().await;
}

#[tokio::test]
async fn cri_removes_an_image_with_all_its_names_and_a_person_one_name() {
    let node = Node::started().await;
    let server = node.registry();
    let built = built();
    let names = [("lib/a", "1"), ("lib/a", "2"), ("lib/b", "1")]
        .map(|(repository, tag)| server.put(repository, tag, &built));
    for name in &names {
        pull(&node, name, None).await.unwrap();
    }
    let rmi = node.coffer(&["rmi", &names[0]]);
    assert!(rmi.status.success(), "{rmi:?}");
    assert!(status(&node, &names[0]).await.is_none());
    assert_eq!(
        status(&node, &names[1]).await.unwrap().repo_tags,
        names[1..]
    );
    let client = node.client().await;
    let request = v1::RemoveImageRequest {
        image: spec(&names[1]),
    };
    client.images.clone().remove_image(request).await.unwrap();
    for name in &names {
        assert!(status(&node, name).await.is_none(), "{name}");
    }
    assert_no_image(&node);
    node.finish().await;
}

/// What one version of CRI offers, in the words that both share.
enum Images {
    V1(v1::image_service_client::ImageServiceClient<Channel>),
    V1alpha1(v1alpha1::image_service_client::ImageServiceClient<Channel>),
}

impl Images {
    async fn pull(&mut self, image: &str, login: Option<(&str, &str)>) -> Result<(), Status> {
        match self {
            Images::V1(images) => {
                let auth = login.map(|(user, password)| v1::AuthConfig {
                    username: user.into(),
                    password: password.into(),
                    ..Default::default()
                });
                let request = v1::PullImageRequest {
                    image: spec(image),
                    auth,
                    sandbox_config: None,
                };
                images.pull_image(request).await.map(drop)
            }
            Images::V1alpha1(images) => {
                let auth = login.map(|(user, password)| v1alpha1::AuthConfig {
                    username: Some(user.into()),
                    password: Some(password.into()),
                    ..Default::default()
                });
                let request = v1alpha1::PullImageRequest {
                    image: old_spec(image),
                    auth,
                    sandbox_config: None,
                };
                images.pull_image(request).await.map(drop)
            }
        }
    }

    /// Ids of what is listed, with a filter or without.
    async fn list(&mut self, filter: Option<&str>) -> Vec<String> {
        match self {
            Images::V1(images) => {
                let filter = filter.map(|image| v1::ImageFilter { image: spec(image) });
                let answer = images.list_images(v1::ListImagesRequest { filter }).await;
                let images = answer.unwrap().into_inner().images;
                images.into_iter().map(|image| image.id).collect()
            }
            Images::V1alpha1(images) => {
                let filter = filter.map(|image| v1alpha1::ImageFilter {
                    image: old_spec(image),
                });
                let request = v1alpha1::ListImagesRequest { filter };
                let answer = images.list_images(request).await;
                let images = answer.unwrap().into_inner().images;
                images.into_iter().filter_map(|image| image.id).collect()
            }
        }
    }

    async fn remove(&mut self, image: &str) {
        match self {
            Images::V1(images) => {
                let request = v1::RemoveImageRequest { image: spec(image) };
                images.remove_image(request).await.map(drop)
            }
            Images::V1alpha1(images) => {
                let request = v1alpha1::RemoveImageRequest {
                    image: old_spec(image),
                };
                images.remove_image(request).await.map(drop)
            }
        }
        .unwrap();
    }
}

fn old_spec(image: &str) -> Option<v1alpha1::ImageSpec> {
    Some(v1alpha1::ImageSpec {
        image: Some(image.to_owned()),
    })
}

#[tokio::test]
async fn both_versions_pull_with_credentials_list_by_any_name_and_remove_twice() {
    let node = Node::started().await;
    let server = node.registry();
    let (one, two) = (built(), {
        let top = testing::layer::Layer::new().file("two", 0o644, b"2");
        busybox().unwrap().layer(top).build().unwrap()
    });
    let names = [
        server.put("lib/one", "1", &one),
        server.put("lib/two", "latest", &two),
    ];
    server.auth(Auth::Token {
        user: "u".into(),
        password: "p".into(),
    });
    let channel = system_tests::Client::channel(&node.socket()).await.unwrap();
    let (first, second) = (channel.clone(), channel);
    for mut images in [
        Images::V1(v1::image_service_client::ImageServiceClient::new(first)),
        Images::V1alpha1(v1alpha1::image_service_client::ImageServiceClient::new(
            second,
        )),
    ] {
        for name in &names {
            let error = images.pull(name, None).await.unwrap_err();
            assert_eq!(error.code(), Code::Unauthenticated, "{error:?}");
            let error = images.pull(name, Some(("u", "wrong"))).await.unwrap_err();
            assert_eq!(error.code(), Code::Unauthenticated, "{error:?}");
            images.pull(name, Some(("u", "p"))).await.unwrap();
        }
        let mut both = [one.config.clone(), two.config.clone()];
        both.sort();
        assert_eq!(images.list(None).await, both);
        assert_eq!(images.list(Some("")).await, both);
        let repository = |name: &String| name.rsplit_once(':').unwrap().0.to_owned();
        let by_digest = format!("{}@{}", repository(&names[0]), one.manifest);
        for (filter, expected) in [
            (names[0].as_str(), Some(&one.config)),
            (&by_digest, Some(&one.config)),
            (&one.config, Some(&one.config)),
            (&one.config[7..19], Some(&one.config)),
            // `latest` is meant where no tag is said.
            (&repository(&names[1]), Some(&two.config)),
            (&repository(&names[0]), None),
            ("none.test/x:1", None),
        ] {
            let expected: Vec<String> = expected.into_iter().cloned().collect();
            assert_eq!(images.list(Some(filter)).await, expected, "{filter}");
        }
        for _ in 0..2 {
            images.remove(&by_digest).await;
            images.remove(&names[1]).await;
        }
        assert_eq!(images.list(None).await, [""; 0]);
        assert_no_image(&node);
    }
    node.finish().await;
}

#[tokio::test]
async fn each_form_of_credentials_is_understood_by_both_versions() {
    let node = Node::started().await;
    let built = built();
    let said = |text: &str| text.to_owned();
    let password = Auth::Basic {
        user: said("u"),
        password: said("p:q"),
    };
    let token = Auth::Token {
        user: said("u"),
        password: said("p:q"),
    };
    let named = |server: &Server| v1::AuthConfig {
        username: said("u"),
        password: said("p:q"),
        server_address: server.url(),
        ..Default::default()
    };
    type Form = fn(v1::AuthConfig) -> v1::AuthConfig;
    let as_it_is: Form = |auth| auth;
    // What a docker config.json holds: the base64 of `u:p:q`.
    let packed: Form = |_| v1::AuthConfig {
        auth: "dTpwOnE=".into(),
        ..Default::default()
    };
    let identity: Form = |_| v1::AuthConfig {
        identity_token: "refresh".into(),
        ..Default::default()
    };
    let bearer: Form = |_| v1::AuthConfig {
        registry_token: "token-0".into(),
        ..Default::default()
    };
    for (what, wanted, form) in [
        ("name and password, basic", &password, as_it_is),
        ("name and password, token", &token, as_it_is),
        ("auth, basic", &password, packed),
        ("auth, token", &token, packed),
        ("identity token", &Auth::Identity(said("refresh")), identity),
        ("registry token", &token, bearer),
    ] {
        for old in [false, true] {
            // A registry of its own, so that nothing is remembered.
            let server = node.registry();
            let name = server.put("lib/busybox", "1", &built);
            server.auth(wanted.clone());
            let auth = form(named(&server));
            let done = if old {
                pull_old(&node, &name, auth).await
            } else {
                pull(&node, &name, Some(auth)).await.map(drop)
            };
            done.unwrap_or_else(|error| panic!("{what}, v1alpha1: {old}: {error:?}"));
            assert!(status(&node, &name).await.is_some());
        }
    }
    node.finish().await;
}

async fn pull_old(node: &Node, image: &str, auth: v1::AuthConfig) -> Result<(), Status> {
    let channel = system_tests::Client::channel(&node.socket()).await.unwrap();
    let request = v1alpha1::PullImageRequest {
        image: old_spec(image),
        auth: Some(v1alpha1::AuthConfig {
            username: Some(auth.username),
            password: Some(auth.password),
            auth: Some(auth.auth),
            server_address: Some(auth.server_address),
            identity_token: Some(auth.identity_token),
            registry_token: Some(auth.registry_token),
        }),
        sandbox_config: None,
    };
    v1alpha1::image_service_client::ImageServiceClient::new(channel)
        .pull_image(request)
        .await
        .map(drop)
}

#[tokio::test]
async fn every_terminal_that_waits_shows_a_bar_for_each_layer_and_one_for_all() {
    let node = Node::started().await;
    let server = node.registry();
    let own = Layer::new().file("own", 0o600, &noise(300_000));
    let built = busybox().unwrap().layer(own).build().unwrap();
    let name = server.put("lib/busybox", "1", &built);
    for layer in &built.layers {
        let path = format!("blobs/{layer}");
        server.fault(&path, 1, Fault::Slow { rate: 150_000 });
    }
    let socket = node.socket().display().to_string();
    let watch = || {
        let variables = [("COFFER_SOCKET", socket.as_str())];
        Pty::spawn(&program("coffer"), &["pull", &name], &variables, 120, 24)
    };
    let mut both = [watch(), watch()];
    for terminal in &mut both {
        // How much of how much, how fast, how long.
        let total = terminal.expect("ETA");
        assert!(total.contains("total") && total.contains("/s"), "{total}");
    }
    for terminal in &mut both {
        let (status, seen) = terminal.wait();
        assert!(status.success(), "{seen}");
        for layer in &built.layers {
            assert!(seen.contains(&layer[7..19]), "{layer}: {seen}");
        }
        assert!(seen.contains(&format!("pulled {name} (")), "{seen}");
    }
    let fetched = |layer: &String| {
        let asked = server.asked();
        asked.iter().filter(|line| line.contains(layer)).count()
    };
    assert_eq!(built.layers.iter().map(fetched).max(), Some(1));
    node.finish().await;
}

/// Content that does not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = length as u64;
    let bytes = (0..length).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_le_bytes()[5]
    });
    bytes.collect()
}

/// A field of `/proc/PID/status`, KiB.
fn memory(node: &Node, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

#[tokio::test]
async fn memory_stays_within_its_bound_whatever_the_size_of_the_image() {
    for compression in Compression::ALL {
        let node = Node::started().await;
        let server = node.registry();
        let mut builder = busybox().unwrap().compression(compression);
        for at in 0..8 {
            let name = format!("large-{at}");
            builder = builder.layer(Layer::new().file(&name, 0o600, &noise((24 << 20) + at)));
        }
        let name = server.put("lib/large", "1", &builder.build().unwrap());
        let idle = memory(&node, "VmRSS:");
        pull(&node, &name, None).await.unwrap();
        let more = memory(&node, "VmHWM:").saturating_sub(idle);
        assert!(
            more <= 64 << 10,
            "{compression:?}: {more} KiB beyond the {idle} KiB of before, for 192 MiB of layers"
        );
        node.finish().await;
    }
}

#[tokio::test]
async fn the_command_line_pulls_and_run_fetches_what_is_missing() {
    let node = Node::started().await;
    let server = node.registry();
    let built = built();
    let name = server.put("lib/busybox", "1", &built);
    fails(
        &node,
        &["run", "--rm", "--pull", "never", &name, "true"],
        125,
        &["no image named"],
    );
    let out = ok(
        &node,
        &["run", "--rm", "--network", "host", &name, "echo fetched"],
    );
    assert_eq!(out, "fetched\n");
    ok(&node, &["rmi", &name]);
    let output = node.coffer(&["pull", &name]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("unpacked"), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with(&format!("pulled {name} (")), "{text}");
    assert_eq!(ok(&node, &["pull", "-q", &name]).trim(), built.config);
    let json: serde_json::Value =
        serde_json::from_str(&ok(&node, &["pull", "-o", "json", &name])).unwrap();
    assert_eq!(json[0]["id"], built.config.as_str());
    let none = format!("{}/lib/none:1", server.host());
    fails(
        &node,
        &["pull", &none],
        1,
        &["cannot pull", "404", &server.url()],
    );
    fails(&node, &["pull", "--creds", "x", &name], 2, &["--creds"]);
    fails(
        &node,
        &["pull", "--platform", "linux", &name],
        1,
        &["platform"],
    );
    fails(
        &node,
        &["pull", "--platform", "linux/s390x", &name],
        1,
        &["linux/s390x"],
    );
    let events = ok(&node, &["events", "--since", "1h", "--no-stream"]);
    assert!(events.contains("pull"), "{events}");
    node.finish().await;
}

#[tokio::test]
async fn the_last_client_that_goes_cancels_and_not_the_first() {
    let node = Node::started().await;
    let server = node.registry();
    let built = built();
    let name = server.put("lib/busybox", "1", &built);
    let layer = built.layers[0].clone();
    let path = format!("GET /v2/lib/busybox/blobs/{layer}");

    // One client alone.
    server.fault(&path, 1, Fault::Hang { after: 1000 });
    let (alone, image) = (node.client().await, name.clone());
    let alone = tokio::spawn(async move {
        let request = v1::PullImageRequest {
            image: spec(&image),
            ..Default::default()
        };
        alone.images.clone().pull_image(request).await.map(drop)
    });
    until_asked(&server, &path).await;
    alone.abort();
    let began = Instant::now();
    while fs::read_dir(node.root().join("images/tmp"))
        .unwrap()
        .count()
        > 0
    {
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "the pull goes on for nobody"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_no_image(&node);

    // Two clients of one image: one fetch, and the second gets it when the first has gone.
    server.forget();
    server.fault(&path, 1, Fault::Slow { rate: 4_000_000 });
    let both = [node.client().await, node.client().await].map(|client| {
        let image = name.clone();
        tokio::spawn(async move {
            let request = v1::PullImageRequest {
                image: spec(&image),
                ..Default::default()
            };
            let answer = client.images.clone().pull_image(request).await;
            answer.map(|answer| answer.into_inner().image_ref)
        })
    });
    until_asked(&server, &path).await;
    let [first, second] = both;
    // Both have joined when both have asked what the name means.
    while server
        .asked()
        .iter()
        .filter(|line| line.starts_with("HEAD"))
        .count()
        < 2
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    assert_eq!(second.await.unwrap().unwrap(), built.config);
    let fetched = server.asked().iter().filter(|line| **line == path).count();
    assert_eq!(fetched, 1, "{:?}", server.asked());
    node.finish().await;
}

#[tokio::test]
async fn what_a_removal_leaves_for_a_pull_goes_with_the_end_of_that_pull() {
    let node = Node::started().await;
    let server = node.registry();
    let own = Layer::new().file("own", 0o600, b"what only the second image has");
    let (base, second) = (built(), busybox().unwrap().layer(own).build().unwrap());
    assert_eq!(base.layers[0], second.layers[0]);
    let name = server.put("lib/base", "1", &base);
    pull(&node, &name, None).await.unwrap();
    let wanted = server.put("lib/second", "1", &second);
    let own = second.layers.last().unwrap();
    let path = format!("GET /v2/lib/second/blobs/{own}");
    server.fault(&path, 1, Fault::Hang { after: 10 });
    let client = node.client().await;
    let pulling = tokio::spawn(async move {
        let request = v1::PullImageRequest {
            image: spec(&wanted),
            ..Default::default()
        };
        client.images.clone().pull_image(request).await.map(drop)
    });
    until_asked(&server, &path).await;
    // The pull builds on the layers of the image that is removed now.
    let request = v1::RemoveImageRequest { image: spec(&name) };
    let client = node.client().await;
    client.images.clone().remove_image(request).await.unwrap();
    assert!(status(&node, &name).await.is_none());
    let layers = || fs::read_dir(node.root().join("layers")).unwrap().count();
    assert!(layers() >= base.layers.len(), "the pull works with them");
    // It ends, and nobody asks for a removal again.
    pulling.abort();
    let began = Instant::now();
    let blobs = || {
        fs::read_dir(node.root().join("images/blobs/sha256"))
            .unwrap()
            .count()
    };
    while layers() + blobs() > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{} layers and {} blobs are left behind",
            layers(),
            blobs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.finish().await;
}

#[tokio::test]
async fn a_daemon_killed_at_any_step_of_a_pull_has_the_image_whole_or_not_at_all() {
    for point in [
        "image.pull.chosen",
        "image.pull.unpacked",
        "image.import.synced",
        "image.publish.renamed",
        "image.publish.synced",
        "image.database.commit.before",
        "image.database.commit.after",
        "image.index.after",
        "image.publish.done",
    ] {
        let mut node = Node::new();
        // The start writes too: what recovery found, and what nothing needs any more.
        let count = match point {
            point if point.contains("database") => 3,
            "image.index.after" => 2,
            _ => 1,
        };
        node.start_with(&[("COFFER_FAILPOINTS", &format!("{point}={count}*kill"))])
            .await;
        let server = node.registry();
        let built = built();
        let name = server.put("lib/busybox", "1", &built);
        pull(&node, &name, None).await.expect_err(point);
        node.wait();
        node.start().await;
        let there = status(&node, &name).await.is_some();
        let committed = matches!(
            point,
            "image.database.commit.after" | "image.index.after" | "image.publish.done"
        );
        assert_eq!(there, committed, "{point}");
        if !there {
            assert_no_image(&node);
        }
        pull(&node, &name, None).await.unwrap();
        let out = ok(
            &node,
            &["run", "--rm", "--network", "host", &name, "echo whole"],
        );
        assert_eq!(out, "whole\n", "{point}");
        node.finish().await;
    }
}

#[tokio::test]
async fn images_get_names_go_to_registries_and_into_archives() {
    let node = Node::started().await;
    let server = node.registry();
    let built = built();
    let name = server.put("lib/busybox", "1", &built);
    ok(&node, &["pull", "-q", &name]);
    let other = format!("{}/mine/box:2", server.host());
    ok(&node, &["tag", &name, &other]);
    fails(&node, &["tag", "nothing", "a:1"], 1, &["no image named"]);
    fails(&node, &["tag", &name, "UPPER"], 1, &["lower case"]);

    server.auth(Auth::Token {
        user: "canary-user".into(),
        password: "canary-secret".into(),
    });
    fails(
        &node,
        &["push", &other],
        1,
        &["cannot push", "401 Unauthorized"],
    );
    let creds = ["push", "--creds", "canary-user:canary-secret", &other];
    assert_eq!(ok(&node, &creds), format!("pushed {other}\n"));
    assert!(server.manifest("mine/box", "2").is_some());
    assert!(!node.daemon_log().contains("canary"));

    // Another tool reads the archive and the store, and the archive comes back as the same image.
    let file = node.base.join("both.tar");
    let path = file.to_str().unwrap();
    ok(&node, &["export", "-o", path, &name, &other]);
    for (from, wanted) in [
        (format!("oci-archive:{path}:{other}"), &built.manifest),
        (
            format!("oci:{}:{name}", node.root().join("images").display()),
            &built.manifest,
        ),
    ] {
        let output = std::process::Command::new("skopeo")
            .args(["inspect", "--raw", &from])
            .output()
            .unwrap();
        assert!(output.status.success(), "{from}: {}", stderr(&output));
        assert_eq!(testing::image::digest(&output.stdout), *wanted, "{from}");
    }
    let output = std::process::Command::new("skopeo")
        .args([
            "inspect",
            "--config",
            &format!("docker-archive:{path}:{name}"),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    fails(
        &node,
        &["export", "-o", path, "nothing"],
        1,
        &["no image named"],
    );
    ok(&node, &["rmi", &built.config]);
    assert_no_image(&node);
    ok(&node, &["import", path]);
    assert_eq!(status(&node, &other).await.unwrap().id, built.config);
    let again = node.base.join("again.tar");
    ok(
        &node,
        &["export", "-o", again.to_str().unwrap(), &name, &other],
    );
    assert!(fs::read(&file).unwrap() == fs::read(&again).unwrap());

    // The layout as a directory: other tools read it, and it comes and goes without a change.
    let layout = node.base.join("layout");
    let dir = layout.to_str().unwrap();
    let to_dir = |dir: &str| {
        ok(
            &node,
            &["export", "--format", "oci-dir", "-o", dir, &name, &other],
        );
    };
    to_dir(dir);
    let there = ["export", "--format", "oci-dir", "-o", dir, &name];
    fails(&node, &there, 2, &["is there already"]);
    let output = std::process::Command::new("skopeo")
        .args(["inspect", "--raw", &format!("oci:{dir}:{name}")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(testing::image::digest(&output.stdout), built.manifest);
    ok(&node, &["rmi", &built.config]);
    ok(&node, &["import", dir]);
    assert_eq!(status(&node, &name).await.unwrap().id, built.config);
    let second = node.base.join("second");
    to_dir(second.to_str().unwrap());
    let equal = std::process::Command::new("diff")
        .args(["-r", dir, second.to_str().unwrap()])
        .status()
        .unwrap();
    assert!(equal.success());
    node.finish().await;
}
