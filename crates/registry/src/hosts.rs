//! Which endpoints serve a registry: `hosts.toml` as containerd defines it, and docker's certificates.
//!
//! ```text
//!  <dir>/<registry>/hosts.toml            quay.io, localhost:5000 or localhost_5000_
//!  <dir>/<registry>/*.crt *.cert *.key    docker's layout: authorities, client certificates
//!  <dir>/_default/hosts.toml              for registries that no directory names
//! ```
//! Of several directories the first that knows the registry counts. Files are read at every use, so
//! that a change needs no restart. Plain http is spoken only where such a file says `http://`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

/// One place to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Up to and without `/v2/…`, or up to what replaces `/v2` with `override_path`.
    pub(crate) base: Url,
    /// The path stands as it is: no `/v2` is added.
    pub(crate) override_path: bool,
    pub(crate) pull: bool,
    pub(crate) resolve: bool,
    pub(crate) push: bool,
    /// Credentials of the registry itself belong here.
    pub(crate) is_registry: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) tls: Tls,
}

/// How an endpoint is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tls {
    /// PEM files with authorities, besides those of the system.
    pub(crate) authorities: Vec<PathBuf>,
    /// PEM files: certificates, and the key where it has a file of its own.
    pub(crate) client: Option<(PathBuf, Option<PathBuf>)>,
    pub(crate) skip_verify: bool,
    /// Seconds until a connection must stand; 0: the usual.
    pub(crate) dial_seconds: u64,
}

impl Endpoint {
    fn new(base: Url, is_registry: bool) -> Self {
        Self {
            base,
            override_path: false,
            pull: true,
            resolve: true,
            push: true,
            is_registry,
            headers: HeaderMap::new(),
            tls: Tls::default(),
        }
    }

    /// An address that is no registry's.
    pub(crate) fn plain(base: Url) -> Self {
        Self::new(base, false)
    }

    /// The address of `path` (`manifests/latest`) of a repository.
    pub(crate) fn url(&self, repository: &str, path: &str) -> Url {
        let mut url = self.base.clone();
        let root = url.path().trim_end_matches('/').to_owned();
        let version = if self.override_path { "" } else { "/v2" };
        url.set_path(&format!("{root}{version}/{repository}/{path}"));
        url
    }

    /// How errors call it.
    pub(crate) fn name(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }
}

/// The endpoints of `registry`, in the order in which they are asked.
pub(crate) fn endpoints(dirs: &[PathBuf], registry: &str) -> Result<Vec<Endpoint>, String> {
    let underscored = registry.replace(':', "_") + "_";
    let names: &[&str] = if registry.contains(':') {
        &[registry, &underscored]
    } else {
        &[registry]
    };
    for name in names.iter().chain(&["_default"]) {
        for dir in dirs {
            let dir = dir.join(name);
            if let Some(found) = read(&dir, registry)? {
                return Ok(found);
            }
        }
    }
    Ok(vec![own(registry)?])
}

/// The registry itself, by https.
fn own(registry: &str) -> Result<Endpoint, String> {
    let host = match registry {
        // Docker Hub's API has a host of its own.
        "docker.io" => "registry-1.docker.io",
        other => other,
    };
    Ok(Endpoint::new(address(&format!("https://{host}"))?, true))
}

fn read(dir: &Path, registry: &str) -> Result<Option<Vec<Endpoint>>, String> {
    let file = dir.join("hosts.toml");
    match fs::read_to_string(&file) {
        Ok(text) => parse(&text, dir, registry)
            .map(Some)
            .map_err(|error| format!("{}: {error}", file.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => docker(dir, registry),
        Err(error) => Err(format!("read {}: {error}", file.display())),
    }
}

/// Docker's layout: nothing but certificates.
fn docker(dir: &Path, registry: &str) -> Result<Option<Vec<Endpoint>>, String> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("read {}: {error}", dir.display())),
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let mut endpoint = own(registry)?;
    let mut any = false;
    for file in files {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => endpoint.tls.authorities.push(file),
            Some("cert") => {
                let key = file.with_extension("key");
                if !key.exists() {
                    return Err(format!("{} has no key {}", file.display(), key.display()));
                }
                endpoint.tls.client = Some((file, Some(key)));
            }
            _ => continue,
        }
        any = true;
    }
    Ok(any.then(|| vec![endpoint]))
}

