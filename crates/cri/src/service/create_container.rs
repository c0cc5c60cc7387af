//! CreateContainer.
//!
//! ```text
//! look up        pod, image (its layers are held from here on), users in the image's files
//! document       the runtime spec: checks the request whole, changes nothing
//! dir, record    Creating{layers}   pods/<pod>/containers/<id>/, config.json, the writable layer,
//!                                   directories of the log file
//! record         Creating{agent}    the container, up to the point before its program starts
//! record         Created            the container can be seen from here on
//! ```
//! A failure takes the steps back in reverse; recovery does the same after a crash.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use image::{Image, Part};
use sys::atomic::Durability;

use super::{Service, remove_container::remove_tree};
use crate::{
    checks::invalid,
    domain::{ContainerConfig, ContainerKey, Id, ImageSpec, Mount},
    error::Error,
    index::Object,
    inflight::Begin,
    layout::{self, CONFIG, make_dir, make_dirs},
    pod_files, shm,
    spec::{self, ContainerInput, ImageInput, PidNamespace, PodInput, RealHost, RootfsFiles},
    state::{
        Container, ContainerFacts, ContainerState, CreateStep, ImageFacts, Pod, PodState,
        UserFacts, now_ns, record,
    },
    task::blocking,
    undo::Undo,
    upper,
};

const SIGTERM: i32 = 15;
/// An empty directory beside a container's writable layer, below the layers of its image volumes.
const NOTHING: &str = "nothing";

impl Service {
    /// Creates a container in a pod and answers its id. A repeated call joins the first one or gets
    /// its result.
    ///
    /// # Errors
    /// The request's fields; [`Error::NotFound`], [`Error::ImageNotFound`], [`Error::State`];
    /// [`Error::Differs`]; the step that failed, and then nothing is left behind.
    pub(crate) async fn create_container(
        &self,
        pod: &str,
        config: ContainerConfig,
    ) -> Result<Id, Error> {
        let pod = self.pods.resolve(pod)?;
        let key = ContainerKey {
            pod: pod.id().clone(),
            container: config.metadata.clone(),
        };
        let result = self
            .running_creates
            .run(key.clone(), config.clone(), || {
                let known = self.containers.by_key(&key);
                match known.and_then(|container| finished(&container, &config)) {
                    Some(result) => Begin::Done(result),
                    None => Begin::Run(self.clone().make_container(pod, config)),
                }
            })
            .await;
        sys::failpoint!("create_container.reply.before");
        result
    }

    async fn make_container(self, pod: Arc<Pod>, config: ContainerConfig) -> Result<Id, Error> {
        if pod.state() != PodState::Ready {
            return Err(pod.not("is not ready: no container can be created in it"));
        }
        let key = ContainerKey {
            pod: pod.id().clone(),
            container: config.metadata.clone(),
        };
        let id = Id::random().map_err(|e| Error::Random(Arc::new(e)))?;
        let name = config.metadata.name.clone();
        let doing = self.journal.begin_create(&pod, &id, &name);
        let result = self.make_container_as(id, &pod, &key, config).await;
        self.journal.end(&doing, result)
    }

    async fn make_container_as(
        &self,
        id: Id,
        pod: &Arc<Pod>,
        key: &ContainerKey,
        config: ContainerConfig,
    ) -> Result<Id, Error> {
        if let Some(old) = self.containers.by_key(key) {
            self.journal.step(&id, "removing the one that was there");
            self.remove_container_now(&old).await?;
        }
        let mut undo = Undo::default();
        let made = self.make(pod, &id, config, &mut undo).await;
        match made {
            Ok(()) => {
                undo.commit();
                tracing::info!(container = %id, pod = %pod.id(), "container is created");
                Ok(id)
            }
            Err(error) => {
                self.journal.step(&id, "taking it back");
                let failed = undo.roll_back().await;
                for (step, error) in &failed {
                    // The record says "creating": the next start of the daemon tries again.
                    tracing::error!(container = %id, step, error = error.chain(),
                        "a failed creation could not be undone");
                }
                Err(error)
            }
        }
    }

