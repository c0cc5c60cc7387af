//! PruneImages, PinImage, VerifyImage.

use cri_api::node::{
    PinImageRequest, PinImageResponse, PruneImagesRequest, PruneImagesResponse, VerifyImageRequest,
    VerifyImageResponse,
};

use super::{Answer, import::image_to_wire};
use crate::{service::Service, v1::status::told};

pub(super) async fn prune(
    service: &Service,
    request: PruneImagesRequest,
) -> Answer<PruneImagesResponse> {
    told(service.prune_images(request.all).await, |pruned| {
        PruneImagesResponse {
            images: pruned.images.into_iter().map(image_to_wire).collect(),
            freed_bytes: pruned.bytes,
        }
    })
}

pub(super) async fn pin(service: &Service, request: PinImageRequest) -> Answer<PinImageResponse> {
    let pinned = service.pin_image(request.image, request.pinned).await;
    told(pinned, |()| PinImageResponse {})
}

pub(super) async fn verify(
    service: &Service,
    request: VerifyImageRequest,
) -> Answer<VerifyImageResponse> {
    told(service.verify_image(request.image).await, |problems| {
        VerifyImageResponse { problems }
    })
}
