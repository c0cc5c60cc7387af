//! Against the registry that most people run: Debian's docker-registry, with htpasswd, TLS of a
//! private authority, and as a proxy that holds nothing yet; skopeo on the other side.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use image::{FetchErrorKind as Kind, Image};
use registry::{Access, Content, Registry, Said};
use support::{Node, kind, password};
use testing::{
    image::{Builder, Built, Compression},
    layer::Layer,
    registry::{Authority, Distribution, Server, Setup},
};

fn builder() -> Builder {
    Builder::new("lib/app:1")
        .layer(Layer::new().dir("etc", 0o755).file("etc/a", 0o644, b"a"))
        .layer(Layer::new().file("etc/b", 0o600, &vec![b'b'; 300_000]))
}

fn skopeo(arguments: &[&str]) -> String {
    let done = Command::new("skopeo")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "skopeo {arguments:?}: {error}");
    String::from_utf8(done.stdout).unwrap()
}

/// Puts an image that is in the node's store under `name` at its registry.
fn push(node: &Node, image: &Image, name: &str, said: &Said) -> Result<(), registry::Error> {
    let registry = Registry::new(node.settings.clone());
    let handle = node.runtime.handle().clone();
    let reference = name.parse().unwrap();
    let session = registry
        .session(&reference, said, Access::Push, handle)
        .unwrap();
    let send = |content: &image::Content| {
        let mut blobs = content.blobs.clone();
        let (digest, _, file) = blobs.remove(0);
        let content = Content {
            manifest: std::fs::read(file).unwrap(),
            digest,
            media_type: content.media_type.clone(),
            blobs,
        };
        let watch: registry::Watch = Arc::new(|_| ());
        session.push(&content, &watch, &|| false)
    };
    node.store.with_content(&image.id, send).unwrap().unwrap()
}

#[test]
fn what_is_pushed_comes_back_the_same_by_us_and_by_skopeo() {
    let authority = Authority::new().unwrap();
    let registry = Distribution::start(&Setup {
        htpasswd: true,
        tls: Some(&authority),
        ..Setup::default()
    })
    .unwrap();
    let node = Node::new();
    let ca = node.dir.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).unwrap();
    node.hosts(
        &registry.host(),
        &format!("server = {:?}\nca = {ca:?}", registry.url()),
    );

    // An image in each packing, made by skopeo into the registry.
    let archive = node.dir.path().join("archive.tar");
    let certs = node.dir.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    std::fs::copy(&ca, certs.join("ca.crt")).unwrap();
    let certs = format!("--dest-cert-dir={}", certs.display());
    let said = password("user", "secret");
    for (tag, compression) in [
        ("gzip", Compression::Gzip),
        ("zstd", Compression::Zstd),
        ("plain", Compression::None),
    ] {
        let built = builder().compression(compression);
        built.oci_archive(&archive).unwrap();
        let config = built.build().unwrap().config;
        let name = format!("{}/lib/app:{tag}", registry.host());
        let from = format!("oci-archive:{}", archive.display());
        skopeo(&[
            "copy",
            "-q",
            "--preserve-digests",
            "--dest-creds=user:secret",
            &certs,
            &from,
            &format!("docker://{name}"),
        ]);
        let error = node.pull(&name).unwrap_err();
        assert_eq!(kind(&error), Some(Kind::Unauthenticated), "{error}");
        let error = node.pull_as(&name, &password("user", "wrong")).unwrap_err();
        assert_eq!(kind(&error), Some(Kind::Unauthenticated), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
        let image = node.pull_as(&name, &said).unwrap();
        assert_eq!(image.id, config, "{tag}");

        // Back under another name, by us, and read by skopeo: the same manifest.
        let copy = format!("{}/other/app:{tag}", registry.host());
        push(&node, &image, &copy, &said).unwrap();
        let digest = skopeo(&[
            "inspect",
            "--creds=user:secret",
            &certs.replace("dest-", ""),
            "--format={{.Digest}}",
            &format!("docker://{copy}"),
        ]);
        assert_eq!(digest.trim(), image.manifest, "{tag}");
        assert_eq!(node.pull_as(&copy, &said).unwrap().id, config, "{tag}");
    }
    let error = push(
        &node,
        &node.store.list().unwrap()[0],
        &format!("{}/x/y:1", registry.host()),
        &Said::default(),
    );
    assert_eq!(error.unwrap_err().kind(), Kind::Unauthenticated);
}

#[test]
fn docker_schema_2_and_lists_of_platforms_come_too() {
    let registry = Distribution::start(&Setup::default()).unwrap();
    let node = Node::new();
    node.hosts(&registry.host(), &format!("server = {:?}", registry.url()));
    let archive = node.dir.path().join("archive.tar");
    builder().oci_archive(&archive).unwrap();
    let name = format!("{}/lib/app:v2s2", registry.host());
    skopeo(&[
        "copy",
        "-q",
        "--format=v2s2",
        "--dest-tls-verify=false",
        &format!("oci-archive:{}", archive.display()),
        &format!("docker://{name}"),
    ]);
    let raw = skopeo(&[
        "inspect",
        "--raw",
        "--tls-verify=false",
        &format!("docker://{name}"),
    ]);
    assert!(
        raw.contains("application/vnd.docker.distribution.manifest.v2+json"),
        "{raw}"
    );
    let image = node.pull(&name).unwrap();
    let read = image::rootfs_read(&image.layers, "etc/a", 10).unwrap();
    assert_eq!(read.as_deref(), Some(&b"a"[..]));
    let missing = node
        .pull(&format!("{}/lib/app:none", registry.host()))
        .unwrap_err();
    assert_eq!(kind(&missing), Some(Kind::NotFound), "{missing}");
}

