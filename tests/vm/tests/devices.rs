//! What only a machine of its own can be asked for: devices that are plugged in while it runs, processors, memory,
//! swap, its clock, its random pool and its kernel's modules.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../../../crates/agent/tests/suite/mod.rs"]
mod suite;
mod there;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use agent_api::grpc;
use agent_api::ttrpc::Code;
use guest::vm::{Room, pci_path};
use guest::{disk, qmp::Qmp};
use suite::{World, soon, status, storage};
use vm_tests::agent::{AgentVm, SCSI, TAG, Wanted};

const MIB: u64 = 1 << 20;
/// Devices may take long on a busy host.
const PATIENT: &str = "agent.log=debug agent.hotplug_timeout=30";

async fn boot(wanted: &Wanted<'_>, name: &str) -> (AgentVm, World) {
    let mut vm = AgentVm::with(wanted);
    let world = there::world(vm.connect(1024).await, name);
    world.begin().await;
    world.look("mkdir -p $W/run/volumes").await;
    (vm, world)
}

async fn end(vm: AgentVm, world: World) {
    world.destroy().await;
    drop(world);
    drop(vm.ended());
}

/// Files of this machine that become disks.
struct Images(tempfile::TempDir);

impl Images {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn ext4(&self, name: &str, mib: u32) -> PathBuf {
        disk::ext4(&self.at(name), mib).unwrap()
    }

    /// What `mkfs` (the words before the file) makes of a file of this size.
    fn made(&self, name: &str, bytes: u64, mkfs: &[&str]) -> PathBuf {
        let path = self.at(name);
        File::create_new(&path).unwrap().set_len(bytes).unwrap();
        run(Command::new(mkfs[0]).args(&mkfs[1..]).arg(&path));
        path
    }

    /// An erofs of these files.
    fn erofs(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let (tree, path) = (self.at(&format!("{name}.d")), self.at(name));
        fs::create_dir(&tree).unwrap();
        for (file, text) in files {
            fs::write(tree.join(file), text).unwrap();
        }
        run(Command::new("mkfs.erofs")
            .arg("--quiet")
            .arg(&path)
            .arg(&tree));
        path
    }
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// Plugs a disk in while something else already waits for it.
async fn plugged_late<T>(
    qmp: &mut Qmp,
    id: &str,
    slot: usize,
    image: &Path,
    waits: impl Future<Output = T>,
) -> T {
    let (awaited, ()) = tokio::join!(waits, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        qmp.plug_disk(id, slot, image).unwrap();
    });
    awaited
}

async fn total(world: &World, path: &str) -> u64 {
    let request = grpc::VolumeStatsRequest {
        volume_guest_path: path.into(),
    };
    let stats = world
        .agent
        .get_volume_stats(soon(), &request)
        .await
        .unwrap();
    stats.usage[0].total
}

