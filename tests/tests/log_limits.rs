//! What a container's log may take, from the daemon's configuration to the file that a kubelet rotates: a size,
//! a rate, the disk. None of them holds the container, and the log says what is missing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::path::{Path, PathBuf};

use cri_api::v1;
use rustix::mount::{MountFlags, mount};
use system_tests::{Client, Node, configs};

/// What [`container`] writes, one line after the other.
const LINE: &str = "0123456789";
const LINES: usize = 20_000;
/// A record of it: 30 bytes of time, 10 of stream and tag, the line, a newline.
const RECORD: usize = 51;
/// It writes, says so, and waits before it writes once more.
const SCRIPT: &str = "yes 0123456789 | head -n 20000; touch /tmp/written; \
                      while [ ! -e /tmp/go ]; do sleep 0.02; done; echo after";

/// A container that has written [`LINES`] and waits: its id, and its log's path.
async fn container(client: &Client, node: &Node, image: &str, logs: &Path) -> (String, PathBuf) {
    let config = configs::shell("main", image, SCRIPT);
    let pod = configs::pod("limited", logs);
    let (_, id) = client.run(&pod, &config).await.unwrap();
    let script = "i=0; while [ ! -e /tmp/written ]; do sleep 0.05; i=$((i+1)); [ $i -lt 400 ] || exit 1; done";
    let written = client.exec(&id, &["/bin/sh", "-c", script]).await.unwrap();
    assert_eq!(written.0, 0, "it is held up: {}", node.daemon_log());
    let path = client.status(&id).await.unwrap().log_path;
    (id, path.into())
}

/// Lets it go on to its end.
async fn end(client: &Client, id: &str) {
    let go = client.exec(id, &["/bin/touch", "/tmp/go"]).await.unwrap();
    assert_eq!(go.0, 0);
    assert_eq!(client.wait(id).await.unwrap().exit_code, 0);
}

/// What a kubelet does when a log has become large; answers where the old one is.
async fn rotate(client: &Client, id: &str, path: &Path) -> PathBuf {
    let old = path.with_extension("log.1");
    fs::rename(path, &old).unwrap();
    let request = v1::ReopenContainerLogRequest {
        container_id: id.to_owned(),
    };
    let mut runtime = client.runtime.clone();
    runtime.reopen_container_log(request).await.unwrap();
    old
}

/// A log's records without their times.
#[derive(Debug)]
struct Log {
    /// Those of the container.
    records: Vec<String>,
    /// Those of ours, after `[coffer: `.
    notes: Vec<String>,
}

impl Log {
    #[track_caller]
    fn read(path: &Path) -> Log {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'), "torn: {text:?}");
        let (mut records, mut notes) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let (at, record) = line.split_at(31);
            assert!(at.starts_with("20") && at.ends_with("Z "), "torn: {line}");
            match record.strip_prefix("stderr F [coffer: ") {
                Some(note) => notes.push(note.trim_end_matches(']').to_owned()),
                None => records.push(record.to_owned()),
            }
        }
        Log { records, notes }
    }

    /// How many whole records of [`LINE`] there are; nothing else is.
    #[track_caller]
    fn whole(&self) -> usize {
        let odd = self
            .records
            .iter()
            .find(|r| **r != format!("stdout F {LINE}"));
        assert_eq!(odd, None);
        self.records.len()
    }

    /// Bytes that are said to be missing, for a reason that has `why` in it.
    #[track_caller]
    fn missing(&self, why: &str) -> usize {
        let bytes = |note: &String| {
            assert!(note.contains(why), "{note}");
            let (bytes, _) = note
                .split_once(" bytes of log are missing here: ")
                .unwrap_or_else(|| panic!("{note}"));
            bytes.parse::<usize>().unwrap()
        };
        self.notes.iter().map(bytes).sum()
    }
}

#[tokio::test]
async fn a_file_is_full_at_its_size_until_it_is_rotated() {
    let mut node = Node::new();
    node.configuration = "[container_log]\nmax_bytes = 200000".to_owned();
    node.start().await;
    let image = node.import_busybox().await;
    let client = node.client().await;
    let (id, path) = container(&client, &node, &image, &node.logs()).await;
    let full = fs::metadata(&path).unwrap().len();
    let old = rotate(&client, &id, &path).await;
    end(&client, &id).await;
    assert!((190_000..200_200).contains(&full), "{full}");
    assert_eq!(
        fs::metadata(&old).unwrap().len(),
        full,
        "nothing came later"
    );
    let log = Log::read(&old);
    let kept = log.whole();
    assert_eq!(
        log.notes,
        ["the log ends here: the file had reached its limit of 200000 bytes"]
    );
    let mut next = Log::read(&path);
    assert_eq!(next.records.pop().unwrap(), "stdout F after");
    let missing = next.missing("the file had reached its limit of 200000 bytes");
    assert_eq!(missing, (LINES - kept - next.whole()) * RECORD);
    node.finish().await;
}