#[test]
fn an_empty_proxy_fetches_and_a_dead_mirror_is_told_of() {
    let upstream = Server::start().unwrap();
    let built = builder().build().unwrap();
    upstream.put("lib/app", "1", &built);
    let proxy = Distribution::start(&Setup {
        proxy_of: Some(upstream.url()),
        ..Setup::default()
    })
    .unwrap();
    let node = Node::new();
    // The registry itself is not there: all comes through the proxy, which holds nothing yet.
    node.hosts(
        "registry.invalid",
        &format!(
            "server = \"http://127.0.0.1:1\"\n[host.{:?}]\ncapabilities = [\"pull\", \"resolve\"]",
            proxy.url()
        ),
    );
    let image = node.pull("registry.invalid/lib/app:1").unwrap();
    assert_eq!(image.id, built.config);
    assert_eq!(image.repo_tags, ["registry.invalid/lib/app:1"]);
    assert!(upstream.asked().iter().any(|line| line.contains("/blobs/")));
    let error = node
        .pull("registry.invalid/lib/none:1")
        .unwrap_err()
        .to_string();
    for part in [proxy.host().as_str(), "127.0.0.1:1", "404"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

const NAME: &str = "COFFER_REGISTRY_TEST_NAME";

#[test]
#[ignore = "run by the test below, in an environment of its own"]
fn child() {
    let name = std::env::var(NAME).expect("started by the test below");
    let node = Node::new();
    let (host, _) = name.split_once('/').unwrap();
    node.hosts(host, &format!("server = \"http://{host}\""));
    node.pull(&name).unwrap();
}

#[test]
fn proxies_of_the_environment_that_are_empty_count_for_none() {
    let server = Server::start().unwrap();
    let name = server.put("lib/app", "1", &builder().build().unwrap());
    let run = |proxy: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "child"])
            .env(NAME, &name);
        for variable in [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "NO_PROXY",
            "no_proxy",
        ] {
            command.env(
                variable,
                if variable.eq_ignore_ascii_case("no_proxy") {
                    ""
                } else {
                    proxy
                },
            );
        }
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    };
    assert!(run("").success());
    // One that is said is asked: here nobody answers.
    assert!(!run("http://127.0.0.1:1").success());
}

/// A manifest whose first layer is one that registries need not hold, with addresses of its own.
fn foreign(built: &Built, urls: &[String]) -> Vec<u8> {
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&data(built, &built.manifest)).unwrap();
    let layer = &mut manifest["layers"][0];
    layer["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
    layer["urls"] = urls.into();
    serde_json::to_vec(&manifest).unwrap()
}

fn data(built: &Built, digest: &str) -> Vec<u8> {
    let name = format!("blobs/{}", digest.replace(':', "/"));
    let found = built.blobs.iter().find(|(file, _)| *file == name);
    found.unwrap().1.clone()
}

#[test]
fn foreign_layers_come_from_the_registry_or_by_https_from_where_the_manifest_says() {
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let (authority, built) = (Authority::new().unwrap(), builder().build().unwrap());
    let elsewhere = Server::start_tls(&authority).unwrap();
    let server = Server::start().unwrap();
    let layer = data(&built, &built.layers[0]);
    elsewhere.put_blob(&layer);
    for digest in built.layers.iter().skip(1).chain([&built.config]) {
        server.put_blob(&data(&built, digest));
    }
    let at = |server: &Server| format!("{}/v2/x/blobs/{}", server.url(), built.layers[0]);
    let put = |tag: &str, urls: &[String]| {
        server.put_manifest("lib/app", tag, kind, foreign(&built, urls))
    };

    // The system's authorities count; here they are those of a file.
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    let name = put("https", &[at(&elsewhere)]);
    let child = |roots: &Path| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child", "--nocapture"])
            .env(NAME, &name)
            .env("SSL_CERT_FILE", roots)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (done, said) = child(&roots);
    assert!(done, "{said}");
    assert_eq!(elsewhere.asked().len(), 1, "{:?}", elsewhere.asked());
    let (done, said) = child(Path::new("/etc/ssl/certs/ca-certificates.crt"));
    assert!(!done && said.contains(&elsewhere.url()), "{said}");

    // In the clear never, whatever the manifest says.
    let (node, plain) = (Node::new(), Server::start().unwrap());
    node.knows(&server);
    plain.put_blob(&layer);
    let error = node.pull(&put("http", &[at(&plain)])).unwrap_err();
    assert!(error.to_string().contains("no https address"), "{error}");
    assert!(plain.seen().is_empty());
    node.assert_empty();

    // A registry that holds it is asked first.
    elsewhere.forget();
    server.put_blob(&layer);
    let image = node.pull(&name).unwrap();
    assert_eq!(image.id, built.config);
    assert!(elsewhere.seen().is_empty());
}