#[tokio::test]
async fn a_disk_is_awaited_mounted_grown_and_let_go() {
    let images = Images::new();
    let (vm, world) = boot(
        &Wanted {
            append: PATIENT,
            ..Wanted::default()
        },
        "disks",
    )
    .await;
    let mut qmp = vm.qmp();
    let volume = storage("blk", &pci_path(0), "ext4", "/run/volumes/blk");
    let image = images.ext4("blk", 32);
    let container = world.with("c1", &["sleep", "1000"], std::slice::from_ref(&volume));
    plugged_late(&mut qmp, "blk", 0, &image, world.run(&container)).await;
    let written = world
        .sh("c1", "echo kept > /data/f; stat -f -c %T /data")
        .await;
    assert_eq!(written, (0, "ext2/ext3\n".into()));
    // The disk grows, then what is on it.
    let before = total(&world, &volume.mount_point).await;
    qmp.resize_disk("blk", 96 * MIB).unwrap();
    let resize = |size| grpc::ResizeVolumeRequest {
        volume_guest_path: volume.mount_point.clone(),
        size,
    };
    world
        .agent
        .resize_volume(soon(), &resize(96 * MIB))
        .await
        .unwrap();
    let after = total(&world, &volume.mount_point).await;
    assert!(after > before + 48 * MIB, "{before} {after}");
    assert_eq!(world.sh("c1", "cat /data/f").await.1, "kept\n");
    world.remove("c1").await;
    assert!(!world.mounted(&volume.mount_point).await);
    // Unplugged, it is not found any more; plugged in again it has what was written.
    qmp.unplug("blk").unwrap();
    let gone = "[ -z \"$(ls /sys/block | grep vd)\" ] && echo gone || true";
    let spec = |request: &mut grpc::CreateContainerRequest| {
        let sysfs = suite::mount("sysfs", "sysfs", "/sys", &["ro"]);
        request.oci.as_mut().unwrap().mounts.push(sysfs);
    };
    let mut sees = world.request("sees", &["sleep", "1000"]);
    spec(&mut sees);
    world.run(&sees).await;
    world
        .until("its end", async || {
            world.sh("sees", gone).await.1 == "gone\n"
        })
        .await;
    end(vm, world).await;
    // The machine has written everything.
    let said = Command::new("debugfs")
        .args(["-R", "cat /f"])
        .arg(&image)
        .output()
        .unwrap();
    assert_eq!(said.stdout, b"kept\n");
}

