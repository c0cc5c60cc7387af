//! `runtime.ImageService`: each call converts, asks the service, converts back.

use cri_api::v1alpha1::{self as wire, image_service_server::ImageService};
use tonic::{Request, Response, Status};

use super::{answer, convert};
use crate::{service::Service, v1::status};

/// The adapter.
#[derive(Debug, Clone)]
pub(crate) struct Images(pub(crate) Service);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ImageService for Images {
    async fn list_images(
        &self,
        request: Request<wire::ListImagesRequest>,
    ) -> Answer<wire::ListImagesResponse> {
        let filter = request.into_inner().filter.and_then(|filter| filter.image);
        let name = filter.and_then(|spec| spec.image).unwrap_or_default();
        let images = self.0.list_images(&name).await;
        let images = images.map_err(|e| status::from(&e))?;
        Ok(Response::new(wire::ListImagesResponse {
            images: images.iter().map(answer::image).collect(),
        }))
    }

    async fn image_status(
        &self,
        request: Request<wire::ImageStatusRequest>,
    ) -> Answer<wire::ImageStatusResponse> {
        let spec = convert::image_spec("image", request.into_inner().image)
            .map_err(|e| status::from(&e))?;
        let image = self.0.image_status(&spec.image).await;
        let image = image.map_err(|e| status::from(&e))?;
        Ok(Response::new(wire::ImageStatusResponse {
            image: image.as_ref().map(answer::image),
        }))
    }

    async fn pull_image(
        &self,
        request: Request<wire::PullImageRequest>,
    ) -> Answer<wire::PullImageResponse> {
        let pull = convert::pull(request.into_inner()).map_err(|e| status::from(&e))?;
        let pulled = self.0.pull_image(pull, None).await;
        pulled.map_err(|e| status::from(&e))?;
        Ok(Response::new(wire::PullImageResponse {}))
    }

    async fn remove_image(
        &self,
        request: Request<wire::RemoveImageRequest>,
    ) -> Answer<wire::RemoveImageResponse> {
        let spec = convert::image_spec("image", request.into_inner().image)
            .map_err(|e| status::from(&e))?;
        let removed = self.0.remove_image(&spec.image).await;
        removed.map_err(|e| status::from(&e))?;
        Ok(Response::new(wire::RemoveImageResponse {}))
    }
}
