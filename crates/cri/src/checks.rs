//! What both versions of CRI check in the same way, on what has become domain types already.

use crate::{
    domain::{ContainerMetadata, ImageSpec, PodMetadata},
    error::Error,
};

/// Why SELinux options are refused.
pub(crate) const NO_SELINUX: &str = "SELinux labels can't be set yet";

/// A field has a value that makes no sense.
pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> Error {
    Error::InvalidField {
        field: field.into(),
        why: why.into(),
    }
}

/// A field asks for something that is not there yet.
pub(crate) fn unsupported(field: impl Into<String>, why: impl Into<String>) -> Error {
    Error::Unsupported {
        field: field.into(),
        why: why.into(),
    }
}

/// An enumeration has a number without a name.
pub(crate) fn unknown(field: impl Into<String>, value: i32) -> Error {
    invalid(field, format!("has the unknown value {value}"))
}

/// A message that must be there.
///
/// # Errors
/// [`Error::InvalidField`] when it is not.
pub(crate) fn present<T>(field: &str, message: Option<T>) -> Result<T, Error> {
    message.ok_or_else(|| invalid(field, "is missing"))
}

/// A pod's identity: no part but the attempt may be empty.
///
/// # Errors
/// [`Error::InvalidField`].
pub(crate) fn pod_metadata(metadata: PodMetadata) -> Result<PodMetadata, Error> {
    for (field, value) in [
        ("name", &metadata.name),
        ("uid", &metadata.uid),
        ("namespace", &metadata.namespace),
    ] {
        if value.is_empty() {
            return Err(invalid(format!("config.metadata.{field}"), "is empty"));
        }
    }
    Ok(metadata)
}

/// A container's identity: the name may not be empty.
///
/// # Errors
/// [`Error::InvalidField`].
pub(crate) fn container_metadata(metadata: ContainerMetadata) -> Result<ContainerMetadata, Error> {
    if metadata.name.is_empty() {
        return Err(invalid("config.metadata.name", "is empty"));
    }
    Ok(metadata)
}

/// An image that is asked for: it has a name, and no other handler than the one there is.
///
/// # Errors
/// [`Error::InvalidField`], [`Error::Unsupported`].
pub(crate) fn image_spec(field: &str, spec: ImageSpec) -> Result<ImageSpec, Error> {
    if spec.image.is_empty() {
        return Err(invalid(format!("{field}.image"), "is empty"));
    }
    if !spec.runtime_handler.is_empty() {
        let why = format!(
            "there is no handler {:?}; only \"\" is",
            spec.runtime_handler
        );
        return Err(unsupported(format!("{field}.runtime_handler"), why));
    }
    Ok(spec)
}

/// A port number of the port mapping at place `at`.
///
/// # Errors
/// [`Error::InvalidField`].
pub(crate) fn port(at: usize, name: &str, value: i32) -> Result<u16, Error> {
    let field = format!("config.port_mappings[{at}].{name}");
    u16::try_from(value).map_err(|_| invalid(field, format!("is {value}, not a port")))
}
