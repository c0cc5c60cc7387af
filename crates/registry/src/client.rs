//! One request to one endpoint: authorization, redirects, retries, and what the answer means.
//!
//! ```text
//!  send -> 2xx                    done
//!       -> 401 with a challenge   authorize (token.rs), once, and send again
//!       -> 3xx                    follow, 10 at most; to another host without any secret
//!       -> 429, 5xx, no answer    wait (Retry-After, or 0.2 s doubled each time) and send again;
//!                                 what is not reached at all, for as long as one connection may take
//!       -> other                  an error that says what the registry says
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use image::FetchErrorKind as Kind;
use reqwest::{
    Body, Method, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderName, LOCATION, WWW_AUTHENTICATE},
};
use serde::Deserialize;

use crate::{
    challenge,
    credentials::Credentials,
    error::{Error, transport},
    hosts::{Endpoint, Tls},
    retry_after,
    settings::Settings,
    tls::Clients,
    token::{Key, Tokens},
};

const REDIRECTS: usize = 10;
const BACKOFF: Duration = Duration::from_millis(200);
/// Bytes of an error's body that are looked at.
const ERROR_BODY: usize = 16 << 10;

/// Asks registries; cheap to clone, and clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    clients: Clients,
    tokens: Tokens,
}

impl Registry {
    /// A client with these settings; nothing is read or connected yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                clients: Clients::new(settings.connect),
                settings,
                tokens: Tokens::default(),
            }),
        }
    }
}

/// One request.
pub(crate) struct Ask<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) credentials: Option<&'a Credentials>,
    /// `repository:library/busybox:pull`
    pub(crate) scope: &'a str,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// Makes the body; asked for each time that the request is sent.
    pub(crate) body: Option<&'a (dyn Fn() -> Body + Sync)>,
}

impl Ask<'_> {
    fn key(&self) -> Key {
        Key {
            endpoint: self.endpoint.base.clone(),
            scope: self.scope.to_owned(),
            credentials: self.credentials.cloned(),
        }
    }
}

/// Why one try has failed.
struct Failure {
    error: Error,
    /// How long the registry asks to wait.
    after: Option<Duration>,
    retry: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            after: None,
            retry: false,
        }
    }
}

impl Inner {
    /// Sends until there is an answer of success, or a reason to give up.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Response, Error> {
        let (mut tries, began) = (0, Instant::now());
        let most = self.settings.max_retry_after;
        loop {
            let failure = match self.once(ask).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let backoff = BACKOFF * (1 << tries.min(5));
            let wait = failure.after.map_or(backoff, |after| after.max(backoff));
            let too_long = failure.after.is_some_and(|after| after > most);
            // Who does not answer at all will not the next minute, either: a pod's start waits.
            let unreached =
                failure.error.is_connecting() && began.elapsed() + wait >= self.settings.connect;
            if !failure.retry || tries >= self.settings.retries || too_long || unreached {
                let mut text = failure.error.to_string();
                if tries > 0 {
                    text = format!("{text} (tried {} times)", tries + 1);
                }
                if let Some(after) = failure.after.filter(|_| too_long) {
                    text = format!(
                        "{text}; it asks to wait {} s, and registry.max_retry_after is {} s",
                        after.as_secs(),
                        most.as_secs()
                    );
                }
                return Err(failure.error.said(text));
            }
            tries += 1;
            tracing::debug!(endpoint = %ask.endpoint.name(), error = %failure.error, ?wait, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// A body from anywhere, by https and without any secret: layers that manifests give URLs for.
    pub(crate) async fn foreign(&self, url: &str, headers: HeaderMap) -> Result<Response, Error> {
        let refused = |why: String| Error::new(Kind::Refused, why);
        let url: Url = url
            .parse()
            .map_err(|_| refused(format!("{url:?} is no address")))?;
        if url.scheme() != "https" {
            return Err(refused(format!(
                "{url} is not fetched: it is no https address"
            )));
        }
        let endpoint = Endpoint::plain(url.clone());
        self.ask(&Ask {
            endpoint: &endpoint,
            credentials: None,
            scope: "",
            method: Method::GET,
            url,
            headers,
            body: None,
        })
        .await
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        let key = ask.key();
        let mut authorized = false;
        loop {
            let header = self.tokens.get(&key);
            let had_header = header.is_some();
            let (response, same_host) = self.follow(ask, header).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return judged(response).await;
            }
            // Only the endpoint itself may ask who we are (CVE-2020-15157).
            if !same_host || ask.scope.is_empty() || authorized {
                return refused(ask, response, authorized).await;
            }
            let challenges: Vec<_> = response
                .headers()
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(challenge::parse)
                .collect();
            if challenges.is_empty() {
                return refused(ask, response, authorized).await;
            }
            if had_header {
                self.tokens.forget(&key);
            }
            let client = |url: &Url| self.clients.of(&trust(ask.endpoint, url));
            let wait = self.settings.stall;
            self.tokens
                .answer(&key, &challenges, client, wait)
                .await
                .map_err(|error| Failure {
                    retry: error.kind() == Kind::Unavailable,
                    error,
                    after: None,
                })?;
            authorized = true;
        }
    }

    /// Sends and follows redirects; tells whether the endpoint's own host answered.
    async fn follow(
        &self,
        ask: &Ask<'_>,
        authorization: Option<reqwest::header::HeaderValue>,
    ) -> Result<(Response, bool), Failure> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let same_host = same_origin(&url, &ask.endpoint.base);
            let client = self.clients.of(&trust(ask.endpoint, &url))?;
            let mut request = client
                .request(ask.method.clone(), url.clone())
                .headers(ask.headers.clone());
            if same_host {
                request = request.headers(ask.endpoint.headers.clone());
                if let Some(header) = &authorization {
                    request = request.header(AUTHORIZATION, header.clone());
                }
            }
            if let Some(body) = ask.body {
                request = request.body(body());
            }
            // A body that is sent may take long; its own progress is watched where it is made.
            let sent = request.send();
            let answer = if ask.body.is_some() {
                sent.await
            } else {
                let stall = self.settings.stall;
                tokio::time::timeout(stall, sent).await.map_err(|_| {
                    let text = format!("it has not answered in {} s", stall.as_secs_f32());
                    Error::new(Kind::TimedOut, text)
                })?
            };
            let response = answer.map_err(|error| {
                let error = transport(error);
                Failure {
                    retry: error.kind() == Kind::Unavailable,
                    error,
                    after: None,
                }
            })?;
            let keeps = matches!(response.status().as_u16(), 307 | 308);
            let reads = matches!(ask.method, Method::GET | Method::HEAD);
            if !(keeps || reads && matches!(response.status().as_u16(), 301..=303)) {
                return Ok((response, same_host));
            }
            url = target(&response, &url)?;
        }
        let text = format!("it redirects more than {REDIRECTS} times");
        Err(Error::new(Kind::Invalid, text).into())
    }
}

