//! What a pod has sent and received, as the kernel counts it for the pod's interfaces.

use std::{io, path::Path};

use crate::within;

/// Counters of one interface since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// Its name in the pod.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets that arrived broken.
    pub rx_errors: u64,
    /// Packets that arrived and were dropped.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets that were dropped instead of being sent.
    pub tx_dropped: u64,
}

/// The counters of all interfaces but loopback in the namespace pinned at `pin`; `eth0` is a pod's
/// main one. Takes about 50 µs; blocks.
///
/// # Errors
/// ENOENT when nothing is pinned there; the kernel's.
pub fn stats(pin: &Path) -> io::Result<Vec<InterfaceStats>> {
    let table = within::within(within::open(pin)?, || {
        std::fs::read_to_string("/proc/thread-self/net/dev")
    })??;
    Ok(parse(&table))
}

/// `/proc/net/dev`: two lines of headings, then `name: 8 numbers received, 8 numbers sent`.
fn parse(table: &str) -> Vec<InterfaceStats> {
    let interface = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers
            .split_ascii_whitespace()
            .map_while(|number| number.parse().ok())
            .collect();
        Some(InterfaceStats {
            name: name.trim().to_owned(),
            rx_bytes: *numbers.first()?,
            rx_packets: *numbers.get(1)?,
            rx_errors: *numbers.get(2)?,
            rx_dropped: *numbers.get(3)?,
            tx_bytes: *numbers.get(8)?,
            tx_packets: *numbers.get(9)?,
            tx_errors: *numbers.get(10)?,
            tx_dropped: *numbers.get(11)?,
        })
    };
    let all = table.lines().skip(2).filter_map(interface);
    all.filter(|interface| interface.name != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n  \
eth0: 123456     90    1    3    0     0          0         0     6543      80    2    4    0     0       0          0\n";
        let expected = InterfaceStats {
            name: "eth0".to_owned(),
            rx_bytes: 123_456,
            rx_packets: 90,
            rx_errors: 1,
            rx_dropped: 3,
            tx_bytes: 6543,
            tx_packets: 80,
            tx_errors: 2,
            tx_dropped: 4,
        };
        assert_eq!(parse(table), [expected]);
        assert_eq!(parse("nonsense"), []);
    }
}