    async fn make(
        &self,
        pod: &Arc<Pod>,
        id: &Id,
        config: ContainerConfig,
        undo: &mut Undo,
    ) -> Result<(), Error> {
        self.journal.step(id, "the pod's agent");
        let sandbox = pod.sandbox().await?;
        self.journal.step(id, "its image and document");
        let images = self.hold_images(id, &config).await?;
        undo.push("hold on layers", {
            let (service, id) = (self.clone(), id.clone());
            let images: Vec<String> = images.iter().map(|image| image.id.clone()).collect();
            async move {
                service.drop_layers(&id);
                // They may have been removed meanwhile.
                images
                    .iter()
                    .for_each(|image| service.collect_behind(image));
                Ok(())
            }
        });
        let draft = {
            let (service, pod, id) = (self.clone(), Arc::clone(pod), id.clone());
            blocking(move || service.draft(&pod, id, config, &images)).await?
        };
        let pid = self.pid_namespace(pod, draft.pid)?;
        let facts = draft.facts;

        let dir = self.layout.container(pod.id(), id);
        let state = ContainerState::Creating {
            step: CreateStep::Layers,
        };
        let container = Arc::new(Container::new(facts.clone(), dir.clone(), state));
        let turn = container.turn().await;
        sys::failpoint!("create_container.dir.before");
        undo.push("directory", {
            let dir = dir.clone();
            blocking(move || layout::remove_dir(&dir, record::CONTAINER))
        });
        blocking({
            let dir = dir.clone();
            move || make_dir(&dir, 0o700)
        })
        .await?;
        sys::failpoint!("create_container.dir.after");
        turn.write_first().await?;

        self.journal.step(id, "its writable layer");
        sys::failpoint!("create_container.layers.before");
        let layer = self.layout.layer(id);
        let logs = missing_parents(&facts.log_path);
        undo.push("writable layer", {
            let layer = layer.clone();
            blocking(move || remove_tree(&layer))
        });
        undo.push("log", {
            let file = Some(facts.log_path.clone()).filter(|file| !file.exists());
            let logs = logs.clone();
            blocking(move || {
                remove_log(file.as_deref(), &logs);
                Ok::<(), Error>(())
            })
        });
        blocking({
            let (dir, layer, json) = (dir.clone(), layer.clone(), draft.spec_json.clone());
            let top = facts.image.layers.first().cloned();
            let volumes = !facts.volumes.is_empty();
            move || {
                let path = dir.join(CONFIG);
                sys::atomic::write(&path, &json, 0o600, Durability::Process)
                    .map_err(Error::file("write", &path))?;
                make_dir(&layer, 0o700)?;
                upper::make(&layer.join("upper"), top.as_deref())?;
                make_dir(&layer.join("work"), 0o700)?;
                if volumes {
                    make_dir(&layer.join(NOTHING), 0o755)?;
                }
                logs.last()
                    .map_or(Ok(()), |parent| make_dirs(parent, 0o755))
            }
        })
        .await?;
        sys::failpoint!("create_container.layers.after");

        turn.advance(ContainerState::Creating {
            step: CreateStep::Agent,
        })
        .await?;
        self.journal
            .step(id, "the agent, which makes the container");
        sys::failpoint!("create_container.agent.before");
        undo.push("container", {
            let (sandbox, id) = (sandbox.clone(), id.clone());
            async move {
                match sandbox
                    .remove_container(id.as_str(), super::remove_container::REMOVAL)
                    .await
                {
                    Err(e) if !e.is_not_found() && !e.is_agent_gone() => Err(e.into()),
                    _ => Ok(()),
                }
            }
        });
        let request = sandbox::ContainerSpec {
            id: id.to_string(),
            spec_json: draft.spec_json,
            rootfs: sandbox::Rootfs::Overlay {
                lowers: facts.image.layers.clone(),
                upper: layer.join("upper"),
                work: layer.join("work"),
            },
            pid,
            log_path: (!facts.log_path.as_os_str().is_empty()).then(|| facts.log_path.clone()),
            log_limits: self.log_limits,
            stdin: facts.config.stdin,
            stdin_once: facts.config.stdin_once,
            tty: facts.config.tty,
        };
        let pid = sandbox.create_container(&request).await?;
        sys::failpoint!("create_container.agent.after");
        turn.advance(ContainerState::Created { pid }).await?;

        self.containers.insert(Arc::clone(&container));
        drop(turn);
        // A pod that is being stopped has listed its containers before or will after this.
        if pod.state() != PodState::Ready {
            self.containers.remove(id);
            return Err(pod.not("was stopped while the container was being created"));
        }
        self.watch_container(&container, &sandbox);
        Ok(())
    }

