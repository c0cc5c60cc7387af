//! What child and parent say on the channel, a SOCK_SEQPACKET pair: one packet, one message.
//!
//! ```text
//! child ─► parent   16 bytes, four u32 in the machine's order: kind, step, errno or value, act
//! parent ─► child   1 byte: go on. End of file: the parent is gone or has given up.
//! ```
//! The channel's end is close-on-exec: end of file without `Failed` means that the program runs.

/// Bytes of a [`Message`].
pub const MESSAGE_SIZE: usize = 16;

/// Kinds of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// The step failed; the child is ending.
    Failed = 1,
    /// The intermediate's child; `value` is its pid as we see it.
    Forked = 2,
    /// [`crate::Sync`] in `value`; the child waits.
    Sync = 3,
    /// The child waits at the gate.
    Ready = 4,
    /// A pty's master comes with it.
    Console = 5,
    /// Two descriptors come with it: copy the directory tree of the first into the second; the child
    /// waits.
    CopyUp = 6,
    /// `value` is the child's number of its seccomp listener; the child waits until it was taken.
    Listener = 7,
    /// A detached tree comes with it, whose ids are to be mapped; the child waits.
    MapIds = 8,
}

/// Which part of a step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "each is named for its act")]
pub enum Act {
    /// The step's only or main call.
    Itself = 0,
    Resolve = 1,
    MakeParent = 2,
    MakeTarget = 3,
    FsOpen = 4,
    FsConfig = 5,
    FsCreate = 6,
    FsMount = 7,
    Move = 8,
    SetAttr = 9,
    Clone = 10,
    Chown = 11,
    Chmod = 12,
    Exists = 13,
    Unmount = 14,
    OutsideRoot = 15,
    NotNull = 16,
    OpenPtmx = 17,
    Unlock = 18,
    OpenPeer = 19,
    WindowSize = 20,
    Send = 21,
    BindConsole = 22,
    ControllingTty = 23,
    Dup = 24,
    Groups = 25,
    Gid = 26,
    KeepCaps = 27,
    Uid = 28,
    Capset = 29,
    Ambient = 30,
    /// `errno` is a wait status of a hook.
    HookStatus = 31,
    HookTimeout = 32,
    HookExec = 33,
    ParentGone = 34,
    Open = 35,
    Write = 36,
    /// `errno` counts the entries of PATH that were denied.
    NotInPath = 37,
    IsDirectory = 38,
    /// A mount on a link in a procfs.
    InProc = 39,
}

impl Act {
    /// All acts, by number.
    pub const ALL: [Self; 40] = [
        Self::Itself,
        Self::Resolve,
        Self::MakeParent,
        Self::MakeTarget,
        Self::FsOpen,
        Self::FsConfig,
        Self::FsCreate,
        Self::FsMount,
        Self::Move,
        Self::SetAttr,
        Self::Clone,
        Self::Chown,
        Self::Chmod,
        Self::Exists,
        Self::Unmount,
        Self::OutsideRoot,
        Self::NotNull,
        Self::OpenPtmx,
        Self::Unlock,
        Self::OpenPeer,
        Self::WindowSize,
        Self::Send,
        Self::BindConsole,
        Self::ControllingTty,
        Self::Dup,
        Self::Groups,
        Self::Gid,
        Self::KeepCaps,
        Self::Uid,
        Self::Capset,
        Self::Ambient,
        Self::HookStatus,
        Self::HookTimeout,
        Self::HookExec,
        Self::ParentGone,
        Self::Open,
        Self::Write,
        Self::NotInPath,
        Self::IsDirectory,
        Self::InProc,
    ];
}

/// One message of the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// What it says.
    pub kind: Kind,
    /// Index of the step.
    pub step: u32,
    /// errno, pid or [`crate::Sync`], by kind.
    pub value: u32,
    /// Part of the step.
    pub act: Act,
}

impl Message {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; MESSAGE_SIZE] {
        let [a, b, c, d] =
            [self.kind as u32, self.step, self.value, self.act as u32].map(u32::to_ne_bytes);
        let mut bytes = [0; MESSAGE_SIZE];
        for (to, from) in bytes.iter_mut().zip(a.iter().chain(&b).chain(&c).chain(&d)) {
            *to = *from;
        }
        bytes
    }

    /// From bytes; `None` for what no child says.
    #[must_use]
    pub fn from_bytes(bytes: [u8; MESSAGE_SIZE]) -> Option<Self> {
        let word = |i: usize| -> Option<u32> {
            let mut word = [0; 4];
            word.copy_from_slice(bytes.get(i * 4..i * 4 + 4)?);
            Some(u32::from_ne_bytes(word))
        };
        let kind = match word(0)? {
            1 => Kind::Failed,
            2 => Kind::Forked,
            3 => Kind::Sync,
            4 => Kind::Ready,
            5 => Kind::Console,
            6 => Kind::CopyUp,
            7 => Kind::Listener,
            8 => Kind::MapIds,
            _ => return None,
        };
        let act = *Act::ALL.get(usize::try_from(word(3)?).ok()?)?;
        Some(Self {
            kind,
            step: word(1)?,
            value: word(2)?,
            act,
        })
    }
}
