//! Files in and out of containers that run, have not started, or have ended.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use cri_api::node::{
    CopyInHeader, CopyInRequest, CopyInResponse, CopyOutRequest, copy_in_request::Part,
};
use std::{
    fs,
    time::{Duration, Instant},
};
use system_tests::{Client, Node, configs};
use tonic::{Code, Status};

async fn out(client: &Client, id: &str, path: &str) -> Result<Vec<u8>, Status> {
    let request = CopyOutRequest {
        container_id: id.to_owned(),
        path: path.to_owned(),
        follow_link: true,
    };
    let mut chunks = client.node.clone().copy_out(request).await?.into_inner();
    let mut tar = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        assert!(!chunk.chunk.is_empty() && chunk.chunk.len() <= 1 << 20);
        tar.extend(chunk.chunk);
    }
    Ok(tar)
}

async fn into(client: &Client, id: &str, path: &str, tar: &[u8]) -> Result<CopyInResponse, Status> {
    let header = CopyInHeader {
        container_id: id.to_owned(),
        path: path.to_owned(),
        no_owner: false,
    };
    let parts: Vec<_> = std::iter::once(Part::Header(header))
        .chain(tar.chunks(700_000).map(|c| Part::Chunk(c.to_vec())))
        .map(|part| CopyInRequest { part: Some(part) })
        .collect();
    let answer = client.node.clone().copy_in(tokio_stream::iter(parts)).await;
    answer.map(tonic::Response::into_inner)
}

fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, name, content).unwrap();
    builder.into_inner().unwrap()
}

fn content(tar: &[u8], name: &str) -> Vec<u8> {
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path_bytes().as_ref() == name.as_bytes() {
            let mut bytes = Vec::new();
            std::io::copy(&mut entry, &mut bytes).unwrap();
            return bytes;
        }
    }
    panic!("{name} is not in the archive");
}