/// What a hosts.toml says; paths in it are relative to `dir`.
pub(crate) fn parse(text: &str, dir: &Path, registry: &str) -> Result<Vec<Endpoint>, String> {
    let mut table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.message().to_owned())?;
    let hosts = match table.remove("host") {
        None => toml::Table::new(),
        Some(toml::Value::Table(hosts)) => hosts,
        Some(_) => return Err("`host` is no table".to_owned()),
    };
    let server = match table.remove("server") {
        None => own(registry)?,
        Some(toml::Value::String(server)) => {
            let base = address(&server)?;
            let is_registry = true;
            Endpoint::new(base, is_registry)
        }
        Some(_) => return Err("`server` is no string".to_owned()),
    };
    let server = settings(server, table, dir)?;
    let mut endpoints = Vec::new();
    for (name, value) in hosts {
        let failed = |error: String| format!("host {name:?}: {error}");
        let toml::Value::Table(table) = value else {
            return Err(failed("it is no table".to_owned()));
        };
        let base = address(&name).map_err(failed)?;
        let is_registry = base.host_str() == server.base.host_str()
            && base.port_or_known_default() == server.base.port_or_known_default()
            && base.scheme() == server.base.scheme();
        let endpoint = Endpoint::new(base, is_registry);
        endpoints.push(settings(endpoint, table, dir).map_err(failed)?);
    }
    endpoints.push(server);
    Ok(endpoints)
}

fn settings(mut endpoint: Endpoint, table: toml::Table, dir: &Path) -> Result<Endpoint, String> {
    for (key, value) in table {
        let wrong = |expected: &str| format!("`{key}` is no {expected}");
        match (key.as_str(), value) {
            ("capabilities", toml::Value::Array(words)) => {
                (endpoint.pull, endpoint.resolve, endpoint.push) = (false, false, false);
                for word in words {
                    match word.as_str() {
                        Some("pull") => endpoint.pull = true,
                        Some("resolve") => endpoint.resolve = true,
                        Some("push") => endpoint.push = true,
                        // Listings of referrers: nothing that is asked for here.
                        Some("referrers") => {}
                        _ => {
                            return Err(format!(
                                "capability {word} is none of pull, resolve, push"
                            ));
                        }
                    }
                }
            }
            ("ca", value) => {
                let files = strings(value).ok_or_else(|| wrong("path or list of paths"))?;
                endpoint.tls.authorities = files.iter().map(|file| dir.join(file)).collect();
            }
            ("client", value) => {
                let pair = client(value).ok_or_else(|| wrong("path or pair of paths"))?;
                let path = |file: String| dir.join(file);
                endpoint.tls.client = Some((path(pair.0), pair.1.map(path)));
            }
            ("skip_verify", toml::Value::Boolean(skip)) => endpoint.tls.skip_verify = skip,
            ("override_path", toml::Value::Boolean(stands)) => endpoint.override_path = stands,
            ("header", toml::Value::Table(headers)) => {
                for (name, value) in headers {
                    let header: HeaderName = name
                        .parse()
                        .map_err(|_| format!("{name:?} is no header's name"))?;
                    let values = strings(value)
                        .ok_or_else(|| format!("header {name:?} is no string or list of them"))?;
                    for value in values {
                        let mut value: HeaderValue = value
                            .parse()
                            .map_err(|_| format!("header {name:?} has an invalid value"))?;
                        value.set_sensitive(true);
                        endpoint.headers.append(header.clone(), value);
                    }
                }
            }
            ("dial_timeout", toml::Value::String(text)) => {
                endpoint.tls.dial_seconds =
                    seconds(&text).ok_or_else(|| wrong("duration such as 5s or 1m"))?;
            }
            ("skip_verify" | "override_path", _) => return Err(wrong("true or false")),
            ("header", _) => return Err(wrong("table of headers")),
            ("dial_timeout", _) => return Err(wrong("duration such as 5s or 1m")),
            ("capabilities", _) => return Err(wrong("list of words")),
            _ => return Err(format!("key {key:?} is not known")),
        }
    }
    // containerd adds /v2 unless the path ends in it already.
    if endpoint.base.path().trim_end_matches('/').ends_with("/v2") {
        endpoint.override_path = true;
    }
    Ok(endpoint)
}

/// An address: without a scheme it is https.
fn address(text: &str) -> Result<Url, String> {
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let url: Url = whole
        .parse()
        .map_err(|error| format!("{text:?} is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("{text:?} is no http or https address"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address with a password: credentials belong into auth.json".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} has more than a host and a path"));
    }
    Ok(url)
}

fn strings(value: toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text]),
        toml::Value::Array(list) => list
            .into_iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

