//! The agent as the first process of a machine: a pod's life by the published calls, over a virtio socket. What it
//! does the same on a node is in [`suite`].
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; figures are printed"
)]

#[path = "../../../crates/agent/tests/suite/mod.rs"]
mod suite;
mod there;

use agent_api::grpc;
use agent_api::ttrpc::Code;
use guest::vm::pci_path;
use suite::{World, soon, status};
use vm_tests::agent::{AgentVm, Wanted};

/// iptables of this machine: what a rule without extensions needs.
const IPTABLES: [&str; 2] = [
    "/usr/sbin/xtables-nft-multi",
    "/usr/lib/x86_64-linux-gnu/xtables/libxt_standard.so",
];

async fn powers_off(vm: AgentVm, world: World) -> String {
    world.destroy().await;
    drop(world);
    vm.ended()
}

#[tokio::test]
async fn a_pod_lives_in_a_machine_that_powers_off_at_its_end() {
    let mut vm = AgentVm::boot("agent.log=debug");
    let world = there::world(vm.connect(1024).await, "pod-in-a-machine");
    // Of an agent that nobody has asked anything of yet.
    let metrics = grpc::GetMetricsRequest {};
    let metrics = world
        .agent
        .get_metrics(soon(), &metrics)
        .await
        .unwrap()
        .metrics;
    let mut lines = metrics.lines();
    let resident = lines.find_map(|line| line.strip_prefix("kata_agent_total_rss "));
    let resident: f64 = resident.unwrap().parse().unwrap();
    println!("idle agent: resident {} KiB", resident / 1024.0);
    assert!(
        resident > 0.0 && resident < 16.0 * 1024.0 * 1024.0,
        "{resident}"
    );
    world.begin().await;
    world.start("stays", &["sleep", "1000"]).await;
    // The root is /rootfs (/agent is for the one that looks), one cgroup2 holds every controller, and lo is the machine's.
    let script = "grep -c . /proc/self/cgroup; ls /; ip -o addr show lo | grep -o 127.0.0.1";
    let wanted = "1\nagent\nbin\ndev\netc\nhome\nproc\nroot\nrun\nsbin\nsys\ntmp\nusr\nvar\nwww\n127.0.0.1\n";
    assert_eq!(world.sh("stays", script).await, (0, wanted.into()));
    let duplicate = world.create(&world.request("stays", &["true"])).await;
    assert_eq!(status(duplicate).0, Code::ALREADY_EXISTS);
    // What runs does not keep the machine from its end.
    let console = powers_off(vm, world).await;
    assert!(console.contains("init of this machine"), "{console}");
}

/// Runs the scenarios one after the other.
macro_rules! in_one_machine {
    ($($module:ident::$scenario:ident)*) => {
        async fn every_scenario(world: &World) {
            $(
                eprintln!(concat!("scenario ", stringify!($scenario)));
                suite::$module::$scenario(world).await;
            )*
        }
    };
}
suite::scenarios!(in_one_machine);

#[tokio::test]
async fn the_published_service_is_in_a_machine_what_it_is_on_a_node() {
    let mut vm = AgentVm::boot("agent.log=debug");
    let world = there::world(vm.connect(1024).await, "published");
    world.begin().await;
    world.look("mkdir -p $W/run/volumes").await;
    every_scenario(&world).await;
    drop(powers_off(vm, world).await);
}

mod network {
    use super::suite::{self, World};

    macro_rules! in_one_machine {
        ($($module:ident::$scenario:ident)*) => {
            pub(crate) async fn every_scenario(world: &World) {
                $(
                    eprintln!(concat!("scenario ", stringify!($scenario)));
                    suite::$module::$scenario(world).await;
                )*
            }
        };
    }
    suite::network_scenarios!(in_one_machine);
}

#[tokio::test]
async fn interfaces_that_are_plugged_in_are_set_up() {
    let mut vm = AgentVm::with(&Wanted {
        append: "agent.log=debug agent.hotplug_timeout=20",
        modules: &["nf_tables", "nft_compat"],
        programs: &IPTABLES,
        files: &[],
        ..Wanted::default()
    });
    let calls = vm.connect(1024).await;
    let world = there::world(calls, "network");
    world.begin().await;
    world
        .look(
            "mkdir -p $W/usr/sbin; cd $W/usr/sbin
            for name in iptables-save iptables-restore ip6tables-save ip6tables-restore; do
              ln -s xtables-nft-multi $name
            done",
        )
        .await;
    // One is asked for before it is there: by its place, as it has no name yet.
    let by_place = grpc::UpdateInterfaceRequest {
        interface: Some(agent_api::types::Interface {
            name: "net7".into(),
            device_path: pci_path(0),
            mtu: 1300,
            ..Default::default()
        }),
    };
    let mut qmp = vm.qmp();
    let (updated, ()) = tokio::join!(world.agent.update_interface(soon(), &by_place), async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        qmp.plug_nic("nic0", 0, "02:00:00:00:00:01").unwrap();
    });
    updated.unwrap();
    qmp.plug_nic("nic1", 1, "02:00:00:00:00:02").unwrap();
    let list = async || {
        let list = grpc::ListInterfacesRequest {};
        let list = world.agent.list_interfaces(soon(), &list).await.unwrap();
        list.interfaces
    };
    world
        .until("the second interface", async || list().await.len() == 3)
        .await;
    let named = list().await.into_iter().find(|i| i.name == "net7");
    let named = named.unwrap();
    assert_eq!(
        (named.hw_addr.as_str(), named.mtu),
        ("02:00:00:00:00:01", 1300)
    );
    network::every_scenario(&world).await;
    qmp.unplug("nic1").unwrap();
    world
        .until("one interface less", async || list().await.len() == 2)
        .await;
    drop(powers_off(vm, world).await);
}

#[tokio::test]
async fn a_port_and_v1_cgroups_come_from_the_kernel_command_line() {
    let mut vm =
        AgentVm::boot("agent.server_addr=vsock://-1:2000 agent.unified_cgroup_hierarchy=false");
    let world = there::world(vm.connect(2000).await, "pod-with-v1");
    world.begin().await;
    let script = "cut -d: -f2 /proc/self/cgroup | sort | tr '\\n' ' '";
    world.start("limited", &["sleep", "1000"]).await;
    let hierarchies = world.sh("limited", script).await.1;
    for name in ["cpu ", "memory ", "pids ", "freezer ", "name=systemd "] {
        assert!(hierarchies.contains(name), "{hierarchies}");
    }
    drop(powers_off(vm, world).await);
}

#[tokio::test]
async fn a_wrong_parameter_ends_the_machine_with_a_sentence() {
    let vm = AgentVm::boot("agent.hotplug_timeout=never");
    let console = vm.ended();
    let sentence = "coffer-agent: kernel parameter agent.hotplug_timeout=never: \
                    expected a number of seconds over 0";
    assert!(console.contains(sentence), "{console}");
}
