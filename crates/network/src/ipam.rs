//! Which addresses are in use, and which is next.
//!
//! Next-fit: an address that was given back is given out again as late as possible, so that what
//! still knows its last owner has time to forget. Only memory: leases on disk are what is true, and
//! a pool is filled from them.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{Cidr, Error, lease::Address};

/// Number of the first address that a pod can have; see [`Cidr::last`].
const FIRST: u64 = 2;

/// The addresses of a subnet.
#[derive(Debug)]
pub(crate) struct Pool {
    subnet: Cidr,
    used: BTreeSet<u64>,
    next: u64,
}

impl Pool {
    /// All are free.
    pub(crate) fn new(subnet: Cidr) -> Pool {
        Pool {
            subnet,
            used: BTreeSet::new(),
            next: FIRST,
        }
    }

    /// The subnet.
    pub(crate) fn subnet(&self) -> Cidr {
        self.subnet
    }

    /// Takes a free address.
    ///
    /// # Errors
    /// [`Error::Exhausted`].
    pub(crate) fn take(&mut self) -> Result<Address, Error> {
        let last = self.subnet.last();
        let free = |from: u64, to: u64| {
            let mut number = from;
            // Used numbers come in order: the first gap is free.
            for used in self.used.range(from..=to) {
                if *used != number {
                    break;
                }
                number += 1;
            }
            (number <= to).then_some(number)
        };
        let number =
            free(self.next, last)
                .or_else(|| free(FIRST, last))
                .ok_or(Error::Exhausted {
                    subnet: self.subnet,
                    count: last - FIRST + 1,
                })?;
        self.used.insert(number);
        self.next = if number == last { FIRST } else { number + 1 };
        Ok(Address {
            ip: self.subnet.nth(number),
            subnet: self.subnet,
        })
    }

    /// Notes that an address is in use; one of another subnet is none of ours.
    pub(crate) fn note(&mut self, address: IpAddr) {
        if let Some(number) = self.subnet.number_of(address)
            && number <= self.subnet.last()
        {
            self.used.insert(number);
            self.next = self.next.max(number + 1);
            if self.next > self.subnet.last() {
                self.next = FIRST;
            }
        }
    }

    /// Gives an address back; one that is free or of another subnet is none of ours.
    pub(crate) fn give_back(&mut self, address: IpAddr) {
        if let Some(number) = self.subnet.number_of(address) {
            self.used.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn pool(text: &str) -> Pool {
        Pool::new(text.parse().unwrap())
    }

    #[test]
    fn what_was_given_back_is_reused_last() {
        let mut pool = pool("10.0.0.0/29");
        let mut take = || pool.take().unwrap().ip.to_string();
        let taken = [take(), take(), take()];
        assert_eq!(taken, ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
        pool.give_back("10.0.0.2".parse().unwrap());
        let mut take = || pool.take().unwrap().ip.to_string();
        assert_eq!(
            [take(), take(), take()],
            ["10.0.0.5", "10.0.0.6", "10.0.0.2"]
        );
        let error = pool.take().unwrap_err().to_string();
        assert_eq!(
            error,
            "the pods' subnet 10.0.0.0/29 has no free address: all 5 are in use"
        );
    }

    #[test]
    fn the_smallest_subnet_has_one_address_for_a_pod() {
        let mut small = pool("10.0.0.0/30");
        assert_eq!(small.take().unwrap().to_string(), "10.0.0.2/30");
        assert!(small.take().is_err());
    }

    #[test]
    fn addresses_of_other_subnets_are_no_concern() {
        let mut pool = pool("10.0.0.0/30");
        for other in ["10.0.0.6", "fd00::2", "10.0.0.3"] {
            pool.note(other.parse().unwrap());
            pool.give_back(other.parse().unwrap());
        }
        assert!(pool.take().is_ok());
    }

    proptest! {
        /// Whatever is taken and given back: no address twice, none that pods can't have, and
        /// exhausted only when all are in use.
        #[test]
        fn no_address_is_given_twice(steps in prop::collection::vec(any::<Option<u8>>(), 1..200)) {
            let mut pool = pool("10.0.0.0/28");
            let mut held: BTreeSet<IpAddr> = BTreeSet::new();
            for step in steps {
                match step {
                    None => match pool.take() {
                        Ok(address) => {
                            prop_assert!(held.insert(address.ip), "{} twice", address.ip);
                            let number = address.subnet.number_of(address.ip).unwrap();
                            prop_assert!((2..=14).contains(&number));
                        }
                        Err(_) => prop_assert_eq!(held.len(), 13),
                    },
                    Some(which) if !held.is_empty() => {
                        let at = usize::from(which) % held.len();
                        let ip = *held.iter().nth(at).unwrap();
                        held.remove(&ip);
                        pool.give_back(ip);
                    }
                    Some(_) => {}
                }
            }
            // A pool that is filled from what is held goes on without a clash.
            let mut again = Pool::new(pool.subnet());
            for ip in &held {
                again.note(*ip);
            }
            while let Ok(address) = again.take() {
                prop_assert!(held.insert(address.ip));
            }
            prop_assert_eq!(held.len(), 13);
        }
    }
}
