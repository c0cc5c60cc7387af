//! What a process is: streams, limits, identity, capabilities, filters. The same for create and exec.

use init::{Fd, NO_FD, Step};
use oci::runtime::{self as spec, RlimitType};

use super::{
    Error, Options, Plan, Privileged, Source, Streams, capabilities::Sets, environment, schedule,
};
use crate::host::Facts;

/// Where a profile for the next program is asked for.
pub(crate) const APPARMOR: &str = "thread-self/attr/apparmor/exec";

/// execvp's path where the environment has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) struct Process<'a> {
    pub(super) facts: &'a Facts,
    pub(super) options: &'a Options,
    pub(super) process: &'a spec::Process,
    pub(super) seccomp: Option<&'a spec::LinuxSeccomp>,
    pub(super) in_user_namespace: bool,
    /// The procfs for exec attributes, opened before the pivot.
    pub(super) proc: Option<Fd>,
    pub(super) sets: Sets,
}

impl<'a> Process<'a> {
    pub(super) fn new(
        plan: &mut Plan,
        facts: &'a Facts,
        options: &'a Options,
        process: &'a spec::Process,
        seccomp: Option<&'a spec::LinuxSeccomp>,
        in_user_namespace: bool,
    ) -> Result<Self, Error> {
        let sets = Sets::read(
            plan,
            facts,
            process.capabilities.as_ref(),
            options.clamp_capabilities,
            in_user_namespace,
        )?;
        let this = Self {
            facts,
            options,
            process,
            seccomp,
            in_user_namespace,
            proc: None,
            sets,
        };
        this.check()?;
        this.limits(plan)?;
        Ok(this)
    }

    fn check(&self) -> Result<(), Error> {
        let process = self.process;
        if process.args.is_empty() {
            return Err(Error::invalid("process.args", "names no program"));
        }
        if !process.cwd.starts_with('/') {
            return Err(Error::invalid(
                "process.cwd",
                format!("{:?} is not an absolute path", process.cwd),
            ));
        }
        if process
            .user
            .username
            .as_deref()
            .is_some_and(|name| !name.is_empty())
        {
            return Err(Error::unsupported(
                "process.user.username",
                "it is for Windows: use uid and gid",
            ));
        }
        if !process.user.additional_gids.is_empty() && !self.facts.setgroups {
            return Err(Error::unsupported(
                "process.user.additionalGids",
                "without CAP_SETGID a user namespace has no supplementary groups",
            ));
        }
        if self.apparmor().is_some() && !(self.facts.apparmor)() {
            return Err(Error::unsupported(
                "process.apparmorProfile",
                "AppArmor is not enabled on this host: take the profile out or boot with it",
            ));
        }
        if self.selinux().is_some() && !(self.facts.selinux)() {
            return Err(Error::unsupported(
                "process.selinuxLabel",
                "SELinux is not enabled on this host: take the label out or boot with it",
            ));
        }
        match self.seccomp {
            Some(profile) => check_notified(profile),
            None => Ok(()),
        }
    }

