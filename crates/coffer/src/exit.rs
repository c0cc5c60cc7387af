//! Exit codes, in one place. Those of `run` and `exec` are what people know from other tools.

/// Something failed and said so.
pub(crate) const FAILURE: u8 = 1;
/// The command line makes no sense (as clap has it).
pub(crate) const USAGE: u8 = 2;
/// `exec --timeout`: the time was over.
pub(crate) const TIMEOUT: u8 = 124;
/// `run`, `exec`: the container could not be made, found or entered.
pub(crate) const CONTAINER: u8 = 125;
/// `run`, `exec`: the command is there but cannot be run.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// `run`, `exec`: the command is not there.
pub(crate) const NOT_FOUND: u8 = 127;

/// All of them, for people: this is what the documentation prints.
pub(crate) const TABLE: [(&str, &str); 8] = [
    (
        "0",
        "done; of run, exec and attach: the program inside ended with 0",
    ),
    ("1", "something failed, and said so on standard error"),
    ("2", "the command line makes no sense"),
    ("124", "exec --timeout: the time was over"),
    (
        "125",
        "run, exec: the container could not be made, found or entered, or the command line makes no sense",
    ),
    ("126", "run, exec: the program is there but cannot be run"),
    ("127", "run, exec: the program is not there"),
    (
        "N, 128+N",
        "run, exec, attach: the program inside ended with N, or by signal N",
    ),
];

/// The code of a program that ends because of signal `number`.
pub(crate) fn of_signal(number: i32) -> u8 {
    u8::try_from(number).map_or(FAILURE, |number| number.saturating_add(128))
}

/// The code for a failed start of `cause`, the daemon's sentence: 127 for a command that is not
/// there, 126 for one that cannot be run, 125 for all else.
pub(crate) fn of_start(cause: &str) -> u8 {
    let says = |text: &str| cause.contains(text);
    if says("executable file not found") || (says("exec") && says("no such file or directory")) {
        NOT_FOUND
    } else if says("exec") && says("permission denied") {
        NOT_EXECUTABLE
    } else {
        CONTAINER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_failures_have_the_usual_codes() {
        let table = [
            (
                "exec: \"nope\": executable file not found in $PATH",
                NOT_FOUND,
            ),
            ("exec: \"/bin/nope\": no such file or directory", NOT_FOUND),
            ("exec: \"/etc/passwd\": permission denied", NOT_EXECUTABLE),
            ("mount /x: permission denied", CONTAINER),
            ("anything else", CONTAINER),
        ];
        for (cause, code) in table {
            assert_eq!(of_start(cause), code, "{cause}");
        }
    }
}
