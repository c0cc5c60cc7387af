//! The machine: virtualisation, the clock, security modules.

use std::{fs, io, path::Path};

use super::{Area, Finding, Verdict};

/// Looks at the machine.
pub(crate) fn look() -> Vec<Finding> {
    let mut area = Area::new("machine");
    kvm(&mut area);
    clock(&mut area);
    modules(&mut area);
    area.done()
}

fn kvm(area: &mut Area) {
    const FIX: &str = "only pods in micro-VMs need it: enable virtualisation in the firmware, or nested \
                       virtualisation of the machine around this one, and load kvm_intel or kvm_amd";
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = extension(&flags);
    let made = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .and_then(|device| sys::probe::kvm_create_vm(&device));
    let cpu_says = cpu.unwrap_or("no vmx or svm in the processor's flags");
    match (made, cpu) {
        (Ok(12), Some(cpu)) => area.ok("KVM", format!("a virtual machine was made ({cpu})")),
        (Ok(12), None) => {
            area.warn(
                "KVM",
                format!("/dev/kvm makes virtual machines, but {cpu_says}"),
                FIX,
            );
        }
        (Ok(version), _) => area.warn("KVM", format!("its version is {version}, not 12"), FIX),
        (Err(error), _) => {
            let said = error.to_string();
            let said = said.split(" (os error").next().unwrap_or_default();
            area.warn("KVM", format!("/dev/kvm: {said}; {cpu_says}"), FIX);
        }
    }
}

/// The processor's extension for virtual machines.
fn extension(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    let has = |name: &str| flags.split_whitespace().any(|flag| flag == name);
    match (has("vmx"), has("svm")) {
        (true, _) => Some("vmx"),
        (_, true) => Some("svm"),
        _ => None,
    }
}

fn clock(area: &mut Area) {
    /// The first of January 2024: no clock that is right shows less.
    const PAST: i64 = 1_704_067_200_000_000_000;
    if crate::human::now_ns() < PAST {
        area.fail(
            "clock",
            "shows a time in the past",
            "set it: certificates and logs rely on it",
        );
        return;
    }
    match sys::probe::clock_is_synchronised() {
        Ok(true) => area.ok("clock", "kept right by somebody"),
        Ok(false) => area.warn(
            "clock",
            "nobody keeps it right, as far as the kernel knows",
            "run chrony or systemd-timesyncd, unless the machine around this one does",
        ),
        Err(error) => area.tried("clock", Err(error), Verdict::Warn, "allow adjtimex"),
    }
}

fn modules(area: &mut Area) {
    let read = |path: &str| -> io::Result<String> { fs::read_to_string(path) };
    match read("/sys/module/apparmor/parameters/enabled") {
        Ok(text) if text.trim() == "Y" => {
            if Path::new("/sys/kernel/security/apparmor/profiles").exists() {
                area.ok("AppArmor", "enabled");
            } else {
                area.warn(
                    "AppArmor",
                    "enabled, but its filesystem is not mounted",
                    "mount -t securityfs none /sys/kernel/security",
                );
            }
        }
        _ => area.ok(
            "AppArmor",
            "not enabled: containers that ask for a profile are refused",
        ),
    }
    match read("/sys/fs/selinux/enforce") {
        Ok(text) if text.trim() == "1" => area.ok("SELinux", "enforcing"),
        Ok(_) => area.ok("SELinux", "permissive"),
        Err(_) => area.ok(
            "SELinux",
            "not enabled: containers that ask for labels are refused",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_is_a_whole_flag() {
        assert_eq!(extension("flags\t\t: fpu vmx sse"), Some("vmx"));
        assert_eq!(extension("flags\t\t: fpu svm"), Some("svm"));
        assert_eq!(extension("flags\t\t: fpu vmx_x hsvm"), None);
        assert_eq!(extension(""), None);
    }
}
