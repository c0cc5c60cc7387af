//! Standard input and output, pipes and terminals.

use agent_api::grpc;
use agent_api::ttrpc::Code;

use super::{World, process, soon, status};

pub(crate) async fn stdin_is_written_and_closed(world: &World) {
    world.start("c1", &["cat"]).await;
    assert_eq!(world.write("c1", "c1", b"one ").await.unwrap(), 4);
    assert_eq!(world.read("c1", "c1", 2).await, b"on");
    let big = vec![b'x'; 200_000];
    // More than the pipes hold: the write goes on while the output is read.
    let (written, mut echoed) = tokio::join!(world.write("c1", "c1", &big), async {
        let mut all = Vec::new();
        while all.len() < big.len() + 2 {
            all.extend(world.read("c1", "c1", 1 << 20).await);
        }
        all
    });
    assert_eq!(written.unwrap(), 200_000);
    assert!(
        echoed.split_off(2) == big,
        "the echo is not what was written"
    );
    world.close("c1", "c1").await;
    world.close("c1", "c1").await;
    assert_eq!(world.output("c1", "c1").await, "");
    assert_eq!(world.wait("c1", "c1").await, 0);
    let late = world.write("c1", "c1", b"x").await;
    assert_eq!(status(late).0, Code::FAILED_PRECONDITION);
    world.remove("c1").await;
}

pub(crate) async fn a_terminal_has_a_size_and_a_line_discipline(world: &World) {
    world.start("c1", &["sleep", "100"]).await;
    let script = "stty size; while read line; do echo got $line; stty size; done; echo end";
    let process = grpc::Process {
        terminal: true,
        console_size: Some(grpc::Box {
            height: 33,
            width: 77,
        }),
        ..process(&["sh", "-c", script])
    };
    world.try_exec("c1", "t1", process).await.unwrap();
    let mut seen = String::new();
    let mut expect = async |text: &str| {
        while !seen.contains(text) {
            let data = world.read("c1", "t1", 4096).await;
            assert!(!data.is_empty(), "ended before {text:?}: {seen:?}");
            seen.push_str(&String::from_utf8(data).unwrap());
        }
    };
    expect("33 77\r\n").await;
    let resize = |exec: &str| grpc::TtyWinResizeRequest {
        container_id: "c1".into(),
        exec_id: exec.into(),
        row: 50,
        column: 132,
    };
    world
        .agent
        .tty_win_resize(soon(), &resize("t1"))
        .await
        .unwrap();
    world.write("c1", "t1", b"hello\n").await.unwrap();
    expect("got hello\r\n50 132\r\n").await;
    // A terminal's input ends by ^D, and its output goes on.
    world.close("c1", "t1").await;
    expect("end\r\n").await;
    assert_eq!(world.output("c1", "t1").await, "");
    assert_eq!(world.wait("c1", "t1").await, 0);
    let plain = world.agent.tty_win_resize(soon(), &resize("c1")).await;
    let (code, text) = status(plain);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(text.contains("no tty"), "{text}");
    world.remove("c1").await;
}

pub(crate) async fn a_background_child_does_not_hold_the_end_of_output(world: &World) {
    // The child keeps the pipe for longer than the call may take.
    let script = "sleep 300 & echo said; echo bad >&2; exit 4";
    world.start("c1", &["sh", "-c", script]).await;
    assert_eq!(world.output("c1", "c1").await, "said\n");
    assert_eq!(world.errors("c1", "c1").await, "bad\n");
    assert_eq!(world.wait("c1", "c1").await, 4);
    // The end is told as often as it is asked for.
    assert_eq!(world.output("c1", "c1").await, "");
    world.remove("c1").await;
}

pub(crate) async fn output_comes_whole_and_in_order(world: &World) {
    // More than the pipe holds: the process waits for the reader.
    let script = "seq 1 20000; echo oops >&2; printf unfinished";
    world.start("c1", &["sh", "-c", script]).await;
    let mut all = Vec::new();
    let mut largest = 0;
    loop {
        let data = world.read("c1", "c1", 50_000).await;
        if data.is_empty() {
            break;
        }
        largest = largest.max(data.len());
        all.extend(data);
    }
    assert!(largest <= 50_000, "{largest}");
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert!(
        all == (expected + "unfinished").as_bytes(),
        "the output is not what was written"
    );
    assert_eq!(world.errors("c1", "c1").await, "oops\n");
    assert_eq!(world.wait("c1", "c1").await, 0);
    // Of an exec, too, and what it wrote is there when its end has been waited for.
    world.remove("c1").await;
    world.start("c1", &["sleep", "100"]).await;
    let exec = process(&["sh", "-c", "echo out; echo err >&2; exit 9"]);
    world.try_exec("c1", "e1", exec).await.unwrap();
    assert_eq!(world.output("c1", "e1").await, "out\n");
    assert_eq!(world.errors("c1", "e1").await, "err\n");
    assert_eq!(world.wait("c1", "e1").await, 9);
    world.remove("c1").await;
}
