//! Events: what the bus remembers, then what happens, for as long as the client listens.

use std::sync::Arc;

use cri_api::node::{Event as Wire, EventsRequest};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::{Answer, Answers};
use crate::{
    events::{Bus, Event, Forgotten},
    service::Service,
};

/// Events that wait for the client; more wait in the bus, or are forgotten there.
const WAITING: usize = 16;

pub(super) async fn events(service: &Service, request: EventsRequest) -> Answer<Answers<Wire>> {
    let bus = service.events.clone();
    let newest = bus.newest();
    let (first, at) = beginning(&bus, &request).map_err(|gone| forgotten(request.after, gone))?;
    let (client, events) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        for event in first {
            if client.send(Ok(wire(&event))).await.is_err() {
                return;
            }
        }
        if request.follow {
            // Either the client is gone, or it hears why there is no more.
            if let Err(status) = follow(&bus, newest, at, &client).await {
                let _ = client.send(Err(status)).await;
            }
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(events))))
}

/// What there is to tell now, and the number after which it goes on.
fn beginning(bus: &Bus, request: &EventsRequest) -> Result<(Vec<Arc<Event>>, u64), Forgotten> {
    let (mut first, at) = if request.snapshot {
        let (all, at) = bus.snapshot();
        (all.into_iter().map(Arc::new).collect(), at)
    } else {
        (Vec::new(), 0)
    };
    let remembered = match (request.after, request.snapshot) {
        // A snapshot says what they have led to.
        (0, true) => Vec::new(),
        (0, false) => bus.remembered(),
        (after, _) => bus.after(after)?,
    };
    let at = remembered
        .last()
        .map_or(at.max(request.after), |event| event.seq);
    first.extend(remembered);
    Ok((first, at))
}

async fn follow(
    bus: &Bus,
    mut newest: watch::Receiver<u64>,
    mut at: u64,
    client: &mpsc::Sender<Result<Wire, Status>>,
) -> Result<(), Status> {
    loop {
        for event in bus.after(at).map_err(|gone| forgotten(at, gone))? {
            at = event.seq;
            if client.send(Ok(wire(&event))).await.is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            changed = newest.wait_for(|newest| *newest > at) => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            () = client.closed() => return Ok(()),
        }
    }
}

fn forgotten(after: u64, gone: Forgotten) -> Status {
    let Forgotten { oldest, newest } = gone;
    Status::out_of_range(if after > newest {
        format!(
            "there is no event {after}: the newest is {newest}, because the daemon has started \
             since; ask for a snapshot"
        )
    } else {
        format!(
            "events after {after} are forgotten: the oldest that is remembered is {oldest}; ask \
             for a snapshot"
        )
    })
}

fn wire(event: &Event) -> Wire {
    Wire {
        seq: event.seq,
        at_ns: event.at_ns,
        kind: event.kind.word().to_owned(),
        action: event.action.word().to_owned(),
        id: event.id.clone(),
        name: event.name.clone(),
        pod_id: event.pod_id.clone(),
        pod_name: event.pod_name.clone(),
        attributes: event
            .attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    }
}
