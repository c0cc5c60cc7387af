//! The built-in network of one daemon.
//!
//! ```text
//! reserve   addresses and ports, in memory            ┐ the caller writes the lease down here
//! attach    bridge (made or mended) ─► pair ─► rules   ┘
//! detach    rules ─► pair
//! release   addresses and ports, in memory            ┐ the caller has removed what it wrote
//!                                                     ┘
//! adopt     what was written, after a restart ─► start: bridge, rules of all, strays removed
//! ```
//! Each step may be repeated. All calls block, for milliseconds; none waits for anything but the
//! kernel. One lock guards the books and the table's batches, which the kernel takes one after the
//! other in any case; pairs are made outside of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    Cidr, Error, Lease, Port, Settings,
    bridge::{self, Bridge},
    conntrack,
    ipam::Pool,
    lease::Address,
    listening,
    netlink::socket::Socket,
    nft::{Element, Table},
    sysctl, veth,
};

/// The built-in network.
#[derive(Debug)]
pub struct Network {
    settings: Settings,
    /// Who made the bridge: the daemon's state directory.
    owner: String,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    ipv4: Option<Pool>,
    ipv6: Option<Pool>,
    /// By pod's id.
    pods: BTreeMap<String, Held>,
    table: Table,
    bridge: Option<Bridge>,
}

#[derive(Debug)]
struct Held {
    lease: Lease,
    /// For errors: "pod default/web (…)".
    label: String,
    /// Whether it has, or may have, elements in the table.
    attached: bool,
}

impl Books {
    fn subnets(&self) -> Vec<Cidr> {
        let pools = self.ipv4.iter().chain(&self.ipv6);
        let mut subnets: Vec<Cidr> = pools.map(Pool::subnet).collect();
        for address in self
            .pods
            .values()
            .flat_map(|held| held.lease.with_subnets())
        {
            if !subnets.contains(&address.subnet) {
                subnets.push(address.subnet);
            }
        }
        subnets
    }

    fn elements(&self) -> Vec<Element> {
        let attached = self.pods.values().filter(|held| held.attached);
        attached.flat_map(|held| Element::of(&held.lease)).collect()
    }

    fn interfaces(&self) -> BTreeSet<String> {
        self.pods
            .values()
            .map(|held| held.lease.interface.clone())
            .collect()
    }
}

impl Network {
    /// The network of the daemon `owner` (its state directory). Nothing is done yet.
    pub fn new(settings: Settings, owner: impl Into<String>) -> Network {
        let table = Table::new(settings.table.as_str(), settings.bridge.as_str());
        let network = Network {
            owner: owner.into(),
            books: Mutex::new(Books {
                ipv4: None,
                ipv6: None,
                pods: BTreeMap::new(),
                table,
                bridge: None,
            }),
            settings,
        };
        network.set_subnets(None, None);
        network
    }

    /// What the operator decided.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Subnets of new pods from now on; `None` for both: those of the settings. Pods keep what they
    /// have. The bridge follows with the next pod.
    pub fn set_subnets(&self, ipv4: Option<Cidr>, ipv6: Option<Cidr>) {
        let (ipv4, mut ipv6) = match (ipv4, ipv6) {
            (None, None) => (self.settings.ipv4, self.settings.ipv6),
            said => said,
        };
        if ipv6.is_some() && !sysctl::has_ipv6() {
            tracing::warn!("this kernel has no IPv6: pods get IPv4 addresses only");
            ipv6 = None;
        }
        let mut books = self.books();
        let pool = |subnet: Option<Cidr>| {
            let mut pool = Pool::new(subnet?);
            for held in books.pods.values() {
                held.lease.addresses().for_each(|ip| pool.note(ip));
            }
            Some(pool)
        };
        let pools = (pool(ipv4), pool(ipv6));
        (books.ipv4, books.ipv6) = pools;
        books.bridge = None;
    }

    /// The subnets that new pods get addresses from.
    pub fn subnets(&self) -> Vec<Cidr> {
        let books = self.books();
        books
            .ipv4
            .iter()
            .chain(&books.ipv6)
            .map(Pool::subnet)
            .collect()
    }