/// `"both.pem"`, `["cert", "key"]` or `[["cert", "key"]]`; of several pairs the first.
fn client(value: toml::Value) -> Option<(String, Option<String>)> {
    match value {
        toml::Value::String(file) => Some((file, None)),
        toml::Value::Array(mut list) if list.first().is_some_and(toml::Value::is_array) => {
            client(list.swap_remove(0))
        }
        value => {
            let mut files = strings(value)?.into_iter();
            let first = files.next()?;
            Some((first, files.next().filter(|key| !key.is_empty())))
        }
    }
}

fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    std::time::Duration::try_from_secs_f64(seconds)
        .ok()
        .map(|duration| duration.as_secs().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(endpoints: &[Endpoint]) -> Vec<String> {
        endpoints.iter().map(Endpoint::name).collect()
    }

    #[test]
    fn mirrors_come_in_the_files_order_and_the_registry_last() {
        let text = r#"
            server = "https://registry-1.docker.io"
            [host."https://z.example/v2/mirror"]
              capabilities = ["pull"]
              override_path = true
            [host."http://a.example:5000"]
              capabilities = ["pull", "resolve"]
              ca = ["one.crt", "/etc/two.crt"]
              client = [["c.cert", "c.key"]]
              [host."http://a.example:5000".header]
                x-key = ["a", "b"]
        "#;
        let found = parse(text, Path::new("/d"), "docker.io").unwrap();
        assert_eq!(
            names(&found),
            [
                "https://z.example/v2/mirror",
                "http://a.example:5000",
                "https://registry-1.docker.io"
            ]
        );
        let [first, second, server] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(
            (first.pull, first.resolve, first.push),
            (true, false, false)
        );
        assert_eq!(
            first.url("library/x", "blobs/d").as_str(),
            "https://z.example/v2/mirror/library/x/blobs/d"
        );
        assert_eq!(
            second.url("a/b", "manifests/1").as_str(),
            "http://a.example:5000/v2/a/b/manifests/1"
        );
        let authorities = ["/d/one.crt", "/etc/two.crt"].map(PathBuf::from);
        assert_eq!(second.tls.authorities, authorities);
        let client = ("/d/c.cert".into(), Some("/d/c.key".into()));
        assert_eq!(second.tls.client, Some(client));
        assert_eq!(second.headers.get_all("x-key").iter().count(), 2);
        assert_eq!(
            [first, second, server].map(|endpoint| endpoint.is_registry),
            [false, false, true]
        );
    }

    #[test]
    fn a_slip_is_an_error_that_names_it() {
        for (text, part) in [
            ("server = 5", "server"),
            ("[host.\"ftp://x\"]", "ftp"),
            ("[host.\"https://u:p@x\"]", "auth.json"),
            ("[host.\"https://x\"]\ncapabilites = []", "capabilites"),
            ("[host.\"https://x\"]\ncapabilities = [\"pul\"]", "pul"),
            ("[host.\"https://x\"]\nskip_verify = \"yes\"", "skip_verify"),
            ("[host.\"https://x\".header]\n\"a b\" = \"c\"", "a b"),
            ("dial_timeout = \"5 parsecs\"", "dial_timeout"),
            ("host = 3", "host"),
            ("=", ""),
        ] {
            let error = parse(text, Path::new("/d"), "a.example").unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_first_directory_that_knows_the_registry_counts() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let put = |dir: &Path, name: &str, file: &str, text: &str| {
            fs::create_dir_all(dir.join(name)).unwrap();
            fs::write(dir.join(name).join(file), text).unwrap();
        };
        put(
            a.path(),
            "_default",
            "hosts.toml",
            "server = \"https://default.example\"",
        );
        put(
            b.path(),
            "localhost_5000_",
            "hosts.toml",
            "server = \"http://localhost:5000\"",
        );
        put(b.path(), "tls.example", "ca.crt", "");
        let dirs = [a.path().to_owned(), b.path().to_owned()];
        let of = |registry: &str| endpoints(&dirs, registry).unwrap();
        assert_eq!(names(&of("localhost:5000")), ["http://localhost:5000"]);
        assert_eq!(names(&of("quay.io")), ["https://default.example"]);
        assert_eq!(of("tls.example")[0].tls.authorities.len(), 1);
        let none = endpoints(&[], "docker.io").unwrap();
        assert_eq!(names(&none), ["https://registry-1.docker.io"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_endpoints_or_an_error(text in "\\PC{0,200}") {
            let _ = parse(&text, Path::new("/d"), "a.example");
        }
    }
}
