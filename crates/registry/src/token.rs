//! Tokens: a registry's challenge, answered (distribution specification, "Token Authentication").
//!
//! A token is kept until it expires, by endpoint, scope and the credentials that it was got with: a
//! second pull asks in one round trip, and nobody gets the token of somebody else.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use image::FetchErrorKind as Kind;
use reqwest::{Client, Url, header::HeaderValue};
use serde::Deserialize;

use crate::{
    challenge::Challenge,
    credentials::{Credentials, basic},
    error::{Error, transport},
};

/// What holds when a token server does not say (distribution's token specification).
const LIFETIME: u64 = 60;
/// A token is not used in its last seconds: the request must arrive before they end.
const MARGIN: Duration = Duration::from_secs(5);
/// Bytes of a token server's answer.
const ANSWER_MAX: usize = 1 << 20;
/// Kept authorizations; more are forgotten, oldest first.
const KEPT: usize = 256;

/// What an authorization is good for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) endpoint: Url,
    pub(crate) scope: String,
    pub(crate) credentials: Option<Credentials>,
}

#[derive(Clone)]
struct Kept {
    header: HeaderValue,
    got: Instant,
    expires: Option<Instant>,
}

/// Authorizations that registries have accepted.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<Key, Kept>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    pub(crate) fn get(&self, key: &Key) -> Option<HeaderValue> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get(key)?;
        let fresh = kept
            .expires
            .is_none_or(|expires| Instant::now() + MARGIN < expires);
        fresh.then(|| kept.header.clone())
    }

    pub(crate) fn forget(&self, key: &Key) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(key);
    }

    fn keep(&self, key: Key, header: HeaderValue, lifetime: Option<Duration>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        kept.retain(|_, kept| kept.expires.is_none_or(|expires| expires > now));
        if kept.len() >= KEPT
            && let Some(oldest) = kept.iter().min_by_key(|(_, kept)| kept.got)
        {
            let oldest = oldest.0.clone();
            kept.remove(&oldest);
        }
        let kept_one = Kept {
            header,
            got: now,
            expires: lifetime.map(|lifetime| now + lifetime),
        };
        kept.insert(key, kept_one);
    }

    /// Answers the challenges of `key`'s endpoint; `client` asks the token server.
    pub(crate) async fn answer(
        &self,
        key: &Key,
        challenges: &[Challenge],
        client: impl Fn(&Url) -> Result<Client, Error>,
        wait: Duration,
    ) -> Result<HeaderValue, Error> {
        let denied = |text: &str| Error::new(Kind::Unauthenticated, text);
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => Some((realm, service, scope)),
            Challenge::Basic => None,
        });
        let (text, lifetime) = match (bearer, &key.credentials) {
            (_, Some(Credentials::Bearer(token))) => (format!("Bearer {token}"), None),
            (Some((realm, service, scope)), credentials) => {
                let request = Request {
                    realm: realm_of(realm, &key.endpoint)?,
                    service: service.as_deref(),
                    scope: scope.as_deref().unwrap_or(&key.scope),
                };
                let client = client(&request.realm)?;
                let token =
                    tokio::time::timeout(wait, request.token(&client, credentials.as_ref()));
                let token = token.await.map_err(|_| {
                    let host = request.realm.host_str().unwrap_or_default();
                    let text = format!("the token server {host} has not answered in {wait:?}");
                    Error::new(Kind::TimedOut, text)
                })??;
                let lifetime = Duration::from_secs(token.expires_in.unwrap_or(LIFETIME));
                (format!("Bearer {}", token.value()?), Some(lifetime))
            }
            (None, Some(Credentials::Password { user, password })) => {
                if !challenges.contains(&Challenge::Basic) {
                    return Err(denied(
                        "401 Unauthorized, with no challenge that is known here",
                    ));
                }
                (basic(user, password), None)
            }
            (None, Some(Credentials::Identity(_))) => {
                return Err(denied(
                    "401 Unauthorized: it wants a name and a password, and there is an identity token",
                ));
            }
            (None, None) => {
                return Err(denied(
                    "401 Unauthorized: it wants credentials, and there are none",
                ));
            }
        };
        let mut header: HeaderValue = text
            .parse()
            .map_err(|_| denied("the token server's token is no valid header"))?;
        header.set_sensitive(true);
        self.keep(key.clone(), header.clone(), lifetime);
        Ok(header)
    }
}