    /// Takes addresses and ports for a pod. A pod that has them already gets the same.
    ///
    /// # Errors
    /// [`Error::Exhausted`], [`Error::PortTaken`], [`Error::PortInUse`], [`Error::NoAddress`].
    pub fn reserve(&self, pod: &str, label: &str, ports: &[Port]) -> Result<Lease, Error> {
        let mut books = self.books();
        if let Some(held) = books.pods.get(pod) {
            return Ok(held.lease.clone());
        }
        for port in ports {
            let has = |held: &&Held| held.lease.ports.iter().any(|other| port.overlaps(other));
            if let Some(held) = books.pods.values().find(has) {
                return Err(Error::PortTaken {
                    port: port.to_string(),
                    holder: held.label.clone(),
                });
            }
            let versions = [(true, books.ipv4.is_some()), (false, books.ipv6.is_some())];
            if let Some(host_ip) = port.host_ip
                && versions.contains(&(host_ip.is_ipv4(), false))
            {
                return Err(Error::NoAddress {
                    port: port.to_string(),
                    host_ip,
                });
            }
            listening::check(port)?;
        }
        let ipv4 = books.ipv4.as_mut().map(Pool::take).transpose()?;
        let ipv6 = match books.ipv6.as_mut().map(Pool::take).transpose() {
            Ok(ipv6) => ipv6,
            Err(error) => {
                give_back(&mut books, ipv4);
                return Err(error);
            }
        };
        let lease = Lease {
            interface: veth::name(pod),
            ipv4,
            ipv6,
            ports: ports.to_vec(),
        };
        let held = Held {
            lease: lease.clone(),
            label: label.to_owned(),
            attached: false,
        };
        books.pods.insert(pod.to_owned(), held);
        Ok(lease)
    }

    /// Notes what a pod had before a restart.
    pub fn adopt(&self, pod: &str, label: &str, lease: Lease) {
        let mut books = self.books();
        let Books { ipv4, ipv6, .. } = &mut *books;
        for pool in ipv4.iter_mut().chain(ipv6) {
            lease.addresses().for_each(|ip| pool.note(ip));
        }
        let held = Held {
            lease,
            label: label.to_owned(),
            attached: true,
        };
        books.pods.insert(pod.to_owned(), held);
    }

    /// Sets right what the last daemon left, after everything was adopted: bridge and rules for the
    /// pods that are there, and nothing for others. On a host where no pod ever was, nothing is done.
    ///
    /// # Errors
    /// Whatever keeps pods from having a network; pods that run keep what they have.
    pub fn start(&self) -> Result<(), Error> {
        let socket = route_socket()?;
        let mut books = self.books();
        let name = self.settings.bridge.as_str();
        let link = crate::netlink::route::find_link(&socket, name)
            .map_err(Error::kernel(format!("look at bridge {name}")))?;
        if link.is_none() && books.pods.is_empty() {
            return Ok(());
        }
        let bridge = self.prepare(&socket, &mut books)?;
        bridge::sweep(&socket, bridge.index, &books.interfaces())?;
        Ok(())
    }

    /// Whether pods can have a network now. With pods: what somebody has taken away of the bridge
    /// and the rules is put back. Without: a look that changes nothing.
    ///
    /// # Errors
    /// What keeps pods from it.
    pub fn tend(&self) -> Result<(), Error> {
        let socket = route_socket()?;
        let mut books = self.books();
        if !books.pods.values().any(|held| held.attached) {
            return bridge::check(&socket, &self.settings, &self.owner, &books.subnets());
        }
        match books.bridge {
            Some(bridge) if bridge::is_there(&socket, self.settings.bridge.as_str(), bridge)? => {
                let elements = books.elements();
                books
                    .table
                    .check(&elements)
                    .map_err(Error::kernel(self.table_act()))
            }
            _ => self.prepare(&socket, &mut books).map(|_| ()),
        }
    }

