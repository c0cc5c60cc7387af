//! Imports an archive into a store and says how long it took: `import ROOT ARCHIVE [NAME]`.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    fs::File,
    io::{Write, stdout},
    path::Path,
    sync::atomic::AtomicBool,
    time::Instant,
};

use image::{ImportOptions, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, root, archive, name @ ..] = args.as_slice() else {
        return Err("usage: import ROOT ARCHIVE [NAME]".into());
    };
    let store = Store::open(Path::new(root))?;
    let mut file = File::open(archive)?;
    let options = ImportOptions {
        name: name.first().cloned(),
        ..ImportOptions::default()
    };
    let start = Instant::now();
    let images = store.import(&mut file, &options, &|_| (), &AtomicBool::new(false));
    let images = images.map_err(|error| error.sentence())?;
    let time = start.elapsed();
    for image in images {
        let names = image.repo_tags.join(" ");
        writeln!(
            stdout(),
            "{} {names} {} layers {time:.3?}",
            image.id,
            image.layers.len()
        )?;
    }
    Ok(())
}