    /// The image and those of its volumes, held: their layers stay from here on.
    async fn hold_images(&self, id: &Id, config: &ContainerConfig) -> Result<Vec<Image>, Error> {
        let volumes = config
            .mounts
            .iter()
            .filter_map(|mount| mount.image.as_ref());
        let names: Vec<String> = std::iter::once(&config.image)
            .chain(volumes)
            .map(|spec| spec.image.clone())
            .collect();
        let (service, id) = (self.clone(), id.clone());
        blocking(move || {
            // Leased, none can go between the look and the note of its use.
            let mut leases = Vec::with_capacity(names.len());
            for name in names {
                let Some(lease) = service.images.lease(&service.image_word(&name)?)? else {
                    return Err(Error::ImageNotFound { name });
                };
                if service.verify_images {
                    service.check_image(lease.image())?;
                }
                leases.push(lease);
            }
            let stacks = leases.iter().map(|lease| lease.image().layers.as_slice());
            service.use_layers(&id, stacks);
            Ok(leases.iter().map(|lease| lease.image().clone()).collect())
        })
        .await
    }

    /// The document and the facts. Blocks.
    fn draft(
        &self,
        pod: &Pod,
        id: Id,
        config: ContainerConfig,
        images: &[Image],
    ) -> Result<Draft, Error> {
        let Some((image, of_volumes)) = images.split_first() else {
            let what = "no image is held".to_owned();
            return Err(Error::Internal { what });
        };
        let file = |path| match image::rootfs_read(&image.layers, path, image::user::FILE_MAX) {
            Ok(bytes) => Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) => Err(Error::from(error)),
        };
        let files = RootfsFiles {
            passwd: file("/etc/passwd")?,
            group: file("/etc/group")?,
        };
        let image_input = ImageInput {
            name: config.image.image.clone(),
            user: image.config.user.clone(),
            env: image.config.env.clone(),
            entrypoint: image.config.entrypoint.clone(),
            cmd: image.config.cmd.clone(),
            working_dir: image.config.working_dir.clone(),
            stop_signal: image.config.stop_signal.clone(),
        };
        let facts = pod.facts();
        let netns = (!facts.host_network()).then(|| pod.netns_path());
        let shm = Some(shm::path(pod.dir())).filter(|_| facts.own_ipc());
        let [hostname, hosts, resolv] =
            [pod_files::HOSTNAME, pod_files::HOSTS, pod_files::RESOLV].map(|n| pod.dir().join(n));
        let pod_input = PodInput {
            config: &facts.config,
            cgroup_parent: &facts.cgroup_parent,
            hostname: &facts.hostname,
            netns: netns.as_deref(),
            shm: shm.as_deref(),
            hostname_file: Some(&hostname),
            hosts_file: Some(&hosts),
            resolv_file: Some(&resolv),
        };
        let volumes = volumes(&config, of_volumes, &self.layout.layer(&id).join(NOTHING))?;
        let input = ContainerInput {
            id: id.as_str(),
            config: &config,
            pod: &pod_input,
            image: &image_input,
            volumes: &volumes,
            files: &files,
            node: &self.node,
        };
        let built = spec::container(&input, &self.facts, &RealHost)?;
        let spec_json = serde_json::to_vec(&built.spec).map_err(|e| Error::Internal {
            what: format!("the document of {id}: {e}"),
        })?;
        let asked = config
            .mounts
            .iter()
            .filter_map(|mount| mount.image.as_ref());
        let volumes = asked.zip(of_volumes);
        Ok(Draft {
            spec_json,
            pid: built.facts.pid,
            facts: ContainerFacts {
                id,
                pod: facts.id.clone(),
                created_at_ns: now_ns(),
                image: image_facts(&config.image, image),
                volumes: volumes
                    .map(|(asked, image)| image_facts(asked, image))
                    .collect(),
                config,
                user: UserFacts {
                    uid: built.facts.user.uid,
                    gid: built.facts.user.gid,
                    groups: built.facts.user.groups,
                },
                log_path: built.facts.log_path.unwrap_or_default(),
                stop_signal: built.facts.stop_signal.unwrap_or(SIGTERM),
            },
        })
    }

    fn pid_namespace(&self, pod: &Pod, pid: PidNamespace) -> Result<sandbox::ContainerPid, Error> {
        Ok(match pid {
            PidNamespace::Container => sandbox::ContainerPid::Container,
            PidNamespace::Pod => sandbox::ContainerPid::Pod,
            PidNamespace::Node => sandbox::ContainerPid::Node,
            PidNamespace::Target(id) => {
                let target = self.containers.resolve(&id)?;
                if target.facts().pod != *pod.id() {
                    return Err(target.not("is in another pod: it can't be a pid target"));
                }
                if !matches!(target.state(), ContainerState::Running { .. }) {
                    return Err(target.not("is not running: it can't be a pid target"));
                }
                sandbox::ContainerPid::Target(target.id().to_string())
            }
        })
    }
}