    /// Connects a pod whose namespace is pinned at `pin`, as [`Network::reserve`] decided.
    ///
    /// # Errors
    /// The step that failed; [`Network::detach`] takes back what there may be.
    pub fn attach(&self, pod: &str, pin: &Path, lease: &Lease) -> Result<(), Error> {
        let socket = route_socket()?;
        let bridge = {
            let mut books = self.books();
            match books.bridge {
                Some(bridge)
                    if bridge::is_there(&socket, self.settings.bridge.as_str(), bridge)? =>
                {
                    bridge
                }
                _ => self.prepare(&socket, &mut books)?,
            }
        };
        veth::create(&socket, pin, bridge, lease)?;
        sys::failpoint!("network.rules.before");
        let mut books = self.books();
        if let Some(held) = books.pods.get_mut(pod) {
            held.attached = true;
        }
        let all = books.elements();
        books
            .table
            .add(&Element::of(lease), &all)
            .map_err(Error::kernel("add the pod to the nftables table"))?;
        drop(books);
        forget_flows(lease);
        sys::failpoint!("network.rules.after");
        Ok(())
    }

    /// Takes away what [`Network::attach`] made, whole or in part.
    ///
    /// # Errors
    /// The kernel's; the call can be repeated.
    pub fn detach(&self, pod: &str, lease: &Lease) -> Result<(), Error> {
        sys::failpoint!("network.detach.before");
        let mut books = self.books();
        if let Some(held) = books.pods.get_mut(pod)
            && std::mem::take(&mut held.attached)
        {
            let all = books.elements();
            let removed = books.table.remove(&Element::of(lease), &all);
            if let Err(error) = removed {
                if let Some(held) = books.pods.get_mut(pod) {
                    held.attached = true;
                }
                return Err(Error::kernel("take the pod out of the nftables table")(
                    error,
                ));
            }
        }
        drop(books);
        forget_flows(lease);
        sys::failpoint!("network.detach.rules");
        veth::delete(&route_socket()?, &lease.interface)?;
        sys::failpoint!("network.detach.after");
        Ok(())
    }

    /// Gives addresses and ports back; a pod that has none is success.
    pub fn release(&self, pod: &str) {
        let mut books = self.books();
        if let Some(held) = books.pods.remove(pod) {
            for address in held.lease.with_subnets() {
                give_back(&mut books, Some(address));
            }
        }
    }

    /// Removes bridge and rules. For tests and for taking Coffer off a host; pods must be gone.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self) -> Result<(), Error> {
        let mut books = self.books();
        books.bridge = None;
        books
            .table
            .delete()
            .map_err(Error::kernel("delete the nftables table"))?;
        veth::delete(&route_socket()?, self.settings.bridge.as_str())
    }

    /// Bridge and rules for all pods that are known.
    fn prepare(&self, socket: &Socket, books: &mut Books) -> Result<Bridge, Error> {
        let subnets = books.subnets();
        let bridge = bridge::prepare(
            socket,
            &self.settings,
            &self.owner,
            &subnets,
            &books.interfaces(),
        )?;
        sys::failpoint!("network.table.before");
        let elements = books.elements();
        books
            .table
            .replace(&elements)
            .map_err(Error::kernel(self.table_act()))?;
        sys::failpoint!("network.table.after");
        books.bridge = Some(bridge);
        Ok(bridge)
    }

    fn table_act(&self) -> String {
        format!("make the nftables table {}", self.settings.table)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn give_back(books: &mut Books, address: Option<Address>) {
    let Some(address) = address else { return };
    let Books { ipv4, ipv6, .. } = books;
    for pool in ipv4.iter_mut().chain(ipv6) {
        pool.give_back(address.ip);
    }
}

/// A kernel that cannot forget flows has published ports all the same.
fn forget_flows(lease: &Lease) {
    if let Err(error) = conntrack::forget(lease) {
        tracing::warn!(
            %error,
            interface = lease.interface,
            "flows of UDP to published ports could not be forgotten: clients that go on sending \
             may be sent to a pod that is gone, until they pause for half a minute"
        );
    }
}

fn route_socket() -> Result<Socket, Error> {
    Socket::route().map_err(Error::kernel("open a netlink socket"))
}
