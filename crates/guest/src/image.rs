//! An initramfs: what the kernel unpacks as its first root, and whose `/init` it runs.
//!
//! ```text
//!  /init                              the caller's
//!  /dev/console, /dev/null            before anything is mounted, a Rust program needs the latter
//!  /etc/modules                       names of what is loaded at start, one a line
//!  /lib/modules/<release>/            kernel/…/x.ko, modules.dep, modules.alias: as depmod leaves them
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cpio::Writer;
use crate::error::{Error, file, output};
use crate::kernel::Kernel;
use crate::modules;

/// Debian's static busybox.
pub const BUSYBOX: &str = "/bin/busybox";

/// Modules without which a machine of [`vm`](crate::vm) has no disk, network, channel or overlay.
pub const USUAL: &[&str] = &[
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "virtio_net",
    "vmw_vsock_virtio_transport",
    "vsock_loopback",
    "overlay",
    "erofs",
];

/// An initramfs in the making.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    cpio: Writer<BufWriter<File>>,
    directories: BTreeSet<String>,
    /// Files that several dynamic programs need.
    copied: BTreeSet<String>,
}

impl Image {
    /// Begins the image at `path`: devices and empty directories.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let made = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path);
        let mut image = Self {
            path: path.to_owned(),
            cpio: Writer::new(BufWriter::new(made.map_err(file("make", path))?)),
            directories: BTreeSet::new(),
            copied: BTreeSet::new(),
        };
        for (name, mode) in [
            ("dev", 0o755),
            ("proc", 0o555),
            ("sys", 0o555),
            ("run", 0o755),
        ] {
            image.directory(name, mode)?;
        }
        for (name, mode) in [
            ("root", 0o700),
            ("tmp", 0o1777),
            ("bin", 0o755),
            ("etc", 0o755),
        ] {
            image.directory(name, mode)?;
        }
        for (name, mode, number) in [("dev/console", 0o600, (5, 1)), ("dev/null", 0o666, (1, 3))] {
            image.write(|cpio| cpio.character(name, mode, number))?;
        }
        Ok(image)
    }

    /// A directory, with those above it.
    ///
    /// # Errors
    /// The image cannot be written.
    pub fn directory(&mut self, name: &str, mode: u32) -> Result<(), Error> {
        let name = name.trim_matches('/');
        if name.is_empty() || !self.directories.insert(name.to_owned()) {
            return Ok(());
        }
        self.parents(name)?;
        self.write(|cpio| cpio.directory(name, mode))
    }

    /// A file with these bytes.
    ///
    /// # Errors
    /// The image cannot be written.
    pub fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), Error> {
        self.parents(name)?;
        self.write(|cpio| cpio.file(name, mode, bytes))
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// The image cannot be written.
    pub fn link(&mut self, name: &str, target: &str) -> Result<(), Error> {
        self.parents(name)?;
        self.write(|cpio| cpio.link(name, target))
    }

    /// A file of this machine, or a directory with all that is in it.
    ///
    /// # Errors
    /// It cannot be read, or is a device, socket or pipe.
    pub fn copy(&mut self, from: &Path, name: &str) -> Result<(), Error> {
        let meta = fs::symlink_metadata(from).map_err(file("look at", from))?;
        let mode = meta.permissions().mode();
        if meta.is_file() {
            let bytes = fs::read(from).map_err(file("read", from))?;
            return self.file(name, mode, &bytes);
        }
        if meta.is_symlink() {
            let target = fs::read_link(from).map_err(file("read", from))?;
            return self.link(name, &target.to_string_lossy());
        }
        if !meta.is_dir() {
            let refused = io::Error::from(io::ErrorKind::Unsupported);
            return Err(file("copy into an image", from)(refused));
        }
        self.directory(name, mode)?;
        for entry in fs::read_dir(from).map_err(file("list", from))? {
            let entry = entry.map_err(file("list", from))?;
            let below = format!("{name}/{}", entry.file_name().to_string_lossy());
            self.copy(&entry.path(), &below)?;
        }
        Ok(())
    }

    /// A static program of this machine, without its symbols.
    ///
    /// # Errors
    /// It cannot be read or stripped.
    pub fn program(&mut self, from: &Path, name: &str) -> Result<(), Error> {
        let bytes = crate::strip::program(from)?;
        self.file(name, 0o755, &bytes)
    }

    /// A program of this machine at the same path, with the libraries that it is linked with.
    ///
    /// # Errors
    /// It is not there, or is no dynamic program.
    pub fn dynamic(&mut self, program: &Path) -> Result<(), Error> {
        let libraries = output(Command::new("ldd").arg(program), "package libc-bin")?;
        let libraries = String::from_utf8_lossy(&libraries).into_owned();
        // "name => /path (0x…)", or "/path (0x…)" for the loader.
        let paths = libraries.split_whitespace().filter(|w| w.starts_with('/'));
        for path in paths.chain([&*program.to_string_lossy()]) {
            if self.copied.insert(path.to_owned()) {
                let bytes = fs::read(path).map_err(file("read", path))?;
                self.file(path, 0o755, &bytes)?;
            }
        }
        Ok(())
    }

    /// busybox under all its names, in `/bin`; `/sbin` and `/usr/bin` lead there.
    ///
    /// # Errors
    /// The package busybox-static is not installed.
    pub fn busybox(&mut self) -> Result<(), Error> {
        let hint = "package busybox-static";
        let names = output(Command::new(BUSYBOX).arg("--list"), hint)?;
        self.copy(Path::new(BUSYBOX), "bin/busybox")?;
        for name in String::from_utf8_lossy(&names).lines() {
            if name != "busybox" {
                self.link(&format!("bin/{name}"), "busybox")?;
            }
        }
        self.link("sbin", "bin")?;
        self.link("usr/bin", "../bin")?;
        self.link("usr/sbin", "../bin")
    }

    /// Modules of the kernel with what they need: those of `at_start` are loaded by `/init`, those of
    /// `more` are there.
    ///
    /// # Errors
    /// The kernel has no such module.
    pub fn modules(
        &mut self,
        kernel: &Kernel,
        at_start: &[&str],
        more: &[&str],
    ) -> Result<(), Error> {
        let all = kernel.modules().resolve(&[at_start, more].concat())?;
        let dir = format!("lib/modules/{}", kernel.release());
        for module in &all {
            let bytes = kernel.module(module)?;
            self.file(&format!("{dir}/{}", module.path), 0o644, &bytes)?;
        }
        let dep = kernel.modules().dep(&all)?;
        self.file(&format!("{dir}/modules.dep"), 0o644, dep.as_bytes())?;
        let alias = modules::alias(&all);
        self.file(&format!("{dir}/modules.alias"), 0o644, alias.as_bytes())?;
        let list = at_start.join("\n") + "\n";
        self.file("etc/modules", 0o644, list.as_bytes())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> Result<PathBuf, Error> {
        let flushed = self.cpio.finish().and_then(|mut file| file.flush());
        flushed.map_err(file("write", &self.path))?;
        Ok(self.path)
    }

    fn parents(&mut self, name: &str) -> Result<(), Error> {
        match name.trim_matches('/').rsplit_once('/') {
            Some((parent, _)) => self.directory(parent, 0o755),
            None => Ok(()),
        }
    }

    fn write(
        &mut self,
        entry: impl FnOnce(&mut Writer<BufWriter<File>>) -> io::Result<()>,
    ) -> Result<(), Error> {
        entry(&mut self.cpio).map_err(file("write", &self.path))
    }
}