/// Where a redirect leads: never from https into the clear.
fn target(response: &Response, url: &Url) -> Result<Url, Error> {
    let invalid = |text: &str| Error::new(Kind::Invalid, text);
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| invalid("it redirects to nowhere"))?;
    let target = url
        .join(location)
        .map_err(|_| invalid("it redirects to what is no address"))?;
    match (url.scheme(), target.scheme()) {
        (_, "https") | ("http", "http") => Ok(target),
        ("https", "http") => Err(invalid("it redirects from https to http")),
        _ => Err(invalid("it redirects to what is no http address")),
    }
}

pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// What counts for another host than the endpoint's: its authorities, but neither its client
/// certificate nor its leave not to verify.
fn trust(endpoint: &Endpoint, url: &Url) -> Tls {
    if same_origin(url, &endpoint.base) {
        return endpoint.tls.clone();
    }
    Tls {
        client: None,
        skip_verify: false,
        ..endpoint.tls.clone()
    }
}

/// Success, or what the registry says is wrong.
async fn judged(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let after = retry_after::wait(response.headers(), SystemTime::now());
    let (kind, retry) = match status.as_u16() {
        404 | 410 => (Kind::NotFound, false),
        403 => (Kind::Denied, false),
        408 | 429 | 500 | 502..=504 => (Kind::Unavailable, true),
        505..=599 | 501 => (Kind::Unavailable, false),
        _ => (Kind::Invalid, false),
    };
    let text = explained(response).await;
    let error = Error::new(kind, format!("{status}{text}"));
    Err(Failure {
        error,
        after,
        retry,
    })
}

/// 401 where there is nothing left to answer it with.
async fn refused(ask: &Ask<'_>, response: Response, authorized: bool) -> Result<Response, Failure> {
    let text = explained(response).await;
    let hint = match (ask.credentials, authorized) {
        (Some(_), _) => "it does not take the credentials",
        (None, true) => "it wants credentials, and there are none",
        (None, false) => "it wants to know who asks, and does not say how",
    };
    let text = format!("401 Unauthorized: {hint}{text}");
    Err(Error::new(Kind::Unauthenticated, text).into())
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    code: Option<String>,
    message: Option<String>,
}

/// What an error's body says, if it is the JSON that registries answer; HTML helps nobody.
async fn explained(mut response: Response) -> String {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > ERROR_BODY {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), read).await;
    let Ok(errors) = serde_json::from_slice::<Errors>(&body) else {
        return String::new();
    };
    let said = |said: &Said| {
        let parts = [&said.code, &said.message];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        parts.join(" ")
    };
    let text: Vec<String> = errors.errors.iter().take(3).map(said).collect();
    let text: String = text
        .join(", ")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect();
    if text.is_empty() {
        text
    } else {
        format!(" ({text})")
    }
}

/// Headers of one value each.
pub(crate) fn headers<const N: usize>(pairs: [(HeaderName, &str); N]) -> HeaderMap {
    pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect()
}
