//! coffer.v1's CopyIn and CopyOut as functions.

use cri_api::node::{
    CopyInHeader, CopyInRequest, CopyOutRequest, copy_in_request::Part, node_client::NodeClient,
};
use tokio_stream::StreamExt;

use super::pipe::{Reader, Writer, pipe};
use crate::{
    client::{Daemon, of},
    error::{CallKind, Error},
};

/// What a path in a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Directory,
    Other,
    Nothing,
}

/// Where a stream goes.
#[derive(Debug)]
pub(crate) struct InHeader {
    pub(crate) id: String,
    /// A directory that exists.
    pub(crate) directory: String,
    /// Everything belongs to the container's root instead of who the stream says.
    pub(crate) no_owner: bool,
}

/// What went in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopiedIn {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl Daemon {
    pub(crate) fn node(&self) -> NodeClient<tonic::transport::Channel> {
        NodeClient::new(self.channel())
    }

    /// Sends the tar stream of `path` into `to`, until its end or until nobody reads it.
    pub(crate) async fn copy_out(
        &self,
        what: &str,
        id: &str,
        path: &str,
        follow: bool,
        to: Writer,
    ) -> Result<(), Error> {
        let request = CopyOutRequest {
            container_id: id.to_owned(),
            path: path.to_owned(),
            follow_link: follow,
        };
        let answer = self.node().copy_out(request).await;
        let mut pieces = answer.map_err(of(what))?.into_inner();
        while let Some(piece) = pieces.message().await.map_err(of(what))? {
            if !to.send(piece.chunk).await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What `path` is: the first entry of its stream says it.
    pub(crate) async fn look(&self, what: &str, id: &str, path: &str) -> Result<Found, Error> {
        let (to, from) = pipe();
        let reading = tokio::task::spawn_blocking(move || first_is_directory(from));
        match self.copy_out(what, id, path, true, to).await {
            Ok(()) => {}
            Err(Error::Call {
                kind: CallKind::NotFound,
                ..
            }) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        }
        Ok(match reading.await.unwrap_or(None) {
            Some(true) => Found::Directory,
            Some(false) => Found::Other,
            None => Found::Nothing,
        })
    }

    /// Sends a tar stream into a container.
    pub(crate) async fn copy_in(
        &self,
        what: &str,
        header: InHeader,
        stream: Reader,
    ) -> Result<CopiedIn, Error> {
        let header = CopyInRequest {
            part: Some(Part::Header(CopyInHeader {
                container_id: header.id,
                path: header.directory,
                no_owner: header.no_owner,
            })),
        };
        let pieces = stream.pieces().map(|chunk| CopyInRequest {
            part: Some(Part::Chunk(chunk)),
        });
        let all = tokio_stream::once(header).chain(pieces);
        let answer = self.node().copy_in(all).await.map_err(of(what))?;
        let answer = answer.into_inner();
        Ok(CopiedIn {
            entries: answer.entries,
            bytes: answer.bytes,
        })
    }
}

/// Whether the first entry is a directory; `None` for an empty or broken stream. The rest is not read:
/// the sender notices.
fn first_is_directory(stream: Reader) -> Option<bool> {
    let mut archive = tar::Archive::new(stream);
    let first = archive.entries().ok()?.next()?.ok()?;
    Some(first.header().entry_type().is_dir())
}
