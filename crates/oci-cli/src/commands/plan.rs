//! `plan`: the steps that would launch a bundle, without doing any of them.

use super::{engine, print};
use crate::args::{Global, Plan};
use crate::bundle::Bundle;
use crate::error::Error;

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Plan) -> Result<i32, Error> {
    let bundle = Bundle::load(args.bundle.as_deref(), args.config.as_deref())?;
    let plan = engine(global)?
        .plan(&bundle.spec, &bundle.path)
        .map_err(|source| Error::Core {
            act: "plan the launch of",
            id: bundle.path.display().to_string(),
            source: Box::new(source),
        })?;
    print(&plan.to_string())?;
    Ok(0)
}