/// What is decided before anything is done.
struct Draft {
    spec_json: Vec<u8>,
    pid: PidNamespace,
    facts: ContainerFacts,
}

/// The result for a container that exists already; `None` for one that is half made or half removed,
/// as recovery finds them: it goes, and another one takes its place.
fn finished(container: &Container, config: &ContainerConfig) -> Option<Result<Id, Error>> {
    let state = container.state();
    if matches!(
        state,
        ContainerState::Creating { .. } | ContainerState::Removing { .. }
    ) {
        return None;
    }
    Some(
        match crate::diff::first_difference(&container.facts().config, config) {
            None => Ok(container.id().clone()),
            Some(field) => Err(Error::Differs {
                what: container.key().to_string(),
                field,
            }),
        },
    )
}

/// Where what the mounts of images show lies; `nothing` is an empty directory. Blocks.
fn volumes(config: &ContainerConfig, images: &[Image], nothing: &Path) -> Result<Vec<Part>, Error> {
    let mounts = config.mounts.iter().enumerate();
    let of_images = mounts.filter(|(_, mount)| mount.image.is_some());
    let part = |((at, mount), image): ((usize, &Mount), &Image)| {
        let path = &mount.image_sub_path;
        match image::rootfs_part(&image.layers, path)? {
            Some(Part::Directory(mut lowers)) => {
                lowers.push(nothing.to_owned());
                Ok(Part::Directory(lowers))
            }
            Some(file) => Ok(file),
            None => Err(invalid(
                format!("mounts[{at}].image_sub_path"),
                format!("the image has no {path:?}"),
            )),
        }
    };
    of_images.zip(images).map(part).collect()
}

fn image_facts(asked: &ImageSpec, image: &Image) -> ImageFacts {
    ImageFacts {
        id: image.id.clone(),
        name: image_name(asked, image),
        reference: image.repo_digests.first().unwrap_or(&image.id).clone(),
        layers: image.layers.clone(),
    }
}

/// What people call the image: a client that has resolved it asks by id.
fn image_name(asked: &ImageSpec, image: &Image) -> String {
    let hex = asked.image.strip_prefix("sha256:").unwrap_or(&asked.image);
    if !image.id.trim_start_matches("sha256:").starts_with(hex) {
        return asked.image.clone();
    }
    let said = Some(&asked.user_specified_image).filter(|name| !name.is_empty());
    said.or(image.repo_tags.first())
        .unwrap_or(&image.id)
        .clone()
}

/// The directories above `file` that are not there, the outermost first.
fn missing_parents(file: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<_> = file
        .ancestors()
        .skip(1)
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    missing
}

/// Removes a log file that was not there before and has nothing in it, then those of the directories
/// that are empty, the innermost first.
fn remove_log(file: Option<&Path>, dirs: &[PathBuf]) {
    if let Some(file) = file
        && fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() == 0)
    {
        // One that stays keeps its directories, nothing worse.
        let _ = fs::remove_file(file);
    }
    for dir in dirs.iter().rev() {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_that_were_missing_and_stayed_empty_go() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/b/0.log");
        let missing = missing_parents(&file);
        assert_eq!(missing, [dir.path().join("a"), dir.path().join("a/b")]);
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        assert!(missing_parents(&file).is_empty());
        fs::write(dir.path().join("a/other"), "").unwrap();
        remove_log(Some(&file), &missing);
        assert!(dir.path().join("a/other").exists() && !dir.path().join("a/b").exists());
        fs::remove_file(dir.path().join("a/other")).unwrap();
        remove_log(Some(&file), &missing);
        assert!(dir.path().exists() && !dir.path().join("a").exists());
    }
}
