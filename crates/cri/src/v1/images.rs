//! `runtime.v1.ImageService`: each call converts, asks the service, converts back.

use cri_api::v1::{self as wire, image_service_server::ImageService};
use tonic::{Request, Response, Status};

use super::{
    answer,
    chunks::{self, Chunks},
    convert,
    status::{self, told},
};
use crate::service::Service;

/// The adapter.
#[derive(Debug, Clone)]
pub(crate) struct Images(pub(crate) Service);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ImageService for Images {
    type StreamImagesStream = Chunks<wire::StreamImagesResponse>;

    async fn stream_images(
        &self,
        request: Request<wire::StreamImagesRequest>,
    ) -> Answer<Self::StreamImagesStream> {
        let name = convert::image_filter(request.into_inner().filter);
        let name = name.map_err(|e| status::from(&e))?;
        told(self.0.list_images(&name).await, |images| {
            let images = images.iter().map(answer::image).collect();
            chunks::of(images, |images| wire::StreamImagesResponse { images })
        })
    }

    async fn list_images(
        &self,
        request: Request<wire::ListImagesRequest>,
    ) -> Answer<wire::ListImagesResponse> {
        let name = convert::image_filter(request.into_inner().filter);
        let name = name.map_err(|e| status::from(&e))?;
        let images = self
            .0
            .list_images(&name)
            .await
            .map_err(|e| status::from(&e))?;
        Ok(Response::new(wire::ListImagesResponse {
            images: images.iter().map(answer::image).collect(),
        }))
    }

    async fn image_status(
        &self,
        request: Request<wire::ImageStatusRequest>,
    ) -> Answer<wire::ImageStatusResponse> {
        let request = request.into_inner();
        let spec = convert::image_spec("image", request.image).map_err(|e| status::from(&e))?;
        let image = self
            .0
            .image_status(&spec.image)
            .await
            .map_err(|e| status::from(&e))?;
        Ok(Response::new(answer::image_status(
            image.as_ref(),
            request.verbose,
        )))
    }

    async fn pull_image(
        &self,
        request: Request<wire::PullImageRequest>,
    ) -> Answer<wire::PullImageResponse> {
        let request = request.into_inner();
        let pull = convert::pull(request).map_err(|e| status::from(&e))?;
        let pulled = self.0.pull_image(pull, None).await;
        let image = pulled.map_err(|e| status::of_pull(&e))?;
        Ok(Response::new(wire::PullImageResponse {
            image_ref: image.id,
        }))
    }

    async fn remove_image(
        &self,
        request: Request<wire::RemoveImageRequest>,
    ) -> Answer<wire::RemoveImageResponse> {
        let spec = convert::image_spec("image", request.into_inner().image)
            .map_err(|e| status::from(&e))?;
        self.0
            .remove_image(&spec.image)
            .await
            .map_err(|e| status::from(&e))?;
        Ok(Response::new(wire::RemoveImageResponse {}))
    }

    async fn image_fs_info(
        &self,
        _: Request<wire::ImageFsInfoRequest>,
    ) -> Answer<wire::ImageFsInfoResponse> {
        let (images, containers) = self.0.image_fs_info().await.map_err(|e| status::from(&e))?;
        Ok(Response::new(wire::ImageFsInfoResponse {
            image_filesystems: vec![answer::fs_usage(&images)],
            container_filesystems: vec![answer::fs_usage(&containers)],
        }))
    }
}
