//! The guest's kernel, once fetched and unpacked, from Debian's package for virtual machines.
//!
//! ```text
//!  target/guest/
//!    linux-image-<release>_<version>_amd64.deb       as apt fetched it
//!    <release>/vmlinux                               ELF with a PVH entry
//!    <release>/modules/kernel/…/x.ko, modules.builtin
//!    release                                         names the directory; written last
//! ```

mod bzimage;
mod lz4;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, file, output};
use crate::modules::{Module, Modules};

/// The package that depends on the current kernel's.
const META: &str = "linux-image-cloud-amd64";
const APT: &str = "the package lists may be missing: apt-get update";

/// An unpacked kernel.
#[derive(Debug)]
pub struct Kernel {
    dir: PathBuf,
    release: String,
    modules: Modules,
}

impl Kernel {
    /// Opens the kernel that [`build`] left below `cache`.
    ///
    /// # Errors
    /// There is none, or a module cannot be read.
    pub fn open(cache: &Path) -> Result<Self, Error> {
        let release = fs::read_to_string(cache.join("release"))
            .map_err(|_| Error::NotBuilt(cache.to_owned()))?;
        let dir = cache.join(&release);
        let root = dir.join("modules");
        let mut found = Vec::new();
        modules_below(&root, &root, &mut found)?;
        let builtin = root.join("modules.builtin");
        let builtin = fs::read_to_string(&builtin).map_err(file("read", builtin))?;
        Ok(Self {
            modules: Modules::new(&release, found, &builtin),
            dir,
            release,
        })
    }

    /// What `uname -r` says.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The ELF kernel.
    #[must_use]
    pub fn vmlinux(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    /// Its modules.
    #[must_use]
    pub const fn modules(&self) -> &Modules {
        &self.modules
    }

    /// The bytes of a module.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn module(&self, module: &Module) -> Result<Vec<u8>, Error> {
        let path = self.dir.join("modules").join(&module.path);
        fs::read(&path).map_err(file("read", path))
    }
}

fn modules_below(root: &Path, dir: &Path, found: &mut Vec<Module>) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(file("list", dir))? {
        let path = entry.map_err(file("list", dir))?.path();
        if path.is_dir() {
            modules_below(root, &path, found)?;
        } else if path.extension().is_some_and(|e| e == "ko") {
            let bytes = fs::read(&path).map_err(file("read", &path))?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
            let module = Module::read(&name, &bytes).ok_or_else(|| Error::Format {
                what: path.display().to_string(),
                why: "it has no .modinfo section",
            })?;
            found.push(module);
        }
    }
    Ok(())
}

/// Fetches and unpacks the current kernel, unless `cache` holds one already.
///
/// # Errors
/// apt cannot fetch it, or it is not what is expected.
pub fn build(cache: &Path) -> Result<Kernel, Error> {
    if let Ok(kernel) = Kernel::open(cache) {
        return Ok(kernel);
    }
    fs::create_dir_all(cache).map_err(file("make", cache))?;
    let package = fetch(cache)?;
    let unpacked = tempfile::tempdir_in(cache).map_err(file("make a directory in", cache))?;
    // An interrupted download must not stand in the way of the next.
    let release = unpack(&package, unpacked.path()).inspect_err(|_| {
        let _ = fs::remove_file(&package);
    })?;
    let dir = cache.join(&release);
    match fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(file("remove", dir)(e)),
        _ => {}
    }
    fs::rename(unpacked.keep(), &dir).map_err(file("rename to", &dir))?;
    let mark = cache.join("release");
    fs::write(&mark, &release).map_err(file("write", mark))?;
    Kernel::open(cache)
}

/// The package file, fetched with apt if it is not there.
fn fetch(cache: &Path) -> Result<PathBuf, Error> {
    let name = match current() {
        Ok(name) => name,
        // A fresh machine has no package lists.
        Err(_) => {
            output(
                Command::new("apt-get").args(["update", "-qq"]),
                "is there a network?",
            )?;
            current()?
        }
    };
    if let Some(package) = fetched(cache, &name)? {
        return Ok(package);
    }
    let mut command = Command::new("apt-get");
    // Otherwise apt complains that its own user may not write here.
    command.args(["download", "-qq", "-o", "APT::Sandbox::User=root", &name]);
    output(command.current_dir(cache), APT)?;
    fetched(cache, &name)?.ok_or_else(|| Error::Format {
        what: format!("apt-get download {name}"),
        why: "it left no package file",
    })
}

/// The kernel's package that the machine's archive has now.
fn current() -> Result<String, Error> {
    let text = output(Command::new("apt-cache").args(["depends", META]), APT)?;
    let text = String::from_utf8_lossy(&text);
    let mut names = text
        .lines()
        .filter_map(|l| l.trim().strip_prefix("Depends: "));
    names
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
        .ok_or_else(|| Error::Format {
            what: format!("apt-cache depends {META}"),
            why: "it names no kernel",
        })
}

fn fetched(cache: &Path, name: &str) -> Result<Option<PathBuf>, Error> {
    let entries = fs::read_dir(cache).map_err(file("list", cache))?;
    Ok(entries.flatten().map(|e| e.path()).find(|path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file.starts_with(&format!("{name}_")) && file.ends_with(".deb")
    }))
}

/// Unpacks the kernel and its modules into `dir`; returns its release.
fn unpack(package: &Path, dir: &Path) -> Result<String, Error> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(file("unpack with dpkg-deb", package))?;
    let stream = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe.into());
    let unpacked = stream
        .map_err(file("read", package))
        .and_then(|stream| entries(stream, package, dir));
    let status = child
        .wait()
        .map_err(file("unpack with dpkg-deb", package))?;
    if !status.success() {
        return Err(Error::Format {
            what: package.display().to_string(),
            why: "dpkg-deb cannot unpack it",
        });
    }
    unpacked
}

fn entries(stream: impl io::Read, package: &Path, dir: &Path) -> Result<String, Error> {
    let mut release = None;
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().map_err(file("read", package))? {
        let mut entry = entry.map_err(file("read", package))?;
        let name = entry.path().map_err(file("read", package))?.into_owned();
        let name = name.to_string_lossy().trim_start_matches("./").to_owned();
        let mut bytes = Vec::new();
        let (path, bytes) = if let Some(kernel) = name.strip_prefix("boot/vmlinuz-") {
            release = Some(kernel.to_owned());
            entry
                .read_to_end(&mut bytes)
                .map_err(file("read", package))?;
            let kernel = bzimage::vmlinux(&bytes).map_err(|why| Error::Format {
                what: format!("{name} of {}", package.display()),
                why,
            })?;
            (dir.join("vmlinux"), kernel)
        } else if let Some((_, module)) = name
            .strip_prefix("lib/modules/")
            .and_then(|rest| rest.split_once('/'))
            .filter(|(_, path)| path.ends_with(".ko") || *path == "modules.builtin")
        {
            entry
                .read_to_end(&mut bytes)
                .map_err(file("read", package))?;
            (dir.join("modules").join(module), bytes)
        } else {
            continue;
        };
        let parent = path.parent().unwrap_or(dir);
        fs::create_dir_all(parent).map_err(file("make", parent))?;
        fs::write(&path, bytes).map_err(file("write", path))?;
    }
    release.ok_or_else(|| Error::Format {
        what: package.display().to_string(),
        why: "it holds no boot/vmlinuz-*",
    })
}
