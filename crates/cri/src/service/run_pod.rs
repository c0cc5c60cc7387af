//! RunPodSandbox.
//!
//! ```text
//! plan            checks everything, changes nothing
//! dir, record     Starting{files}   pods/<id>/, pod.json, addresses and ports (network.json),
//!                                   hostname, hosts, resolv.conf, shm
//! record          Starting{netns}   network namespace, pinned; its interfaces, rules of its ports
//! record          Starting{agent}   cgroups, agent, namespaces
//! record          Ready             the pod can be seen from here on
//! ```
//! A failure takes the steps back in reverse. A crash leaves a record whose step says what there may
//! be; recovery takes that back.

use std::sync::Arc;

use super::{Service, plan};
use crate::{
    domain::{Id, PodConfig},
    error::Error,
    inflight::Begin,
    layout::{self, make_dir},
    pod_files, shm,
    state::{Agent, Pod, PodFacts, PodState, StartStep, StopReason, now_ns, record},
    task::blocking,
    undo::Undo,
};

impl Service {
    /// Runs a pod and answers its id. A repeated call joins the first one or gets its result.
    ///
    /// # Errors
    /// The request's fields; [`Error::Differs`]; [`Error::Taken`]; the step that failed, and then
    /// nothing is left behind.
    pub(crate) async fn run_pod_sandbox(&self, config: PodConfig) -> Result<Id, Error> {
        // Before anything else, so that a wrong repetition is told so too.
        plan::pod(&config, String::new, &self.hostname, self.network.is_some())?;
        let key = config.metadata.clone();
        let result = self
            .running_pods
            .run(key.clone(), config.clone(), || {
                match self.finished(&config) {
                    Some(result) => Begin::Done(result),
                    None => Begin::Run(self.clone().start_pod(config)),
                }
            })
            .await;
        sys::failpoint!("run_pod.reply.before");
        result
    }

    /// The result for a pod that exists already.
    fn finished(&self, config: &PodConfig) -> Option<Result<Id, Error>> {
        let pod = self.pods.by_key(&config.metadata)?;
        let what = || config.metadata.to_string();
        if let Some(field) = crate::diff::first_difference(&pod.facts().config, config) {
            return Some(Err(Error::Differs {
                what: what(),
                field,
            }));
        }
        match pod.state() {
            PodState::Ready => Some(Ok(pod.id().clone())),
            // One that never held a container may have been lost before its client heard of it, or
            // is being taken back by recovery: replaced, so that the client's next try succeeds.
            _ if self.containers_of(pod.id()).is_empty() => None,
            state => Some(Err(Error::Taken {
                what: what(),
                id: pod.id().clone(),
                state: match state {
                    PodState::Stopped {
                        reason: StopReason::AgentLost,
                        ..
                    } => "lost its agent",
                    PodState::Stopped { .. } => "was stopped",
                    _ => "is being stopped or removed",
                },
            })),
        }
    }

    async fn start_pod(self, config: PodConfig) -> Result<Id, Error> {
        let id = Id::random().map_err(|e| Error::Random(Arc::new(e)))?;
        let doing = self.journal.begin_start(&id, &config.metadata);
        let result = self.start_pod_as(id, config).await;
        self.journal.end(&doing, result)
    }

    async fn start_pod_as(&self, id: Id, config: PodConfig) -> Result<Id, Error> {
        if let Some(old) = self.pods.by_key(&config.metadata) {
            self.journal.step(&id, "removing the one that was there");
            self.remove_pod_now(&old).await?;
        }
        let own_cgroup = || plan::own_cgroup(&self.settings, &id);
        let plan = plan::pod(&config, own_cgroup, &self.hostname, self.network.is_some())?;
        let facts = PodFacts {
            id: id.clone(),
            config,
            created_at_ns: now_ns(),
            hostname: plan.hostname.clone(),
            cgroup_parent: plan.cgroup_parent.clone(),
        };
        let state = PodState::Starting {
            step: StartStep::Files,
        };
        let pod = Arc::new(Pod::new(facts, self.layout.pod(&id), state));
        let mut undo = Undo::default();
        match self.bring_up(&pod, &plan, &mut undo).await {
            Ok(()) => {
                undo.commit();
                tracing::info!(pod = %id, name = pod.facts().config.metadata.name, "pod is ready");
                Ok(id)
            }
            Err(error) => {
                self.journal.step(&id, "taking it back");
                self.take_back(&pod, undo).await;
                Err(error)
            }
        }
    }

