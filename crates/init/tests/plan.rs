//! What the two sides agree on: messages as bytes, and plans that lead nowhere are not started.

use init::{Act, END, Kind, LaunchPlan, List, Message, Step, Str, launch};

#[test]
fn messages_come_back_as_they_were() {
    let kinds = [
        Kind::Failed,
        Kind::Forked,
        Kind::Sync,
        Kind::Ready,
        Kind::Console,
        Kind::CopyUp,
    ];
    for kind in kinds {
        for act in Act::ALL {
            let message = Message {
                kind,
                step: 7,
                value: u32::MAX,
                act,
            };
            assert_eq!(Message::from_bytes(message.to_bytes()), Some(message));
        }
    }
    assert_eq!(Message::from_bytes([0; 16]), None);
    assert_eq!(Message::from_bytes([0xff; 16]), None);
}

#[test]
fn acts_are_numbered_by_their_place() {
    for (number, act) in Act::ALL.iter().enumerate() {
        assert_eq!(*act as usize, number);
    }
}

fn try_launch(strings: &[u8], words: &[Str], pointers: &mut [usize], filter: &[u8]) -> i32 {
    let mut plan = LaunchPlan {
        steps: &[Step::Exec {
            args: List(0),
            env: List(0),
        }],
        strings,
        words,
        pointers,
        numbers: &[],
        filter,
        fds: &mut [],
        keep: &[],
        channel: -1,
        pids: None,
        trace: &[],
    };
    launch(&mut plan, 0, -1).expect_err("it was started")
}

#[test]
fn an_unsound_plan_is_not_started() {
    const EINVAL: i32 = 22;
    // No NUL at an end, a word outside, a list without end, too few pointers, half an instruction.
    assert_eq!(try_launch(b"", &[], &mut [], &[]), EINVAL);
    assert_eq!(try_launch(b"\0abc", &[], &mut [], &[]), EINVAL);
    assert_eq!(try_launch(b"\0", &[Str(1), END], &mut [0; 2], &[]), EINVAL);
    assert_eq!(try_launch(b"\0", &[Str(0)], &mut [0; 1], &[]), EINVAL);
    assert_eq!(try_launch(b"\0", &[END], &mut [], &[]), EINVAL);
    assert_eq!(try_launch(b"\0", &[], &mut [], &[0; 7]), EINVAL);
}

#[test]
fn flags_that_make_no_namespace_are_refused() {
    let mut plan = LaunchPlan {
        steps: &[],
        strings: &[0],
        words: &[],
        pointers: &mut [],
        numbers: &[],
        filter: &[],
        fds: &mut [],
        keep: &[],
        channel: -1,
        pids: None,
        trace: &[],
    };
    // CLONE_VM would share our memory with the child.
    assert_eq!(launch(&mut plan, 0x100, -1), Err(22));
}
