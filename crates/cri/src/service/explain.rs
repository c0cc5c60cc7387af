//! Explain: what a pod or container is doing, from the indexes, the journal and the records' times.

use std::{path::Path, sync::Arc};

use super::Service;
use crate::{
    error::Error,
    explain::{self, AgentSeen, Around, Explanation, Failure, Fit, Running, Word},
    state::{
        Agent, Container, Pod, now_ns,
        record::{self, CONTAINER, POD},
    },
    task::blocking,
};

/// What a word was found to mean.
enum Found {
    Pod(Arc<Pod>),
    /// A container of a pod; the pod may be gone.
    Container(Option<Arc<Pod>>, Arc<Container>),
    /// A start that runs.
    Starting(Running),
    /// A start that failed.
    Failed(Failure),
}

impl Service {
    /// Explains the pods that `word` means, newest first; for a container its pod with this
    /// container alone.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::NotFound`], [`Error::Ambiguous`].
    pub(crate) async fn explain(&self, word: &str) -> Result<Vec<Explanation>, Error> {
        let service = self.clone();
        let word = word.to_owned();
        // Looks at the records' times.
        blocking(move || service.explain_now(&word)).await
    }

    fn explain_now(&self, word: &str) -> Result<Vec<Explanation>, Error> {
        let word = Word::new(word)?;
        let running = self.journal.running();
        let failures = self.journal.failures();
        let mut told: Vec<_> = word
            .best(self.candidates(word, &running, &failures))?
            .into_iter()
            .map(|found| match found {
                Found::Pod(pod) => self.explain_pod(&pod, None, &running, &failures),
                Found::Container(Some(pod), container) => {
                    self.explain_pod(&pod, Some(&container), &running, &failures)
                }
                Found::Container(None, container) => {
                    explain_container(&container, "", &running, &failures)
                }
                Found::Starting(start) => {
                    explain::starting(&start.pod, Some(&start), &failures, now_ns())
                }
                Found::Failed(failure) => {
                    explain::starting(&failure.pod, None, &failures, now_ns())
                }
            })
            .collect();
        told.sort_by_key(|one| std::cmp::Reverse(one.since_ns));
        Ok(told)
    }

    /// Everything that has a name or an id, with how well the word fits.
    fn candidates(
        &self,
        word: Word<'_>,
        running: &[Running],
        failures: &[Failure],
    ) -> Vec<(Fit, Option<crate::domain::Id>, Found)> {
        let pods = self.pods.all();
        let mut all = Vec::new();
        for container in self.containers.all() {
            let fit = word.container(
                &container.facts().config.metadata.name,
                container.id().as_str(),
            );
            let pod = self.pods.get(&container.facts().pod);
            all.push((
                fit,
                Some(container.id().clone()),
                Found::Container(pod, container),
            ));
        }
        // A container has the name of its pod when `coffer run` made both: the pod is meant.
        let names = |name: &str| {
            pods.iter()
                .any(|pod| pod.facts().config.metadata.name == name)
        };
        let shadowed = |one: &(Fit, _, Found)| match &one.2 {
            Found::Container(_, container) => {
                one.0 == Fit::Name
                    && word.pod(&container.facts().config.metadata.name, "") == Fit::Name
                    && names(&container.facts().config.metadata.name)
            }
            _ => false,
        };
        all.retain(|one| !shadowed(one));
        let known = |pod: &crate::domain::PodMetadata| {
            pods.iter()
                .any(|one| explain::same_pod(&one.facts().config.metadata, pod))
        };
        let mut starts = Vec::new();
        for start in running.iter().filter(|one| one.act == explain::START) {
            if self.pods.get(&start.id).is_none() {
                starts.push(start.pod.clone());
                let fit = word.pod(&start.pod.name, start.id.as_str());
                all.push((fit, Some(start.id.clone()), Found::Starting(start.clone())));
            }
        }
        for failure in failures.iter().filter(|one| one.act == explain::START) {
            let starts_again = starts
                .iter()
                .any(|pod| explain::same_pod(pod, &failure.pod));
            if !known(&failure.pod) && !starts_again {
                let fit = word.pod(&failure.pod.name, failure.id.as_str());
                all.push((
                    fit,
                    Some(failure.id.clone()),
                    Found::Failed(failure.clone()),
                ));
            }
        }
        for pod in pods {
            let fit = word.pod(&pod.facts().config.metadata.name, pod.id().as_str());
            all.push((fit, Some(pod.id().clone()), Found::Pod(pod)));
        }
        all
    }

    fn explain_pod(
        &self,
        pod: &Pod,
        only: Option<&Container>,
        running: &[Running],
        failures: &[Failure],
    ) -> Explanation {
        let namespace = &pod.facts().config.metadata.namespace;
        let mut containers = self.containers_of(pod.id());
        containers.sort_by_key(|container| container.facts().created_at_ns);
        let mut told: Vec<_> = containers
            .iter()
            .map(|container| explain_container(container, namespace, running, failures))
            .collect();
        told.extend(creations(pod, &containers, running));
        let agent = match pod.agent() {
            Agent::Here(_) => AgentSeen::Answers,
            Agent::Unknown => AgentSeen::NotReached,
            Agent::Gone => AgentSeen::Gone,
        };
        let around = around(running, failures, &pod.dir().join(POD));
        let mut pod = explain::pod(pod.facts(), &pod.state(), agent, around, told);
        if let Some(only) = only {
            pod.containers.retain(|one| one.id == only.id().as_str());
        }
        pod
    }
}

/// Containers that are being created: they are in no index yet.
fn creations<'a>(
    pod: &'a Pod,
    known: &'a [Arc<Container>],
    running: &'a [Running],
) -> impl Iterator<Item = Explanation> + 'a {
    let metadata = &pod.facts().config.metadata;
    running
        .iter()
        .filter(|one| one.pod == *metadata && one.act == explain::CREATE)
        .filter(|one| known.iter().all(|container| *container.id() != one.id))
        .map(|one| explain::creating(one, now_ns()))
}

fn explain_container(
    container: &Container,
    namespace: &str,
    running: &[Running],
    failures: &[Failure],
) -> Explanation {
    let around = around(running, failures, &container.dir().join(CONTAINER));
    explain::container(container.facts(), &container.state(), namespace, around)
}

fn around<'a>(running: &'a [Running], failures: &'a [Failure], record: &Path) -> Around<'a> {
    Around {
        running,
        failures,
        changed_at_ns: record::written_at_ns(record),
        now_ns: now_ns(),
        daemon: true,
    }
}