#[tokio::test]
async fn a_container_gives_and_takes_files_in_every_state_of_its_life() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("one", &node.logs());
    let pod = client.run_pod(&pod_config).await.unwrap();
    let volume = node.base.join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("in"), b"from the host").unwrap();
    let script =
        "cat /tmp/early; cat /srv/in; echo made > /tmp/made; rm /etc/group; exec sleep 1000";
    let mut config = configs::shell("main", &image, script);
    let context = config.linux.as_mut().unwrap().security_context.as_mut();
    context.unwrap().run_as_user = Some(cri_api::v1::Int64Value { value: 0 });
    config.mounts.push(cri_api::v1::Mount {
        container_path: "/srv".into(),
        host_path: volume.display().to_string(),
        ..Default::default()
    });
    let container = client.create(&pod, &pod_config, &config).await.unwrap();

    let tar = tar_of("early", b"before the start\n");
    let copied = into(&client, &container, "/tmp", &tar).await.unwrap();
    assert_eq!((copied.entries, copied.bytes), (1, 17));
    client.start(&container).await.unwrap();
    let big: Vec<u8> = (0..5_000_000u32).map(|i| i.to_le_bytes()[1]).collect();
    into(&client, &container, "/tmp", &tar_of("sub/big", &big))
        .await
        .unwrap();
    let (code, said) = client
        .exec(
            &container,
            &["/bin/sh", "-c", "cat /tmp/early; wc -c < /tmp/sub/big"],
        )
        .await
        .unwrap();
    assert_eq!((code, said.as_str()), (0, "before the start\n5000000\n"));
    let tar = out(&client, &container, "/tmp/sub").await.unwrap();
    assert!(content(&tar, "sub/big") == big);
    // Volumes are seen, and kernel filesystems are not walked.
    let tar = out(&client, &container, "/srv/in").await.unwrap();
    assert_eq!(content(&tar, "in"), b"from the host");
    let whole = out(&client, &container, "/").await.unwrap();
    let mut names = tar::Archive::new(whole.as_slice());
    let names: Vec<_> = names
        .entries()
        .unwrap()
        .map(|e| e.unwrap().path().unwrap().display().to_string())
        .collect();
    assert!(names.iter().any(|n| n.ends_with("tmp/early")), "{names:?}");
    assert!(!names.iter().any(|n| n.contains("proc/1")), "{names:?}");

    client.stop(&container, 0).await.unwrap();
    let tar = out(&client, &container, "/tmp/made").await.unwrap();
    assert_eq!(content(&tar, "made"), b"made\n");
    let gone = out(&client, &container, "/etc/group").await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound, "{gone:?}");
    let tar = tar_of("late", b"after the end");
    into(&client, &container, "/tmp", &tar).await.unwrap();
    let tar = out(&client, &container, "/tmp/late").await.unwrap();
    assert_eq!(content(&tar, "late"), b"after the end");
    node.finish().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_copy_is_said() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("one", &node.logs());
    let mut config = configs::shell("main", &image, configs::FOREVER);
    let context = config.linux.as_mut().unwrap().security_context.as_mut();
    context.unwrap().readonly_rootfs = true;
    let (_, container) = client.run(&pod_config, &config).await.unwrap();
    let tar = tar_of("file", b"x");
    for (id, path, code, said) in [
        ("0123456789ab", "/tmp", Code::NotFound, "0123456789ab"),
        (container.as_str(), "tmp", Code::InvalidArgument, "absolute"),
        (&container, "/none", Code::NotFound, "/none"),
        (&container, "/etc/passwd", Code::NotFound, "/etc/passwd"),
        (&container, "/etc", Code::FailedPrecondition, "Read-only"),
    ] {
        let status = into(&client, id, path, &tar).await.unwrap_err();
        assert_eq!(status.code(), code, "{path}: {status:?}");
        assert!(status.message().contains(said), "{path}: {status:?}");
    }
    let status = out(&client, &container, "/none").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let status = into(&client, &container, "/etc", b"no archive")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let hostile = {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..5].copy_from_slice(b"../up");
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, std::io::empty()).unwrap();
        builder.into_inner().unwrap()
    };
    let status = into(&client, &container, "/etc", &hostile)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    node.finish().await;
}

#[tokio::test]
async fn a_client_that_stops_reading_holds_a_bound() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("one", &node.logs());
    let script = "head -c 200000000 /dev/zero > /tmp/big; touch /tmp/done; exec sleep 1000";
    let config = configs::shell("main", &image, script);
    let (_, container) = client.run(&pod_config, &config).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while client
        .exec(&container, &["/bin/test", "-e", "/tmp/done"])
        .await
        .unwrap()
        .0
        != 0
    {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rss = || {
        let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    let before = rss();
    let mut streams = Vec::new();
    for _ in 0..4 {
        let request = CopyOutRequest {
            container_id: container.clone(),
            path: "/tmp/big".to_owned(),
            follow_link: false,
        };
        let other = node.client().await;
        let mut stream = other
            .node
            .clone()
            .copy_out(request)
            .await
            .unwrap()
            .into_inner();
        assert!(stream.message().await.unwrap().is_some());
        streams.push((other, stream));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let grown = rss().saturating_sub(before);
    assert!(
        grown < 24 * 1024,
        "{grown} KiB for four clients that don't read"
    );
    assert_eq!(client.exec(&container, &["/bin/true"]).await.unwrap().0, 0);
    drop(streams);
    let (_, mut stream) = {
        let request = CopyOutRequest {
            container_id: container.clone(),
            path: "/tmp/big".to_owned(),
            follow_link: false,
        };
        let stream = client.node.clone().copy_out(request).await.unwrap();
        ((), stream.into_inner())
    };
    let mut bytes = 0;
    while let Some(chunk) = stream.message().await.unwrap() {
        bytes += chunk.chunk.len();
    }
    assert_eq!(bytes, 512 + 200_000_000_usize.next_multiple_of(512) + 1024);
    drop(stream);
    node.finish().await;
}