    fn apparmor(&self) -> Option<&'a str> {
        let profile = self.process.apparmor_profile.as_deref();
        profile.filter(|p| !p.is_empty() && *p != "unconfined")
    }

    fn selinux(&self) -> Option<&'a str> {
        self.process
            .selinux_label
            .as_deref()
            .filter(|l| !l.is_empty())
    }

    /// A procfs is needed for exec attributes.
    pub(super) fn wants_proc(&self) -> bool {
        self.apparmor().is_some() || self.selinux().is_some()
    }

    /// Limits that only the parent may set go to it; the others are steps of `settle`.
    fn limits(&self, plan: &mut Plan) -> Result<(), Error> {
        let mut seen = Vec::new();
        for limit in &self.process.rlimits {
            let field = format!("process.rlimits {}", limit.type_);
            let type_: RlimitType = limit
                .type_
                .parse()
                .map_err(|e: spec::UnknownWord| Error::invalid("process.rlimits", e.to_string()))?;
            if seen.contains(&type_) {
                return Err(Error::invalid(field, "stands there twice"));
            }
            seen.push(type_);
            if limit.soft > limit.hard {
                return Err(Error::invalid(
                    field,
                    format!("soft {} is over hard {}", limit.soft, limit.hard),
                ));
            }
            if self.in_user_namespace {
                plan.privileged.push(Privileged::Rlimit {
                    name: limit.type_.clone(),
                    resource: type_.number(),
                    soft: limit.soft,
                    hard: limit.hard,
                });
            }
        }
        let score = self.oom_score_adj(plan)?;
        if let Some(score) = score.filter(|_| self.in_user_namespace) {
            plan.privileged.push(Privileged::OomScoreAdj(score));
        }
        Ok(())
    }

    /// The score, not lower than we may go.
    fn oom_score_adj(&self, plan: &mut Plan) -> Result<Option<i32>, Error> {
        let Some(score) = self.process.oom_score_adj else {
            return Ok(None);
        };
        if !(-1000..=1000).contains(&score) {
            return Err(Error::invalid(
                "process.oomScoreAdj",
                format!("{score} is outside of -1000 to 1000"),
            ));
        }
        if self.facts.may_lower_oom_score() {
            return Ok(Some(score));
        }
        let own = (self.facts.oom_score_adj)();
        if score < own {
            let note = format!(
                "process.oomScoreAdj {score} was raised to {own}, our own: to go lower needs \
                 CAP_SYS_RESOURCE"
            );
            if !plan.notes.contains(&note) {
                plan.notes.push(note);
            }
            return Ok(Some(own));
        }
        Ok(Some(score))
    }

    /// Session and streams: early, because the terminal is the container's.
    pub(super) fn session(&self, plan: &mut Plan) -> Result<(), Error> {
        plan.push(Step::Setsid);
        if !self.options.no_new_keyring {
            let name = plan.str("id", &format!("_ses.{}", self.options.id))?;
            plan.push(Step::Keyring { name });
        }
        Ok(())
    }

    pub(super) fn streams(&self, plan: &mut Plan, console: bool) -> Result<(), Error> {
        match self.options.stdio {
            Streams::Terminal => {
                let side = |n: u32| {
                    u16::try_from(n).map_err(|_| {
                        Error::invalid("process.consoleSize", format!("{n} is over 65535"))
                    })
                };
                let size = self.process.console_size.as_ref();
                plan.push(Step::Terminal {
                    rows: side(size.map_or(0, |s| s.height))?,
                    columns: side(size.map_or(0, |s| s.width))?,
                    console,
                    uid: self.process.user.uid,
                });
            }
            Streams::Inherit => {}
            Streams::Given(given) => {
                let mut fds = [NO_FD; 3];
                for ((fd, given), number) in fds.iter_mut().zip(given).zip(0..) {
                    *fd = plan.fd(if given {
                        Source::Stream(number)
                    } else {
                        Source::Null
                    });
                }
                let [stdin, stdout, stderr] = fds;
                plan.push(Step::Stdio {
                    stdin,
                    stdout,
                    stderr,
                });
            }
        }
        Ok(())
    }

    /// Everything from limits to the program, but the gate and what comes after it.
    pub(super) fn settle(&self, plan: &mut Plan) -> Result<(), Error> {
        if !self.in_user_namespace {
            self.own_limits(plan)?;
        }
        schedule::push(plan, self.process)?;
        self.exec_attribute(plan)?;
        plan.push(Step::Umask {
            mask: self.process.user.umask.unwrap_or(0o022),
        });
        // Before the filter, which need not allow getcwd for our own sake.
        let cwd = plan.str("process.cwd", &self.process.cwd)?;
        plan.push(Step::Chdir { path: cwd });
        if !self.process.no_new_privileges {
            self.seccomp(plan);
        }
        plan.push(self.sets.bounding());
        let user = &self.process.user;
        let (first, count) = plan.numbers(&user.additional_gids);
        plan.push(Step::Ids {
            uid: user.uid,
            gid: user.gid,
            first,
            count,
            groups: self.facts.setgroups && !self.options.said.keep_groups,
        });
        plan.push(self.sets.set());
        plan.push(Step::ChdirAgain { path: cwd });
        if self.process.no_new_privileges {
            plan.push(Step::NoNewPrivs);
        }
        let path = environment(self.process, self.options)
            .iter()
            .find_map(|entry| entry.strip_prefix("PATH=").map(str::to_owned));
        let path = plan.str("process.env", path.as_deref().unwrap_or(DEFAULT_PATH))?;
        let name = self
            .process
            .args
            .first()
            .map(String::as_str)
            .unwrap_or_default();
        let name = plan.str("process.args", name)?;
        plan.push(Step::Find { name, path });
        let first = self.options.preserve_fds.saturating_add(3);
        plan.push(Step::CloseOnExec { first });
        if self.process.no_new_privileges && self.notifies() {
            self.seccomp(plan);
        }
        Ok(())
    }

    fn notifies(&self) -> bool {
        self.seccomp.is_some_and(notifies)
    }

    /// The filter of a process without new privileges: as late as it can be, so that a profile need not
    /// allow what comes before; startContainer hooks are confined by it like the program (as runc has it).
    pub(super) fn late_filter(&self, plan: &mut Plan) {
        if self.process.no_new_privileges && !self.notifies() {
            self.seccomp(plan);
        }
    }

    /// The program.
    pub(super) fn become_program(&self, plan: &mut Plan) -> Result<(), Error> {
        let args = plan.list("process.args", self.process.args.iter().map(String::as_str))?;
        let env = environment(self.process, self.options);
        for entry in &env {
            if entry.starts_with('=') || !entry.contains('=') {
                return Err(Error::invalid(
                    "process.env",
                    format!("{entry:?} is no NAME=value"),
                ));
            }
        }
        let env = plan.list("process.env", env.iter().map(String::as_str))?;
        plan.push(Step::Exec { args, env });
        Ok(())
    }

    fn seccomp(&self, plan: &mut Plan) {
        if let Some(profile) = self.seccomp {
            plan.seccomp = Some(Box::new(profile.clone()));
            // The flags come with the compiled program.
            plan.push(Step::Seccomp { flags: 0 });
        }
    }

    fn own_limits(&self, plan: &mut Plan) -> Result<(), Error> {
        if let Some(score) = self.oom_score_adj(plan)? {
            let proc = match self.proc {
                Some(proc) => proc,
                None => plan.fd(Source::Proc),
            };
            let path = plan.str("process.oomScoreAdj", "self/oom_score_adj")?;
            let value = plan.str("process.oomScoreAdj", &score.to_string())?;
            plan.push(Step::WriteProc { proc, path, value });
        }
        for limit in &self.process.rlimits {
            if let Ok(type_) = limit.type_.parse::<RlimitType>() {
                plan.push(Step::Rlimit {
                    resource: type_.number(),
                    soft: limit.soft,
                    hard: limit.hard,
                });
            }
        }
        Ok(())
    }

    fn exec_attribute(&self, plan: &mut Plan) -> Result<(), Error> {
        let Some(proc) = self.proc else { return Ok(()) };
        if let Some(profile) = self.apparmor() {
            let path = plan.str("process.apparmorProfile", APPARMOR)?;
            let value = plan.str("process.apparmorProfile", &format!("exec {profile}"))?;
            plan.push(Step::WriteProc { proc, path, value });
        }
        if let Some(label) = self.selinux() {
            let path = plan.str("process.selinuxLabel", "thread-self/attr/exec")?;
            let value = plan.str("process.selinuxLabel", label)?;
            plan.push(Step::WriteProc { proc, path, value });
        }
        Ok(())
    }
}

/// Whether a filter of this profile has a listener.
pub(super) fn notifies(profile: &spec::LinuxSeccomp) -> bool {
    let path = profile.listener_path.as_deref();
    profile.notifies() || path.is_some_and(|path| !path.is_empty())
}

/// Calls by which the parent learns of the listener: were they notified, nobody could hand it on. All
/// others wait for the agent, which has it by then. (`write` is not called; runc's users know it.)
const STILL_NEEDED: [&str; 2] = ["sendto", "write"];

fn check_notified(profile: &spec::LinuxSeccomp) -> Result<(), Error> {
    for (index, rule) in profile.syscalls.iter().enumerate() {
        if rule.action != spec::SeccompAction::Notify {
            continue;
        }
        let needed = |name: &&String| STILL_NEEDED.contains(&name.as_str());
        if let Some(name) = rule.names.iter().find(needed) {
            return Err(Error::unsupported(
                format!(
                    "linux.seccomp.syscalls[{index}]: SCMP_ACT_NOTIFY cannot be used for the {name} \
                     syscall: it"
                ),
                "the listener is handed on by it",
            ));
        }
    }
    Ok(())
}