/// The token server: https, unless the registry itself is asked in the clear.
fn realm_of(realm: &str, endpoint: &Url) -> Result<Url, Error> {
    let refused =
        |why: &str| Error::new(Kind::Refused, format!("its token server {realm:?} {why}"));
    let url: Url = realm.parse().map_err(|_| refused("is no address"))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if endpoint.scheme() == "http" => Ok(url),
        "http" => Err(refused("would get the credentials in the clear")),
        _ => Err(refused("is no http address")),
    }
}

struct Request<'a> {
    realm: Url,
    service: Option<&'a str>,
    scope: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Answer {
    fn value(&self) -> Result<&str, Error> {
        let token = self.token.as_deref().filter(|token| !token.is_empty());
        token
            .or(self.access_token.as_deref())
            .ok_or_else(|| Error::new(Kind::Invalid, "the token server's answer holds no token"))
    }
}

impl Request<'_> {
    async fn token(
        &self,
        client: &Client,
        credentials: Option<&Credentials>,
    ) -> Result<Answer, Error> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        pairs.extend(self.service.map(|service| ("service", service)));
        // Several scopes may come in one string, separated by spaces.
        pairs.extend(self.scope.split(' ').map(|scope| ("scope", scope)));
        let request = match credentials {
            Some(Credentials::Identity(token)) => {
                let mut form = vec![
                    ("grant_type", "refresh_token"),
                    ("client_id", "coffer"),
                    ("refresh_token", token),
                ];
                form.extend(self.service.map(|service| ("service", service)));
                form.push(("scope", self.scope));
                let mut body = Url::parse("http://form").map_err(|_| Error::cancelled())?;
                body.query_pairs_mut().extend_pairs(form);
                client
                    .post(self.realm.clone())
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(body.query().unwrap_or_default().to_owned())
            }
            other => {
                let mut url = self.realm.clone();
                if let Some(Credentials::Password { user, .. }) = other {
                    pairs.push(("account", user));
                }
                url.query_pairs_mut().extend_pairs(pairs);
                let request = client.get(url);
                match other {
                    Some(Credentials::Password { user, password }) => {
                        let mut header: HeaderValue = basic(user, password)
                            .parse()
                            .map_err(|_| Error::new(Kind::Refused, "the password is no header"))?;
                        header.set_sensitive(true);
                        request.header("authorization", header)
                    }
                    _ => request,
                }
            }
        };
        let host = self.realm.host_str().unwrap_or_default().to_owned();
        let said = |error: Error| {
            let text = format!("ask the token server {host}: {error}");
            error.said(text)
        };
        let mut answer = request.send().await.map_err(transport).map_err(said)?;
        let status = answer.status();
        if !status.is_success() {
            let kind = match status.as_u16() {
                400 | 401 => Kind::Unauthenticated,
                403 => Kind::Denied,
                _ => Kind::Unavailable,
            };
            let hint = match credentials {
                Some(_) => "does not take the credentials",
                None => "gives no token without credentials",
            };
            return Err(Error::new(
                kind,
                format!("the token server {host} {hint} ({status})"),
            ));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport).map_err(said)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                let text = format!("the token server {host} answers more than {ANSWER_MAX} bytes");
                return Err(Error::new(Kind::Invalid, text));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|_| {
            Error::new(
                Kind::Invalid,
                format!("the token server {host} answers no JSON"),
            )
        })
    }
}
