//! Texts that clients compare. podman, docker, containerd and CRI-O look for these words in what a
//! runtime prints; our sentences stand around them. Each has a test in `tests/messages.rs`.

/// No container of that name: podman, containerd and CRI-O take it as "gone already".
pub(crate) const DOES_NOT_EXIST: &str = "does not exist";
/// The name is taken, as runc before 1.1 and crun say it.
pub(crate) const EXISTS: &str = "container with id exists";
/// The name is taken, as runc 1.1 says it.
pub(crate) const GIVEN_ID_EXISTS: &str = "container with given ID already exists";
/// `kill` of a container whose process has ended.
pub(crate) const NOT_RUNNING: &str = "container not running";
/// The process ended while it was being signalled.
pub(crate) const ALREADY_FINISHED: &str = "process already finished";
/// `exec` in a container whose process has ended.
pub(crate) const EXEC_STOPPED: &str = "cannot exec in a stopped container";
/// `exec` in a frozen container.
pub(crate) const EXEC_PAUSED: &str = "cannot exec in a paused container";
/// `start` of a container that runs.
pub(crate) const START_RUNNING: &str = "cannot start an already running container";
/// `start` of a container whose process has ended.
pub(crate) const START_STOPPED: &str = "cannot start a container that has stopped";
/// `delete` of a container that runs.
pub(crate) const NOT_STOPPED: &str = "that is not stopped";

#[cfg(test)]
mod tests {
    use oci::runtime::Status;

    use crate::error::Error;

    /// What clients look for (lower-cased by some), in the errors that mean it.
    #[test]
    fn each_client_finds_its_words() {
        let id = || "c1".to_owned();
        let gone = Error::NoContainer {
            id: id(),
            root: "/r".into(),
        };
        let taken = Error::Exists {
            id: id(),
            root: "/r".into(),
        };
        let table = [
            ("podman, CRI-O, containerd", &gone, "does not exist"),
            ("containerd, docker", &taken, "container with id exists"),
            (
                "runc 1.1's users",
                &taken,
                "container with given ID already exists",
            ),
            (
                "podman",
                &Error::NotRunning {
                    act: "signal",
                    id: id(),
                },
                "container not running",
            ),
            (
                "containerd, docker",
                &Error::Finished { id: id() },
                "process already finished",
            ),
            (
                "podman",
                &Error::Finished { id: id() },
                "container not running",
            ),
            (
                "docker",
                &Error::ExecStopped { id: id() },
                "cannot exec in a stopped container",
            ),
            (
                "docker",
                &Error::ExecPaused { id: id() },
                "cannot exec in a paused container",
            ),
            (
                "containerd",
                &Error::StartRunning { id: id() },
                "cannot start an already running container",
            ),
            (
                "containerd",
                &Error::StartStopped { id: id() },
                "cannot start a container that has stopped",
            ),
            (
                "containerd, CRI-O",
                &Error::NotStopped {
                    id: id(),
                    status: Status::Running,
                },
                "that is not stopped: running",
            ),
        ];
        for (client, error, words) in table {
            assert!(error.to_string().contains(words), "{client}: {error}");
        }
    }
}
