//! PortForward: prepares connections to ports of a pod.

use std::path::PathBuf;

use super::Service;
use crate::{
    domain::Id,
    error::Error,
    state::PodState,
    streaming::{PortForwardRequest, Request},
};

/// Most ports of one stream: a channel's number is a byte, each port has two, and 255 is taken.
const MOST: usize = 127;

impl Service {
    /// Answers the URL of the stream. Without ports the client names them when it connects.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::NotFound`], [`Error::State`]; [`Error::Busy`].
    pub(crate) fn port_forward(&self, pod: &str, ports: &[i32]) -> Result<String, Error> {
        let invalid = |field: String, why: String| Error::InvalidField { field, why };
        if ports.len() > MOST {
            let why = format!(
                "has {} ports: at most {MOST} fit in one stream",
                ports.len()
            );
            return Err(invalid("port".to_owned(), why));
        }
        let checked = ports.iter().enumerate().map(|(at, port)| {
            let fits = u16::try_from(*port).ok().filter(|port| *port > 0);
            fits.ok_or_else(|| {
                let why = format!("is {port}: a port is a number from 1 to 65535");
                invalid(format!("port[{at}]"), why)
            })
        });
        let ports = checked.collect::<Result<Vec<u16>, Error>>()?;
        let pod = self.pods.resolve(pod)?;
        // It is looked at again when the client comes.
        self.network_of(pod.id())?;
        self.streaming.url(Request::PortForward(PortForwardRequest {
            pod: pod.id().clone(),
            ports,
        }))
    }

    /// The pin of a running pod's network namespace; `None`: it is the host's.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::State`].
    pub(crate) fn network_of(&self, pod: &Id) -> Result<Option<PathBuf>, Error> {
        let pod = self.pods.resolve(pod.as_str())?;
        if pod.state() != PodState::Ready {
            return Err(pod.not("is not ready"));
        }
        Ok((!pod.facts().host_network()).then(|| pod.netns_path()))
    }
}
