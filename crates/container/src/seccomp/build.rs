//! From the checked profile to the program, by libseccomp.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;

use libseccomp::{ScmpAction, ScmpArch, ScmpFilterContext, ScmpSyscall};
use rustix::fs::{MemfdFlags, memfd_create};

use super::Filter;
use super::error::Error;
use super::prologue;
use super::words::{Checked, Condition, Rule};

/// libseccomp's "binary tree": the filter finds a call in log2(n) comparisons. Since 2.5.0.
const BINARY_TREE: u32 = 2;
/// BPF_MAXINSNS
const MAX_INSTRUCTIONS: usize = 4096;
/// sizeof(struct sock_filter)
pub(super) const INSTRUCTION: usize = 8;

fn library(act: impl Into<String>) -> impl FnOnce(libseccomp::error::SeccompError) -> Error {
    let act = act.into();
    move |source| Error::Library { act, source }
}

/// Compiles.
pub(super) fn build(profile: &Checked) -> Result<Filter, Error> {
    let mut context = ScmpFilterContext::new(profile.default).map_err(library("make a filter"))?;
    context
        .set_ctl_optimize(BINARY_TREE)
        .map_err(library("ask for a binary tree"))?;
    // no_new_privs is the spec's own setting, made by the child.
    context
        .set_ctl_nnp(false)
        .map_err(library("leave no_new_privs alone"))?;
    for &arch in &profile.architectures {
        if !context
            .is_arch_present(arch)
            .map_err(library(format!("look for {arch:?}")))?
        {
            context.add_arch(arch).map_err(library(format!(
                "add architecture {arch:?} (it must have the byte order of this machine)"
            )))?;
        }
    }
    let mut warnings = Vec::new();
    let by_us = prologue::decisions(profile);
    for rule in &profile.rules {
        for name in rule
            .names
            .iter()
            .filter(|n| !by_us.contains_key(n.as_str()))
        {
            match ScmpSyscall::from_name(name) {
                Ok(call) if rule.action != profile.default => add(&mut context, rule, name, call)?,
                Ok(_) => {}
                Err(_) => warnings.push(unknown(name)),
            }
        }
    }
    let mut bpf = prologue::build(profile, &by_us);
    bpf.extend(export(&context)?);
    let count = bpf.len() / INSTRUCTION;
    if count > MAX_INSTRUCTIONS {
        return Err(Error::TooLong(count));
    }
    warnings.sort();
    warnings.dedup();
    Ok(Filter {
        bpf,
        flags: profile.flags,
        warnings,
    })
}

fn unknown(name: &str) -> String {
    format!("system call {name:?} is unknown to libseccomp here; its rule is skipped")
}

fn add(
    context: &mut ScmpFilterContext,
    rule: &Rule,
    name: &str,
    call: ScmpSyscall,
) -> Result<(), Error> {
    if rule.conditions.is_empty() {
        context
            .add_rule(rule.action, call)
            .map_err(library(format!("add a rule for {name}")))?;
    }
    for conditions in &rule.conditions {
        let compares: Vec<_> = conditions.iter().map(Condition::compare).collect();
        context
            .add_rule_conditional(rule.action, call, &compares)
            .map_err(library(format!("add a rule with conditions for {name}")))?;
    }
    Ok(())
}

/// libseccomp 2.5 exports to a file descriptor only.
fn export(context: &ScmpFilterContext) -> Result<Vec<u8>, Error> {
    let fail = |act| {
        move |source| Error::File {
            act,
            path: PathBuf::from("memfd:seccomp"),
            source,
        }
    };
    let fd = memfd_create("seccomp", MemfdFlags::CLOEXEC)
        .map_err(|e| fail("make")(std::io::Error::from(e)))?;
    let mut file = File::from(fd);
    context
        .export_bpf(&file)
        .map_err(library("export the filter"))?;
    file.rewind().map_err(fail("rewind"))?;
    let mut bpf = Vec::new();
    file.read_to_end(&mut bpf).map_err(fail("read"))?;
    Ok(bpf)
}

/// True for actions under which the call goes ahead.
pub(super) fn permits(action: ScmpAction) -> bool {
    matches!(
        action,
        ScmpAction::Allow | ScmpAction::Log | ScmpAction::Trace(_)
    )
}

/// The architectures of a profile with the native one.
pub(super) fn all_architectures(profile: &Checked) -> Vec<ScmpArch> {
    let mut out = vec![ScmpArch::native()];
    for &arch in &profile.architectures {
        let arch = if arch == ScmpArch::Native {
            ScmpArch::native()
        } else {
            arch
        };
        if !out.contains(&arch) {
            out.push(arch);
        }
    }
    out
}