    async fn bring_up(
        &self,
        pod: &Arc<Pod>,
        plan: &plan::PodPlan,
        undo: &mut Undo,
    ) -> Result<(), Error> {
        let turn = pod.turn().await;
        self.journal.step(pod.id(), "its files");

        sys::failpoint!("run_pod.dir.before");
        let dir = pod.dir().to_owned();
        undo.push("directory", {
            let dir = dir.clone();
            blocking(move || layout::remove_dir(&dir, record::POD))
        });
        blocking({
            let dir = dir.clone();
            move || make_dir(&dir, 0o700)
        })
        .await?;
        sys::failpoint!("run_pod.dir.after");
        turn.write_first().await?;

        if let Some(ports) = plan.built_in.clone() {
            undo.push("network", {
                let (service, pod) = (self.clone(), Arc::clone(pod));
                async move { service.give_back_network(&pod).await }
            });
            self.reserve_network(pod, ports).await?;
        }
        sys::failpoint!("run_pod.files.before");
        if plan.own_ipc {
            undo.push("shared memory", {
                let dir = dir.clone();
                blocking(move || shm::unmount_at(&dir))
            });
        }
        let own_ipc = plan.own_ipc;
        let facts = pod.facts().clone();
        let addresses = plan.own_network.then(|| pod.addresses());
        blocking(move || {
            make_dir(&dir.join(layout::CONTAINERS), 0o700)?;
            pod_files::write(
                &dir,
                &facts.hostname,
                addresses.as_deref(),
                facts.config.dns.as_ref(),
            )?;
            if own_ipc { shm::mount(&dir) } else { Ok(()) }
        })
        .await?;
        sys::failpoint!("run_pod.files.after");

        if plan.own_network {
            turn.advance(PodState::Starting {
                step: StartStep::Netns,
            })
            .await?;
            self.journal.step(pod.id(), "its network namespace");
            sys::failpoint!("run_pod.netns.before");
            let pin = pod.netns_path();
            undo.push("network namespace", {
                let pin = pin.clone();
                blocking(move || network::Netns::delete(&pin))
            });
            let parent = pod.dir().join("ns");
            blocking(move || make_dir(&parent, 0o700)).await?;
            blocking(move || network::Netns::create(&pin)).await?;
            sys::failpoint!("run_pod.netns.after");
            self.attach_network(pod).await?;
        }

        turn.advance(PodState::Starting {
            step: StartStep::Agent,
        })
        .await?;
        self.journal.step(pod.id(), "its agent");
        sys::failpoint!("run_pod.agent.before");
        undo.push("agent", {
            let (service, pod) = (self.clone(), Arc::clone(pod));
            async move { service.kill_pod(&pod).await }
        });
        let sandbox = sandbox::start(&self.settings, &pod_spec(pod, plan)).await?;
        sys::failpoint!("run_pod.agent.after");
        turn.advance(PodState::Ready).await?;

        pod.set_agent(Agent::Here(sandbox.clone()));
        self.pods.insert(Arc::clone(pod));
        drop(turn);
        self.watch_agent(pod, &sandbox);
        Ok(())
    }

    /// Takes a start back. What can't be taken back stays known as a stopped pod, so that a
    /// RemovePodSandbox, a repeated call or the next start of the daemon tries again.
    async fn take_back(&self, pod: &Arc<Pod>, undo: Undo) {
        let failed = undo.roll_back().await;
        if failed.is_empty() {
            return;
        }
        for (step, error) in &failed {
            tracing::error!(pod = %pod.id(), step, error = error.chain(),
                "a failed start could not be undone");
        }
        pod.set_agent(Agent::Gone);
        let stopped = PodState::Stopped {
            reason: StopReason::StartFailed,
            at_ns: now_ns(),
        };
        if let Err(error) = pod.turn().await.advance(stopped).await {
            tracing::error!(pod = %pod.id(), error = error.chain(), "nor be recorded");
        }
        self.pods.insert(Arc::clone(pod));
    }

    /// Ends by force what a pod has: its agent, its cgroups, with all that runs there.
    ///
    /// # Errors
    /// What could not be killed or removed.
    pub(crate) async fn kill_pod(&self, pod: &Arc<Pod>) -> Result<(), Error> {
        let (service, pod) = (self.clone(), Arc::clone(pod));
        blocking(move || {
            let lost = service.lost_pod(&pod)?;
            sandbox::kill_pod(&service.settings, &lost).map_err(Error::from)
        })
        .await
    }
}

fn pod_spec(pod: &Pod, plan: &plan::PodPlan) -> sandbox::PodSpec {
    sandbox::PodSpec {
        id: pod.id().to_string(),
        dir: pod.dir().to_owned(),
        hostname: if plan.own_network {
            plan.hostname.clone()
        } else {
            String::new()
        },
        netns: if plan.own_network {
            sandbox::Netns::Path(pod.netns_path())
        } else {
            sandbox::Netns::Host
        },
        ipc: if plan.own_ipc {
            sandbox::IpcMode::Pod
        } else {
            sandbox::IpcMode::Host
        },
        pid: plan.pid,
        sysctls: plan.sysctls.clone(),
        cgroup_parent: plan.cgroup_parent.clone(),
    }
}
