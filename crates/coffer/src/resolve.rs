//! What a word on the command line refers to: a name, an id, or a prefix of an id that only one has.
//! `pod/NAME` and `container/NAME` say which of the two is meant; without it a container wins.

use crate::{
    client::Daemon,
    error::{Error, Known},
    human, nearest,
    view::{Container, Pod, State},
};

/// One thing that a command works on.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A container.
    Container(Container),
    /// A pod, with everything in it.
    Pod(Pod),
}

/// The container that `word` means.
pub(crate) async fn container(daemon: &Daemon, word: &str) -> Result<Container, Error> {
    let word = word.strip_prefix("container/").unwrap_or(word);
    pick_container(&daemon.containers().await?, word)
}

/// The pod that `word` means.
pub(crate) async fn pod(daemon: &Daemon, word: &str) -> Result<Pod, Error> {
    pick_pod(
        &daemon.pods().await?,
        word.strip_prefix("pod/").unwrap_or(word),
    )
}

/// What a command's words may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Containers and pods.
    Any,
    /// Containers only.
    Container,
    /// Pods only.
    Pod,
    /// Images.
    Image,
}

/// What `word` means where only some kinds are meant.
pub(crate) async fn targeted(daemon: &Daemon, kind: Kind, word: &str) -> Result<Target, Error> {
    match kind {
        Kind::Container => Ok(Target::Container(container(daemon, word).await?)),
        Kind::Pod => Ok(Target::Pod(pod(daemon, word).await?)),
        Kind::Any | Kind::Image => target(daemon, word).await,
    }
}

/// The error for an image that is not there, with the names of those that are.
pub(crate) async fn no_image(daemon: &Daemon, word: &str) -> Result<Error, Error> {
    let names = daemon
        .images()
        .await?
        .into_iter()
        .flat_map(|image| image.names);
    Ok(unknown_image(word, names.collect()))
}

/// The container or pod that `word` means.
pub(crate) async fn target(daemon: &Daemon, word: &str) -> Result<Target, Error> {
    if let Some(word) = word.strip_prefix("pod/") {
        return Ok(Target::Pod(pick_pod(&daemon.pods().await?, word)?));
    }
    if let Some(word) = word.strip_prefix("container/") {
        return Ok(Target::Container(pick_container(
            &daemon.containers().await?,
            word,
        )?));
    }
    let containers = daemon.containers().await?;
    let pods = daemon.pods().await?;
    match (pick_container(&containers, word), pick_pod(&pods, word)) {
        (Ok(container), _) => Ok(Target::Container(container)),
        (Err(Error::Unknown { .. }), Ok(pod)) => Ok(Target::Pod(pod)),
        (Err(Error::Unknown { .. }), Err(Error::Unknown { .. })) => {
            let names = containers.iter().map(|container| container.name.clone());
            let names = names.chain(pods.iter().map(|pod| format!("pod/{}", pod.name)));
            Err(unknown("container or pod", word, names.collect()))
        }
        (Err(Error::Unknown { .. }), Err(error)) | (Err(error), _) => Err(error),
    }
}

fn pick_container(all: &[Container], word: &str) -> Result<Container, Error> {
    let keys = |container: &Container| (container.name.clone(), container.id.clone());
    let exact: Vec<&Container> = all.iter().filter(|one| one.name == word).collect();
    // A restarted container has attempts; the word means the newest of one pod, and the running
    // one when several pods have a container of that name.
    let mut living = exact.iter().filter(|one| one.state == State::Running);
    if let (Some(only), None) = (living.next(), living.next()) {
        return Ok((*only).clone());
    }
    if let Some(newest) = exact.iter().max_by_key(|one| one.attempt)
        && exact.iter().all(|one| one.pod_id == newest.pod_id)
    {
        return Ok((*newest).clone());
    }
    pick(all, word, "container", keys)
}

fn pick_pod(all: &[Pod], word: &str) -> Result<Pod, Error> {
    pick(all, word, "pod", |pod| (pod.name.clone(), pod.id.clone()))
}

