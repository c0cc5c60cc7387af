//! QEMU's machine protocol: devices come and go while the guest runs.
//!
//! ```text
//!  ◄ {"QMP": …}     ► {"execute": "qmp_capabilities"}     ◄ {"return": {}}
//!  ► {"execute": NAME, "arguments": {…}}     ◄ {"event": …} …     ◄ {"return": …} or {"error": …}
//! ```

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, file};

/// How long an answer or an event may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a machine.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
    events: Vec<Value>,
}

impl Qmp {
    /// Connects to the machine whose files are in `dir`.
    ///
    /// # Errors
    /// It is not running.
    pub fn connect(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("qmp");
        let stream = UnixStream::connect(&path).map_err(file("connect to", &path))?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(file("use", path))?;
        let mut qmp = Self {
            stream: BufReader::new(stream),
            events: Vec::new(),
        };
        qmp.message()?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command.
    ///
    /// # Errors
    /// QEMU's, or it is gone.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, Error> {
        let text = format!("{}\n", json!({"execute": command, "arguments": arguments}));
        let written = self.stream.get_mut().write_all(text.as_bytes());
        written.map_err(file("send to QEMU", command))?;
        loop {
            let mut message = self.message()?;
            if let Some(error) = message.get("error") {
                return Err(Error::Program {
                    program: format!("QEMU's {command} {arguments}"),
                    why: error["desc"].as_str().unwrap_or_default().to_owned(),
                    hint: "see QEMU's documentation of QMP",
                });
            }
            match message.get_mut("return") {
                Some(answer) => return Ok(answer.take()),
                None => self.events.push(message),
            }
        }
    }

    /// Where each processor is: its instruction pointer, flags and whether it is halted.
    ///
    /// # Errors
    /// QEMU's.
    pub fn registers(&mut self) -> Result<String, Error> {
        let line = json!({"command-line": "info registers -a"});
        let all = self.execute("human-monitor-command", &line)?;
        let lines = all.as_str().unwrap_or_default().lines();
        let lines = lines.filter(|l| l.contains("CPU#") || l.starts_with("RIP="));
        Ok(lines.collect::<Vec<_>>().join(" ").replace('\r', ""))
    }

    /// Waits for an event, which may have come already.
    ///
    /// # Errors
    /// It did not come in time, or QEMU is gone.
    pub fn event(&mut self, name: &str) -> Result<Value, Error> {
        loop {
            if let Some(at) = self.events.iter().position(|e| e["event"] == name) {
                return Ok(self.events.remove(at));
            }
            let message = self.message()?;
            self.events.push(message);
        }
    }

    /// Opens `image` as the disk `id` of a device that is plugged in next.
    ///
    /// # Errors
    /// QEMU's.
    pub fn open_disk(&mut self, id: &str, image: &Path) -> Result<(), Error> {
        let node = json!({
            "driver": "raw", "node-name": id,
            "file": {"driver": "file", "filename": image},
        });
        self.execute("blockdev-add", &node).map(drop)
    }

    /// Plugs a disk into PCI Express port `slot`.
    ///
    /// # Errors
    /// QEMU's.
    pub fn plug_disk(&mut self, id: &str, slot: usize, image: &Path) -> Result<(), Error> {
        self.open_disk(id, image)?;
        let device = json!({
            "driver": "virtio-blk-pci", "id": id, "drive": id, "serial": id, "bus": format!("rp{slot}"),
        });
        self.execute("device_add", &device).map(drop)
    }

    /// Makes a disk, and its file, this large.
    ///
    /// # Errors
    /// QEMU's.
    pub fn resize_disk(&mut self, id: &str, bytes: u64) -> Result<(), Error> {
        let size = json!({"node-name": id, "size": bytes});
        self.execute("block_resize", &size).map(drop)
    }

    /// Plugs a disk into the SCSI bus `bus`, at this target and unit.
    ///
    /// # Errors
    /// QEMU's.
    pub fn plug_scsi(
        &mut self,
        id: &str,
        bus: &str,
        (target, lun): (u32, u32),
        image: &Path,
    ) -> Result<(), Error> {
        self.open_disk(id, image)?;
        let device = json!({
            "driver": "scsi-hd", "id": id, "drive": id, "bus": bus, "scsi-id": target, "lun": lun,
        });
        self.execute("device_add", &device).map(drop)
    }

    /// Plugs a network interface, which reaches nothing, into PCI Express port `slot`.
    ///
    /// # Errors
    /// QEMU's.
    pub fn plug_nic(&mut self, id: &str, slot: usize, mac: &str) -> Result<(), Error> {
        let net = format!("n-{id}");
        let ports = json!({"type": "hubport", "id": net, "hubid": slot});
        self.execute("netdev_add", &ports)?;
        let device = json!({
            "driver": "virtio-net-pci", "id": id, "netdev": net, "mac": mac, "romfile": "",
            "bus": format!("rp{slot}"),
        });
        self.execute("device_add", &device).map(drop)
    }

    /// Plugs in the next processor that there is room for.
    ///
    /// # Errors
    /// QEMU's, or there is no room.
    pub fn plug_cpu(&mut self, id: &str) -> Result<(), Error> {
        let places = self.execute("query-hotpluggable-cpus", &json!({}))?;
        let mut places = places.as_array().into_iter().flatten();
        let free = places.find(|place| place.get("qom-path").is_none());
        let free = free.ok_or_else(|| Error::Format {
            what: "QEMU's places for processors".to_owned(),
            why: "all are taken",
        })?;
        let mut device = free["props"].clone();
        device["driver"] = free["type"].clone();
        device["id"] = id.into();
        self.execute("device_add", &device).map(drop)
    }

    /// Plugs in a memory module of `mib` MiB.
    ///
    /// # Errors
    /// QEMU's, or there is no room.
    pub fn plug_memory(&mut self, id: &str, mib: u64) -> Result<(), Error> {
        let backend = format!("m-{id}");
        // Devices outside of QEMU must be able to map it, as the machine's other memory.
        let memory = json!({
            "qom-type": "memory-backend-memfd", "id": backend, "size": mib << 20, "share": true,
        });
        self.execute("object-add", &memory)?;
        let device = json!({"driver": "pc-dimm", "id": id, "memdev": backend});
        self.execute("device_add", &device).map(drop)
    }

    /// Plugs in a persistent memory module with the bytes of `image`.
    ///
    /// # Errors
    /// QEMU's, or there is no room.
    pub fn plug_nvdimm(&mut self, id: &str, mib: u64, image: &Path) -> Result<(), Error> {
        let backend = format!("m-{id}");
        let memory = json!({
            "qom-type": "memory-backend-file", "id": backend, "size": mib << 20, "share": true,
            "mem-path": image,
        });
        self.execute("object-add", &memory)?;
        let device = json!({"driver": "nvdimm", "id": id, "memdev": backend});
        self.execute("device_add", &device).map(drop)
    }

    /// Unplugs a device and waits until the guest has let it go.
    ///
    /// # Errors
    /// QEMU's, or the guest does not.
    pub fn unplug(&mut self, id: &str) -> Result<(), Error> {
        self.execute("device_del", &json!({"id": id}))?;
        // A device's parts are told of as well, without a name.
        while self.event("DEVICE_DELETED")?["data"]["device"] != id {}
        Ok(())
    }

    fn message(&mut self) -> Result<Value, Error> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        read.map_err(file("read from", "QEMU's machine protocol"))?;
        serde_json::from_str(&line).map_err(|_| Error::Format {
            what: format!("QEMU said {:?}", line.trim()),
            why: "it is no JSON, or QEMU has ended",
        })
    }
}
