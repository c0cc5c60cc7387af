//! PullImage: a reference in, layers as they come and the image out.

use std::time::Duration;

use cri_api::node::{
    LayerProgress, PullImageEvent, PullImageRequest, PullProgress, pull_image_event::Event,
};
use futures::{Stream, stream::unfold};
use tokio::sync::watch;
use tonic::{Response, Status};

use super::{Answer, Answers, import::image_to_wire};
use crate::{
    pulls::View,
    service::{PullRequest, Service},
    v1::status,
};

/// Between two reports of progress.
const STEP: Duration = Duration::from_millis(100);

#[expect(clippy::result_large_err, reason = "the transport's own type")]
pub(super) fn pull(
    service: &Service,
    request: PullImageRequest,
) -> Answer<Answers<PullImageEvent>> {
    let service = service.clone();
    let request = PullRequest {
        image: request.image,
        platform: Some(request.platform),
        auth: registry::Said {
            username: request.username,
            password: request.password,
            ..registry::Said::default()
        },
    };
    Ok(Response::new(Box::pin(events(service, request))))
}

/// Where a stream of events is. Dropping it drops the pull, which cancels it.
enum At {
    Pulling {
        pull: futures::future::BoxFuture<'static, Result<image::Image, crate::error::Error>>,
        view: watch::Receiver<View>,
    },
    /// The layers' last state has been told.
    Ending(Result<PullImageEvent, Status>),
    Ended,
}

fn events(
    service: Service,
    request: PullRequest,
) -> impl Stream<Item = Result<PullImageEvent, Status>> + Send {
    let (to, view) = watch::channel(View::new());
    let pull = Box::pin(async move { service.pull_image(request, Some(to)).await });
    unfold(At::Pulling { pull, view }, |at| async move {
        let (mut pull, mut view) = match at {
            At::Pulling { pull, view } => (pull, view),
            At::Ending(done) => return Some((done, At::Ended)),
            At::Ended => return None,
        };
        tokio::select! {
            // The end is told once, after what became of the layers: a quick pull has no other report.
            done = &mut pull => {
                let done = done
                    .map(|image| wire(Event::Done(image_to_wire(image))))
                    .map_err(|error| status::from(&error));
                if done.is_err() || view.borrow().is_empty() {
                    return Some((done, At::Ended));
                }
                Some((Ok(progress(&mut view)), At::Ending(done)))
            }
            () = next(&mut view) => Some((Ok(progress(&mut view)), At::Pulling { pull, view })),
        }
    })
}

fn progress(view: &mut watch::Receiver<View>) -> PullImageEvent {
    let layers = view.borrow_and_update().iter().map(layer).collect();
    wire(Event::Progress(PullProgress { layers }))
}

/// The next change, not sooner than a step from now.
async fn next(view: &mut watch::Receiver<View>) {
    tokio::time::sleep(STEP).await;
    if view.changed().await.is_err() {
        std::future::pending().await
    }
}

fn wire(event: Event) -> PullImageEvent {
    PullImageEvent { event: Some(event) }
}

fn layer(layer: &crate::pulls::LayerView) -> LayerProgress {
    LayerProgress {
        digest: layer.digest.clone(),
        total: layer.total,
        bytes: layer.bytes,
        done: layer.done,
        existed: layer.existed,
    }
}