#[tokio::test]
async fn a_container_gets_disks_as_devices_swap_and_layers() {
    let images = Images::new();
    let wanted = Wanted {
        append: PATIENT,
        modules: &["virtio_scsi", "sd_mod"],
        scsi: true,
        ..Wanted::default()
    };
    let (vm, world) = boot(&wanted, "devices").await;
    let mut qmp = vm.qmp();
    // A device has the numbers that it has here, and the rule follows.
    let mut container = world.request("c1", &["sleep", "1000"]);
    container.devices.push(grpc::Device {
        id: pci_path(0),
        r#type: "blk".into(),
        container_path: "/dev/data".into(),
        ..Default::default()
    });
    let rule = |allow, access: &str, minor| grpc::LinuxDeviceCgroup {
        allow,
        r#type: if minor == 0 {
            String::new()
        } else {
            "b".into()
        },
        major: if minor == 0 { 0 } else { 253 },
        minor,
        access: access.into(),
    };
    let linux = container.oci.as_mut().unwrap().linux.as_mut().unwrap();
    linux.devices.push(grpc::LinuxDevice {
        path: "/dev/data".into(),
        r#type: "b".into(),
        major: 253,
        minor: 99,
        ..Default::default()
    });
    linux.resources = Some(grpc::LinuxResources {
        devices: vec![rule(false, "rwm", 0), rule(true, "r", 99)],
        ..Default::default()
    });
    let image = images.at("raw");
    fs::write(&image, "x".repeat(4096)).unwrap();
    plugged_late(&mut qmp, "raw", 0, &image, world.run(&container)).await;
    let read = world
        .sh(
            "c1",
            "head -c 3 /dev/data; echo; echo y > /dev/data || echo refused",
        )
        .await;
    assert_eq!(read, (0, "xxx\nrefused\n".into()));
    // Swap, by place and by name.
    for (slot, id) in [(1, "swap1"), (2, "swap2")] {
        let image = images.made(id, 16 * MIB, &["mkswap", "-q"]);
        qmp.plug_disk(id, slot, &image).unwrap();
    }
    let slots = |slot: usize| u32::from_str_radix(&pci_path(slot)[..2], 16).unwrap();
    let by_place = grpc::AddSwapRequest {
        pci_path: vec![slots(1), 0],
    };
    world.agent.add_swap(soon(), &by_place).await.unwrap();
    let find = "grep -l swap2 $W/sys/block/*/serial || true";
    world
        .until("the second disk", async || {
            !world.look(find).await.is_empty()
        })
        .await;
    let name = world.look(find).await;
    let name = name.trim().rsplit('/').nth(1).unwrap().to_owned();
    let by_name = grpc::AddSwapPathRequest {
        path: format!("/dev/{name}"),
    };
    world.agent.add_swap_path(soon(), &by_name).await.unwrap();
    let swaps = world.look("grep ^/dev/vd /agent/swaps").await;
    let sizes: Vec<_> = swaps
        .lines()
        .map(|line| line.split_whitespace().nth(2).unwrap())
        .collect();
    // All of the disk but the page that says what it is.
    assert_eq!(sizes, ["16380"; 2], "{swaps}");
    assert!(swaps.contains(&by_name.path), "{swaps}");
    let add = async |path: &str| {
        let request = grpc::AddSwapPathRequest { path: path.into() };
        status(world.agent.add_swap_path(soon(), &request).await)
    };
    let (code, said) = add(&by_name.path).await;
    assert_eq!(code, Code::INTERNAL);
    assert!(said.contains(&name) && said.contains("busy"), "{said}");
    // Neither is swapped on: no disk, and one that holds something else.
    assert_eq!(add("/dev/null").await.0, Code::INVALID_ARGUMENT);
    let disk = world.look("grep -l raw $W/sys/block/*/serial").await;
    let disk = disk.trim().rsplit('/').nth(1).unwrap().to_owned();
    let (code, said) = add(&format!("/dev/{disk}")).await;
    assert_eq!(code, Code::INTERNAL);
    assert!(said.contains(&disk), "{said}");
    let after = world.look("grep ^/dev/vd /agent/swaps").await;
    assert_eq!(after.lines().count(), 2, "{after}");
    // A disk of a SCSI host.
    let image = images.ext4("scsi", 16);
    qmp.plug_scsi("scsi", SCSI, (1, 0), &image).unwrap();
    let volume = storage("scsi", "1:0", "ext4", "/run/volumes/scsi");
    world
        .run(&world.with("scsi", &["sleep", "1000"], std::slice::from_ref(&volume)))
        .await;
    assert_eq!(
        world.sh("scsi", "echo x > /data/f && cat /data/f").await.1,
        "x\n"
    );
    let device = world
        .look("grep /run/volumes/scsi $P/mounts | cut -d' ' -f1")
        .await;
    assert!(device.starts_with("/dev/sd"), "{device}");
    world.remove("scsi").await;
    // An image of two layers.
    for (slot, name, files) in [
        (3, "top", &[("both", "top")][..]),
        (4, "bottom", &[("both", "bottom"), ("low", "low")]),
    ] {
        qmp.plug_disk(name, slot, &images.erofs(name, files))
            .unwrap();
    }
    let mut layers = storage(
        "erofs.multi-layer",
        &pci_path(3),
        "erofs",
        "/run/volumes/image",
    );
    layers.driver_options = vec![format!("layer={}", pci_path(4))];
    layers.options = vec!["io.katacontainers.fs-opt.overlay-rw".into()];
    world
        .run(&world.with("image", &["sleep", "1000"], std::slice::from_ref(&layers)))
        .await;
    let read = world
        .sh("image", "cat /data/both /data/low; echo new > /data/new")
        .await;
    assert_eq!(read, (0, "toplow".into()));
    world.remove("image").await;
    end(vm, world).await;
}

