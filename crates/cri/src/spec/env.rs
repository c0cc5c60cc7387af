//! The environment: a default path, the image's, the pod's name, the request's; later ones win.

use super::{ImageInput, SpecError};
use crate::domain::ContainerConfig;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole environment, `NAME=value` each, a name once, in the order of first mention. `HOME` is
/// the user's where nobody sets it.
pub(super) fn env(
    config: &ContainerConfig,
    image: &ImageInput,
    hostname: &str,
    home: &str,
) -> Result<Vec<String>, SpecError> {
    let mut env = Env::default();
    env.set("PATH", PATH);
    if config.tty {
        env.set("TERM", "xterm");
    }
    for entry in &image.env {
        let Some((name, value)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            let what = format!("its environment entry {entry:?} is not NAME=value");
            return Err(SpecError::Image {
                image: image.name.clone(),
                what,
            });
        };
        env.set(name, value);
    }
    if !hostname.is_empty() {
        env.set("HOSTNAME", hostname);
    }
    for (index, variable) in config.envs.iter().enumerate() {
        let field = || format!("envs[{index}]");
        let name = &variable.key;
        if name.is_empty() || name.contains(['=', '\0']) {
            let what = format!("{name:?} is not the name of a variable");
            return Err(SpecError::invalid(field(), what));
        }
        let value = variable
            .value
            .as_str()
            .filter(|value| !value.contains('\0'));
        let Some(value) = value else {
            let why = format!("the value of {name} holds bytes that are not UTF-8, or NUL");
            return Err(SpecError::unsupported(field(), why));
        };
        env.set(name, value);
    }
    env.set_default("HOME", if home.is_empty() { "/" } else { home });
    Ok(env
        .0
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect())
}

#[derive(Default)]
struct Env(Vec<(String, String)>);

impl Env {
    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    fn set_default(&mut self, name: &str, value: &str) {
        if !self.0.iter().any(|(known, _)| known == name) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EnvValue, EnvVar};

    fn request(pairs: &[(&str, &[u8])]) -> ContainerConfig {
        ContainerConfig {
            envs: pairs
                .iter()
                .map(|(key, value)| EnvVar {
                    key: (*key).to_owned(),
                    value: EnvValue(value.to_vec()),
                })
                .collect(),
            ..Default::default()
        }
    }

    fn image(entries: &[&str]) -> ImageInput {
        let env = entries.iter().map(|entry| (*entry).to_owned()).collect();
        ImageInput {
            name: "i".to_owned(),
            env,
            ..Default::default()
        }
    }

    #[test]
    fn the_defaults_of_an_empty_image() {
        let env = env(&request(&[]), &image(&[]), "web-0", "/root").unwrap();
        assert_eq!(
            env,
            [&format!("PATH={PATH}"), "HOSTNAME=web-0", "HOME=/root"]
        );
    }

    #[test]
    fn later_ones_win_and_keep_their_place() {
        let config = request(&[("A", b"request"), ("HOSTNAME", b"mine"), ("A", b"again")]);
        let image = image(&["PATH=/bin", "A=image", "B=x=y", "HOME=/img"]);
        let env = env(&config, &image, "web-0", "/root").unwrap();
        assert_eq!(
            env,
            [
                "PATH=/bin",
                "A=again",
                "B=x=y",
                "HOME=/img",
                "HOSTNAME=mine"
            ]
        );
    }

    #[test]
    fn a_terminal_has_a_type_and_a_user_without_home_the_root() {
        let config = ContainerConfig {
            tty: true,
            ..request(&[])
        };
        let env = env(&config, &image(&[]), "", "").unwrap();
        assert_eq!(env[1..], ["TERM=xterm", "HOME=/"]);
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        let table: [(ContainerConfig, ImageInput, &str); 5] = [
            (request(&[("A", b"ok"), ("", b"x")]), image(&[]), "envs[1]"),
            (request(&[("A=B", b"x")]), image(&[]), "envs[0]"),
            (request(&[("A", b"\xff")]), image(&[]), "not UTF-8"),
            (request(&[("A", b"\0")]), image(&[]), "NUL"),
            (request(&[]), image(&["NOVALUE"]), "\"NOVALUE\""),
        ];
        for (config, image, expected) in table {
            let error = env(&config, &image, "", "").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
