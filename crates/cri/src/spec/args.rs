//! Command, working directory and stop signal: what the request says, else the image.

use super::{ImageInput, SpecError};
use crate::domain::ContainerConfig;

/// Program and arguments. `command` replaces the image's entrypoint, and its cmd is then unused;
/// `args` replace its cmd.
pub(super) fn args(config: &ContainerConfig, image: &ImageInput) -> Result<Vec<String>, SpecError> {
    let (program, arguments) = if config.command.is_empty() {
        let cmd = if config.args.is_empty() {
            &image.cmd
        } else {
            &config.args
        };
        (&image.entrypoint, cmd)
    } else {
        (&config.command, &config.args)
    };
    let all: Vec<String> = program.iter().chain(arguments).cloned().collect();
    match all.first() {
        None => Err(SpecError::NoCommand {
            image: image.name.clone(),
        }),
        Some(first) if first.is_empty() => {
            Err(SpecError::invalid("command", "the program's name is empty"))
        }
        Some(_) if all.iter().any(|arg| arg.contains('\0')) => {
            Err(SpecError::invalid("args", "an argument holds a NUL byte"))
        }
        Some(_) => Ok(all),
    }
}

/// Working directory, absolute.
pub(super) fn working_dir(
    config: &ContainerConfig,
    image: &ImageInput,
) -> Result<String, SpecError> {
    if !config.working_dir.is_empty() {
        if !config.working_dir.starts_with('/') {
            let what = format!("{:?} is not absolute", config.working_dir);
            return Err(SpecError::invalid("working_dir", what));
        }
        return Ok(config.working_dir.clone());
    }
    // Builders write relative ones now and then; they start at the root.
    Ok(match image.working_dir.as_str() {
        absolute if absolute.starts_with('/') => absolute.to_owned(),
        relative => format!("/{relative}"),
    })
}

/// The signal that stops the container: the request's, else the image's; `None`: SIGTERM.
pub(super) fn stop_signal(
    config: &ContainerConfig,
    image: &ImageInput,
) -> Result<Option<i32>, SpecError> {
    if let Some(number) = config.stop_signal {
        return if (1..=MAX_SIGNAL).contains(&number) {
            Ok(Some(number))
        } else {
            Err(SpecError::invalid(
                "stop_signal",
                format!("{number} is not a signal"),
            ))
        };
    }
    let word = image.stop_signal.trim();
    if word.is_empty() {
        return Ok(None);
    }
    signal_number(word)
        .map(Some)
        .ok_or_else(|| SpecError::Image {
            image: image.name.clone(),
            what: format!("its stop signal {word:?} is not a signal"),
        })
}

const MAX_SIGNAL: i32 = 64;
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// `SIGTERM`, `term`, `15`, `SIGRTMIN+3`, `RTMAX-1`.
fn signal_number(word: &str) -> Option<i32> {
    if let Ok(number) = word.parse::<i32>() {
        return (1..=MAX_SIGNAL).contains(&number).then_some(number);
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |rest: &str, base: i32, sign: char| {
        let offset = match rest.strip_prefix(sign) {
            Some(digits) => digits.parse::<i32>().ok()?,
            None if rest.is_empty() => 0,
            None => return None,
        };
        let number = if sign == '+' {
            base.checked_add(offset)?
        } else {
            base.checked_sub(offset)?
        };
        (RTMIN..=RTMAX).contains(&number).then_some(number)
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(rest, RTMIN, '+');
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(rest, RTMAX, '-');
    }
    let alias = match name {
        "IOT" => "ABRT",
        "POLL" => "IO",
        "CLD" => "CHLD",
        other => other,
    };
    let index = NAMES.iter().position(|known| *known == alias)?;
    i32::try_from(index).ok().map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Words = &'static [&'static str];

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn command_and_args_replace_entrypoint_and_cmd() {
        #[rustfmt::skip]
        let table: [(Words, Words, Words, Words, Words); 7] = [
            // entrypoint   cmd      command   args     result
            (&["e"],        &["c"],  &[],      &[],     &["e", "c"]),
            (&["e"],        &["c"],  &[],      &["a"],  &["e", "a"]),
            (&["e"],        &["c"],  &["x"],   &[],     &["x"]),
            (&["e"],        &["c"],  &["x"],   &["a"],  &["x", "a"]),
            (&[],           &["c"],  &[],      &[],     &["c"]),
            (&["e"],        &[],     &[],      &[],     &["e"]),
            (&[],           &[],     &[],      &["a"],  &["a"]),
        ];
        for (entrypoint, cmd, command, arguments, expected) in table {
            let image = ImageInput {
                entrypoint: strings(entrypoint),
                cmd: strings(cmd),
                ..ImageInput::default()
            };
            let config = ContainerConfig {
                command: strings(command),
                args: strings(arguments),
                ..ContainerConfig::default()
            };
            assert_eq!(args(&config, &image).unwrap(), strings(expected));
        }
    }

    #[test]
    fn no_command_names_the_image() {
        let image = ImageInput {
            name: "scratch:1".to_owned(),
            ..ImageInput::default()
        };
        let error = args(&ContainerConfig::default(), &image)
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"scratch:1\""), "{error}");
    }

    #[test]
    fn an_empty_program_and_a_nul_byte_are_refused() {
        for (command, field) in [("", "command"), ("a\0b", "args")] {
            let config = ContainerConfig {
                command: strings(&[command]),
                ..Default::default()
            };
            let error = args(&config, &ImageInput::default())
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }

    #[test]
    fn the_working_directory_is_absolute() {
        let dir = |request: &str, image: &str| {
            let config = ContainerConfig {
                working_dir: request.to_owned(),
                ..Default::default()
            };
            let image = ImageInput {
                working_dir: image.to_owned(),
                ..Default::default()
            };
            working_dir(&config, &image)
        };
        assert_eq!(dir("", "").unwrap(), "/");
        assert_eq!(dir("", "/srv").unwrap(), "/srv");
        assert_eq!(dir("", "srv").unwrap(), "/srv");
        assert_eq!(dir("/a", "/srv").unwrap(), "/a");
        assert!(
            dir("a", "/srv")
                .unwrap_err()
                .to_string()
                .starts_with("working_dir")
        );
    }

    #[test]
    fn signals_have_names_and_numbers() {
        let table = [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGHUP", Some(1)),
            ("SYS", Some(31)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("SIGPOLL", Some(29)),
            ("0", None),
            ("65", None),
            ("-1", None),
            ("SIGRTMIN+99", None),
            ("SIGRTMIN-1", None),
            ("SIGNOPE", None),
        ];
        for (word, expected) in table {
            assert_eq!(signal_number(word), expected, "{word}");
        }
    }

    #[test]
    fn the_requests_stop_signal_wins() {
        let image = ImageInput {
            stop_signal: "SIGINT".to_owned(),
            ..Default::default()
        };
        let mut config = ContainerConfig::default();
        assert_eq!(stop_signal(&config, &image).unwrap(), Some(2));
        config.stop_signal = Some(10);
        assert_eq!(stop_signal(&config, &image).unwrap(), Some(10));
        config.stop_signal = Some(99);
        assert!(stop_signal(&config, &image).is_err());
    }
}
