//! Credentials: who we are at one registry. They never show in `Debug`, errors or logs.

use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD};

/// What a registry or its token server wants to see.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// A user's name and password (or access token in its place).
    Password {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
    /// A refresh token that a token server exchanges ("identity token").
    Identity(String),
    /// A token that is sent as it is.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// What CRI's `AuthConfig`, `config.json` and `auth.json` can say, as they say it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Name.
    pub username: String,
    /// Password.
    pub password: String,
    /// Base64 of `name:password`.
    pub auth: String,
    /// Identity token.
    pub identity_token: String,
    /// Registry token.
    pub registry_token: String,
    /// The registry that all this is for; empty: the image's.
    pub server_address: String,
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Said")
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

impl Said {
    /// What is meant; `None` when nothing is said. Of several things the most specific counts: a
    /// registry token, an identity token, name and password, `auth`.
    ///
    /// # Errors
    /// `auth` is not base64 of `name:password`, or a password or token would break a header.
    pub fn mean(&self) -> Result<Option<Credentials>, String> {
        if !self.registry_token.is_empty() {
            check("the registry token", &self.registry_token)?;
            return Ok(Some(Credentials::Bearer(self.registry_token.clone())));
        }
        if !self.identity_token.is_empty() {
            return Ok(Some(Credentials::Identity(self.identity_token.clone())));
        }
        if !self.username.is_empty() || !self.password.is_empty() {
            return password(&self.username, &self.password).map(Some);
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let wrong = || "`auth` is not the base64 of \"name:password\"".to_owned();
        let text = self.auth.trim();
        let bytes = BASE64
            .decode(text.as_bytes())
            .or_else(|_| BASE64_NOPAD.decode(text.trim_end_matches('=').as_bytes()))
            .map_err(|_| wrong())?;
        let text = String::from_utf8(bytes).map_err(|_| wrong())?;
        let (user, secret) = text.split_once(':').ok_or_else(wrong)?;
        // Docker pads old entries with NUL.
        password(user, secret.trim_end_matches('\0')).map(Some)
    }
}

fn password(user: &str, password: &str) -> Result<Credentials, String> {
    // RFC 7617, section 2: the name holds no colon.
    if user.contains(':') {
        return Err("the user's name holds a colon".to_owned());
    }
    check("the user's name", user)?;
    check("the password", password)?;
    Ok(Credentials::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

fn check(what: &str, text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        return Err(format!("{what} holds a control character"));
    }
    Ok(())
}

/// `Basic …` (RFC 7617).
pub(crate) fn basic(user: &str, password: &str) -> String {
    let text = format!("{user}:{password}");
    format!("Basic {}", BASE64.encode(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(fields: [&str; 5]) -> Said {
        let [username, password, auth, identity_token, registry_token] = fields.map(str::to_owned);
        Said {
            username,
            password,
            auth,
            identity_token,
            registry_token,
            ..Said::default()
        }
    }

    #[test]
    fn the_most_specific_thing_said_counts() {
        let user = |user: &str, password: &str| Credentials::Password {
            user: user.into(),
            password: password.into(),
        };
        for (fields, means) in [
            (["", "", "", "", ""], None),
            (["u", "p", "", "", ""], Some(user("u", "p"))),
            (
                ["u", "p", "dTpw", "i", ""],
                Some(Credentials::Identity("i".into())),
            ),
            (
                ["u", "p", "", "i", "r"],
                Some(Credentials::Bearer("r".into())),
            ),
            (["", "", "dTpwOnE=", "", ""], Some(user("u", "p:q"))),
            (["", "", "dTpwOnE", "", ""], Some(user("u", "p:q"))),
            (["", "", "dTpwAAA=", "", ""], Some(user("u", "p"))),
        ] {
            assert_eq!(said(fields).mean().unwrap(), means, "{fields:?}");
        }
        for fields in [
            ["", "", "???", "", ""],
            ["", "", "dXA=", "", ""],
            ["a:b", "p", "", "", ""],
            ["u", "p\r\nX: y", "", "", ""],
            ["", "", "", "", "t\n"],
        ] {
            assert!(said(fields).mean().is_err(), "{fields:?}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let all = said(["canary-u", "canary-p", "canary-a", "canary-i", "canary-r"]);
        let meant = said(["canary-u", "canary-p", "", "", ""]).mean().unwrap();
        for shown in [format!("{all:?}"), format!("{meant:?}")] {
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