#[tokio::test]
async fn a_directory_of_the_node_is_shared() {
    let shared = tempfile::tempdir().unwrap();
    fs::write(shared.path().join("f"), "from the node\n").unwrap();
    let wanted = Wanted {
        append: PATIENT,
        modules: &["virtiofs"],
        shared: Some(shared.path()),
        ..Wanted::default()
    };
    let (vm, world) = boot(&wanted, "shares").await;
    let volume = storage(
        "virtio-fs",
        TAG,
        "virtiofs",
        "/run/kata-containers/shared/containers",
    );
    world
        .run(&world.with("c1", &["sleep", "1000"], std::slice::from_ref(&volume)))
        .await;
    let read = world
        .sh("c1", "cat /data/f; echo from the machine > /data/g")
        .await;
    assert_eq!(read, (0, "from the node\n".into()));
    let written = fs::read_to_string(shared.path().join("g")).unwrap();
    assert_eq!(written, "from the machine\n");
    // What comes later is seen, too.
    fs::write(shared.path().join("h"), "later\n").unwrap();
    assert_eq!(world.sh("c1", "cat /data/h").await.1, "later\n");
    world.remove("c1").await;
    assert!(!world.mounted(&volume.mount_point).await);
    end(vm, world).await;
}

#[tokio::test]
async fn processors_and_memory_are_plugged_in_and_the_clock_is_set() {
    let images = Images::new();
    let wanted = Wanted {
        append: PATIENT,
        modules: &["nfit", "nd_pmem"],
        room: Room {
            cpus: 1,
            memory: 512,
        },
        ..Wanted::default()
    };
    let (vm, world) = boot(&wanted, "resources").await;
    let mut qmp = vm.qmp();
    let a = &world.agent;
    let details = grpc::GuestDetailsRequest {
        mem_block_size: true,
        mem_hotplug_probe: true,
    };
    let details = a.get_guest_details(soon(), &details).await.unwrap();
    assert_eq!(details.mem_block_size_bytes, 128 * MIB);
    // Debian's kernel hears of memory by ACPI only, and says so.
    assert!(!details.support_mem_hotplug_probe);
    let probe = grpc::MemHotplugByProbeRequest {
        mem_hotplug_probe_addr: vec![1 << 32],
    };
    let (code, said) = status(a.mem_hotplug_by_probe(soon(), &probe).await);
    assert!(said.contains("0x100000000"), "{code:?} {said}");

    world.start("c1", &["sleep", "1000"]).await;
    let online = |cpus, cpu_only| grpc::OnlineCpuMemRequest {
        wait: true,
        nb_cpus: cpus,
        cpu_only,
    };
    assert_eq!(world.sh("c1", "nproc").await.1, "1\n");
    qmp.plug_cpu("cpu1").unwrap();
    a.online_cpu_mem(soon(), &online(2, true)).await.unwrap();
    assert_eq!(world.sh("c1", "nproc").await.1, "2\n");
    // There are no three: the call waits, and tells how many there are.
    let (code, said) = status(a.online_cpu_mem(soon(), &online(7, true)).await);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(said.contains("2 CPUs are online"), "{said}");

    let memory = async || -> u64 {
        let line = world.look("grep MemTotal /proc/meminfo").await;
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = memory().await;
    qmp.plug_memory("dimm1", 128).unwrap();
    world
        .until("more memory", async || {
            a.online_cpu_mem(soon(), &online(2, false)).await.unwrap();
            memory().await >= before + 120 * 1024
        })
        .await;

    let image = images.ext4("nvdimm", 128);
    qmp.plug_nvdimm("pmem", 128, &image).unwrap();
    let volume = storage("nvdimm", "/dev/pmem0", "ext4", "/run/volumes/pmem");
    world
        .run(&world.with("c2", &["sleep", "1000"], std::slice::from_ref(&volume)))
        .await;
    assert_eq!(
        world.sh("c2", "echo x > /data/f && cat /data/f").await.1,
        "x\n"
    );
    world.remove("c2").await;

    let clock = |sec, usec| grpc::SetGuestDateTimeRequest { sec, usec };
    a.set_guest_date_time(soon(), &clock(2_000_000_000, 5))
        .await
        .unwrap();
    let now = world.sh("c1", "date +%s").await.1;
    let passed = now.trim().parse::<u64>().unwrap() - 2_000_000_000;
    assert!(passed < 300, "{now}");
    let wrong = a.set_guest_date_time(soon(), &clock(1, -1)).await;
    assert_eq!(status(wrong).0, Code::INVALID_ARGUMENT);
    let seed = |data: &[u8]| grpc::ReseedRandomDevRequest { data: data.into() };
    a.reseed_random_dev(soon(), &seed(&[7; 512])).await.unwrap();
    let empty = a.reseed_random_dev(soon(), &seed(&[])).await;
    assert_eq!(status(empty).0, Code::INVALID_ARGUMENT);
    end(vm, world).await;
}

#[tokio::test]
async fn modules_and_rules_come_from_the_image() {
    let config = r#"
        log_level = "debug"
        server_addr = "vsock://-1:1030"
        [endpoints]
        allowed = [
          "CreateContainerRequest", "CreateSandboxRequest", "DestroySandboxRequest", "ExecProcessRequest",
          "ListInterfacesRequest", "ReadStreamRequest", "StartContainerRequest",
          "WaitProcessRequest",
        ]
    "#;
    let wanted = Wanted {
        append: "agent.config_file=/etc/agent.toml",
        present: &["dummy", "zram"],
        files: &[("etc/agent.toml", config)],
        ..Wanted::default()
    };
    let mut vm = AgentVm::with(&wanted);
    let world = there::world(vm.connect(1030).await, "modules");
    let module = |name: &str, parameters: &[&str]| grpc::KernelModule {
        name: name.into(),
        parameters: suite::all(parameters),
    };
    let mut sandbox = grpc::CreateSandboxRequest {
        sandbox_id: world.name.clone(),
        kernel_modules: vec![module("none-such", &[])],
        ..Default::default()
    };
    let (code, said) = status(world.agent.create_sandbox(soon(), &sandbox).await);
    assert_eq!(code, Code::INTERNAL, "{said}");
    assert!(
        said.contains("none-such") && said.contains("modules.dep"),
        "{said}"
    );
    sandbox.kernel_modules = vec![module("dummy", &["numdummies=2"]), module("zram", &[])];
    world.agent.create_sandbox(soon(), &sandbox).await.unwrap();
    world.begin_looking().await;
    let list = world
        .agent
        .list_interfaces(soon(), &grpc::ListInterfacesRequest {})
        .await;
    let names: Vec<_> = list
        .unwrap()
        .interfaces
        .into_iter()
        .map(|i| i.name)
        .collect();
    assert!(
        names.contains(&"dummy0".into()) && names.contains(&"dummy1".into()),
        "{names:?}"
    );
    // zram needs zsmalloc, which nobody named.
    let loaded = world.look("cut -d' ' -f1 /proc/modules").await;
    for name in ["dummy", "zram", "zsmalloc"] {
        assert!(loaded.lines().any(|line| line == name), "{loaded}");
    }
    // The file's rules are in force, and cannot be lifted.
    for (code, said) in [
        status(
            world
                .agent
                .list_routes(soon(), &grpc::ListRoutesRequest {})
                .await,
        ),
        status(world.signal("look", "look", 9).await),
        status(
            world
                .agent
                .set_policy(soon(), &grpc::SetPolicyRequest { policy: "*".into() })
                .await,
        ),
    ] {
        assert_eq!(code, Code::PERMISSION_DENIED, "{said}");
    }
    end(vm, world).await;
}

#[tokio::test]
async fn a_wrong_configuration_file_ends_the_machine_with_a_sentence() {
    let wanted = Wanted {
        append: "agent.config_file=/etc/agent.toml",
        files: &[("etc/agent.toml", "[endpoints]\nalowed = []\n")],
        ..Wanted::default()
    };
    let console = AgentVm::with(&wanted).ended();
    let sentence = "coffer-agent: configuration /etc/agent.toml: ";
    assert!(
        console.contains(sentence) && console.contains("alowed"),
        "{console}"
    );
}