fn pick<T: Clone>(
    all: &[T],
    word: &str,
    kind: &'static str,
    keys: impl Fn(&T) -> (String, String),
) -> Result<T, Error> {
    let matching = |wanted: &dyn Fn(&str, &str) -> bool| -> Vec<&T> {
        let fits = |one: &&T| {
            let (name, id) = keys(one);
            wanted(&name, &id)
        };
        all.iter().filter(fits).collect()
    };
    for found in [
        matching(&|name, _| name == word),
        matching(&|_, id| id == word),
        matching(&|_, id| !word.is_empty() && id.starts_with(word)),
    ] {
        match found.as_slice() {
            [] => {}
            [one] => return Ok((*one).clone()),
            many => {
                let ids = many
                    .iter()
                    .map(|one| human::short(&keys(one).1).to_owned())
                    .collect();
                return Err(Error::Ambiguous {
                    kind,
                    name: word.to_owned(),
                    ids,
                });
            }
        }
    }
    Err(unknown(
        kind,
        word,
        all.iter().map(|one| keys(one).0).collect(),
    ))
}

/// The error for a word that nothing has.
pub(crate) fn unknown(kind: &'static str, word: &str, mut names: Vec<String>) -> Error {
    names.sort();
    names.dedup();
    let nearest = nearest::of(word, names.iter().map(String::as_str));
    Error::Unknown {
        kind,
        name: word.to_owned(),
        known: Known { names, nearest },
    }
}

/// The same for an image, whose names people shorten.
pub(crate) fn unknown_image(word: &str, names: Vec<String>) -> Error {
    let short = |name: &str| -> String {
        let last = name.rsplit('/').next().unwrap_or(name);
        let tagged = word.contains(':');
        let last = if tagged {
            last
        } else {
            last.split(':').next().unwrap_or(last)
        };
        last.to_owned()
    };
    let shorts: Vec<String> = names.iter().map(|name| short(name)).collect();
    let nearest = nearest::of(word, shorts.iter().map(String::as_str));
    Error::Unknown {
        kind: "image",
        name: word.to_owned(),
        known: Known { names, nearest },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::view::Time;

    fn container(id: &str, name: &str, pod: &str, attempt: u32, state: State) -> Container {
        Container {
            id: id.into(),
            name: name.into(),
            attempt,
            pod_id: pod.into(),
            pod_name: pod.into(),
            image: String::new(),
            image_id: String::new(),
            state,
            created_at: Time(0),
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn names_win_over_prefixes_and_the_newest_attempt_over_older_ones() {
        let all = [
            container("aaa1", "web", "p1", 0, State::Exited),
            container("aab2", "web", "p1", 1, State::Created),
            container("b3", "aaa1x", "p1", 0, State::Running),
        ];
        assert_eq!(pick_container(&all, "web").unwrap().id, "aab2");
        assert_eq!(pick_container(&all, "aaa").unwrap().id, "aaa1");
        assert_eq!(pick_container(&all, "b").unwrap().id, "b3");
        let two = pick_container(&all, "aa").unwrap_err().to_string();
        assert_eq!(two, "\"aa\" means several containers: aaa1, aab2");
    }

    #[test]
    fn a_slip_in_a_short_image_name_is_recognised() {
        let names = vec!["docker.io/library/coffer-demo:latest".to_owned()];
        let error = unknown_image("cofer-demo", names).to_string();
        assert!(error.ends_with("did you mean \"coffer-demo\"?"), "{error}");
    }

    #[test]
    fn the_running_one_of_several_pods_is_meant() {
        let all = [
            container("1", "web", "p1", 0, State::Exited),
            container("2", "web", "p2", 0, State::Running),
        ];
        assert_eq!(pick_container(&all, "web").unwrap().id, "2");
    }

    #[test]
    fn an_unknown_word_lists_what_there_is_or_the_nearest() {
        let all = [container("1", "web", "p", 0, State::Running)];
        let far = pick_container(&all, "database").unwrap_err().to_string();
        assert_eq!(
            far,
            "there is no container named \"database\"; there are: web"
        );
        let near = pick_container(&all, "webb").unwrap_err().to_string();
        assert_eq!(
            near,
            "there is no container named \"webb\"; did you mean \"web\"?"
        );
        let none = pick_container(&[], "web").unwrap_err().to_string();
        assert_eq!(none, "there is no container named \"web\"; there are none");
    }
}