#[tokio::test]
async fn what_is_over_the_rate_is_left_out_and_told() {
    let mut node = Node::new();
    node.configuration = "[container_log]\nbytes_per_second = 70000".to_owned();
    node.start().await;
    let image = node.import_busybox().await;
    let client = node.client().await;
    let (id, path) = container(&client, &node, &image, &node.logs()).await;
    // Half of what may be written in a second is more than the last record.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    end(&client, &id).await;
    let mut log = Log::read(&path);
    assert_eq!(log.records.pop().unwrap(), "stdout F after");
    let (kept, missing) = (log.whole(), log.missing("more than 70000 bytes per second"));
    assert!(kept >= 70_000 / RECORD, "{kept} is less than the burst");
    assert!(missing > 0, "nothing was over the rate");
    assert_eq!(kept * RECORD + missing, LINES * RECORD);
    node.finish().await;
}

#[tokio::test]
async fn a_full_disk_holds_no_container_and_the_gap_is_told() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let small = node.base.join("small");
    fs::create_dir(&small).unwrap();
    let flags = MountFlags::empty();
    mount("tmpfs", &small, "tmpfs", flags, Some(c"size=1m")).unwrap();
    let mounted = testing::guard::Mount::new(&small);
    let filler = small.join("filler");
    fs::write(&filler, vec![0; 800 << 10]).unwrap();
    let (id, path) = container(&client, &node, &image, &small).await;
    // A log can be rotated there, too.
    let old = rotate(&client, &id, &path).await;
    fs::remove_file(filler).unwrap();
    end(&client, &id).await;
    let before = Log::read(&old);
    let mut after = Log::read(&path);
    assert_eq!(after.records.pop().unwrap(), "stdout F after");
    let (why, kept) = ("No space left on device", before.whole() + after.whole());
    assert!(kept > 500, "{kept}");
    let missing = before.missing(why) + after.missing(why);
    assert!(missing > 0);
    assert_eq!(kept * RECORD + missing, LINES * RECORD);
    drop(mounted);
    node.finish().await;
}

#[tokio::test]
async fn long_lines_come_in_tagged_parts_however_the_file_is_rotated() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    // 40,000 bytes, a line of exactly one part, an end without a newline.
    let script = "head -c 40000 /dev/zero | tr '\\0' x; touch /tmp/begun; \
                  while [ ! -e /tmp/go ]; do sleep 0.02; done; \
                  echo y; head -c 16384 /dev/zero | tr '\\0' z; echo; printf end";
    let config = configs::shell("main", &image, script);
    let pod = configs::pod("parts", &node.logs());
    let (_, id) = client.run(&pod, &config).await.unwrap();
    let begun = "while [ ! -e /tmp/begun ]; do sleep 0.02; done";
    client.exec(&id, &["/bin/sh", "-c", begun]).await.unwrap();
    let path = PathBuf::from(client.status(&id).await.unwrap().log_path);
    // The pump has taken what was written when both parts are there.
    while fs::metadata(&path).unwrap().len() < 2 * (16_384 + 41) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let old = rotate(&client, &id, &path).await;
    end(&client, &id).await;
    let parts = |path: &Path| -> Vec<(String, usize)> {
        let log = Log::read(path);
        assert!(log.notes.is_empty(), "{log:?}");
        let records = log.records.iter().map(|r| r.split_at("stdout F ".len()));
        records
            .map(|(tag, text)| (tag.trim_end().to_owned(), text.len()))
            .collect()
    };
    let part = |tag: &str, len| (format!("stdout {tag}"), len);
    assert_eq!(parts(&old), [part("P", 16_384), part("P", 16_384)]);
    let rest = 40_000 - 2 * 16_384 + 1;
    assert_eq!(
        parts(&path),
        [part("F", rest), part("F", 16_384), part("P", 3)]
    );
    node.finish().await;
}
