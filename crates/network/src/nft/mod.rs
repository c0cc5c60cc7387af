//! The rules of the built-in network: one nftables table of our own, by netlink, in process.
//!
//! ```text
//! table inet <name>
//!   pods4 pods6          sets   address of a pod
//!   any4  any6           maps   protocol . port            → pod's address . port
//!   on4   on6            maps   host address . proto . port → pod's address . port
//!   guard       filter prerouting raw     from the bridge to 127/8: drop (route_localnet is on there)
//!   prerouting  nat    prerouting dstnat  to an address of this host: jump ports
//!   output      nat    output     dstnat  the same, for what the host itself sends
//!   ports                                 dnat by on4, any4; by on6, any6 unless to ::1
//!   postrouting nat    postrouting srcnat masquerade what pods send out of the bridge's reach,
//!                                         what comes back by a published port, the host's loopback
//! ```
//! Rules are the same for no pod and for a thousand: pods are elements of the sets and maps.
//! Everything goes in atomic batches. Each batch says which generation of the kernel's rules it was
//! made for; when somebody else has changed rules meanwhile, the whole table is made anew, in one
//! batch too: so a flushed rule set is mended with the next pod.

mod expr;
mod table;

use rustix::io::Errno;

use crate::netlink::{
    message::{Message, attributes},
    socket::Socket,
};

pub(crate) use table::Element;

/// `NFNL_SUBSYS_NFTABLES`, as the upper byte of a message's type and in the batch's frame.
const SUBSYSTEM: u16 = 10 << 8;
const GETGEN: u16 = 16;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// How often a batch is made anew because somebody else was faster.
const TRIES: usize = 8;
/// `ERESTART`: the generation is another one.
const RESTART: Errno = Errno::from_raw_os_error(85);

/// The table of one daemon.
#[derive(Debug)]
pub(crate) struct Table {
    name: String,
    bridge: String,
    /// The kernel's generation after our last batch; `None`: look at the whole first.
    generation: Option<u32>,
    /// Open from the first batch on: closing it after a removal waits for the kernel's clean-up, some
    /// 6 ms. It goes with any error, and with it what may still come as an answer.
    socket: Option<Socket>,
}

impl Table {
    /// Nothing is done yet.
    pub(crate) fn new(name: &str, bridge: &str) -> Table {
        Table {
            name: name.to_owned(),
            bridge: bridge.to_owned(),
            generation: None,
            socket: None,
        }
    }

    /// Makes the table anew with exactly these elements.
    ///
    /// # Errors
    /// The kernel's; the old table is whole then.
    pub(crate) fn replace(&mut self, elements: &[Element]) -> Result<(), Errno> {
        let mut result = Err(RESTART);
        for _ in 0..TRIES {
            let generation = self.generation()?;
            let messages = table::whole(&self.name, &self.bridge, elements);
            result = self.commit(messages, Some(generation));
            if result != Err(RESTART) {
                self.generation = result.is_ok().then(|| generation.wrapping_add(1));
                break;
            }
        }
        result
    }

    /// Adds `new` where the kernel's rules are as we left them; else, all of `elements`, which has
    /// `new` in it.
    ///
    /// # Errors
    /// The kernel's; nothing is changed then.
    pub(crate) fn add(&mut self, new: &[Element], elements: &[Element]) -> Result<(), Errno> {
        let messages = table::add(&self.name, new);
        self.change(messages, elements)
    }

    /// Takes `old` away where the kernel's rules are as we left them; else makes the table anew with
    /// `elements`, which has `old` no more.
    ///
    /// # Errors
    /// The kernel's; nothing is changed then.
    pub(crate) fn remove(&mut self, old: &[Element], elements: &[Element]) -> Result<(), Errno> {
        let messages = table::remove(&self.name, old);
        self.change(messages, elements)
    }

    /// Removes the table.
    ///
    /// # Errors
    /// The kernel's; no table is success.
    pub(crate) fn delete(&mut self) -> Result<(), Errno> {
        self.generation = None;
        let messages = table::delete(&self.name);
        self.commit(messages, None)
    }

    /// Makes the table anew if anybody has changed rules since our last batch.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn check(&mut self, elements: &[Element]) -> Result<(), Errno> {
        if let Some(ours) = self.generation
            && ours == self.generation()?
        {
            return Ok(());
        }
        self.replace(elements)
    }

    fn change(&mut self, messages: Vec<Message>, elements: &[Element]) -> Result<(), Errno> {
        if let Some(generation) = self.generation.take()
            && self.commit(messages, Some(generation)).is_ok()
        {
            self.generation = Some(generation.wrapping_add(1));
            return Ok(());
        }
        self.replace(elements)
    }

    /// The generation of the rules in this network namespace: each change by anybody makes it grow.
    fn generation(&mut self) -> Result<u32, Errno> {
        let message = Message::new(SUBSYSTEM | GETGEN, 0, &[0, 0, 0, 0]);
        let answer = self.within_socket(|socket| socket.ask(message, false))?;
        let body = answer.first().and_then(|body| body.get(4..));
        let id = body.and_then(|body| attributes(body).find(|(kind, _)| *kind == 1));
        let bytes = id.and_then(|(_, data)| data.get(0..4)?.try_into().ok());
        bytes.map(u32::from_be_bytes).ok_or(Errno::PROTO)
    }

    /// Sends a batch; with a generation it is refused when that is not the present one.
    fn commit(&mut self, messages: Vec<Message>, generation: Option<u32>) -> Result<(), Errno> {
        let frame = |kind| Message::new(kind, 0, &[0, 0, 0, 10]);
        let mut begin = frame(BATCH_BEGIN);
        if let Some(generation) = generation {
            begin = begin.big(1, generation);
        }
        let mut batch = vec![begin];
        batch.extend(messages);
        // The answer to the last one comes when the whole is committed.
        if let Some(last) = batch.pop() {
            batch.push(last.acknowledged());
        }
        batch.push(frame(BATCH_END));
        self.within_socket(|socket| socket.batch(batch))
    }

    fn within_socket<T>(
        &mut self,
        talk: impl FnOnce(&Socket) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::netfilter()?,
        };
        let said = talk(&socket);
        self.socket = said.is_ok().then_some(socket);
        said
    }
}
