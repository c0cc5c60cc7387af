//! Platforms: which of several builds of an image a machine runs best.
//!
//! ```text
//!  asked          taken, best first
//!  linux/amd64    the highest level that the CPU has (v4 … v1); no variant means v1
//!  linux/arm64    v8 (or no variant); 9 and later minor versions only when asked for
//!  linux/arm/v7   v7, v6, v5; no variant means v7
//!  others         exact variant, or no variant
//! ```
//! Names are Go's (`GOOS`, `GOARCH`), variants those of the OCI image index ("platform.variant") and
//! of the x86-64 psABI's microarchitecture levels.

use std::{fmt, str::FromStr};

use oci::image as document;

/// A machine that an image is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}: it is OS/ARCHITECTURE[/VARIANT], for example linux/arm64/v8")]
pub struct PlatformError(String);

impl Platform {
    /// This machine's.
    #[must_use]
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self {
            os: std::env::consts::OS.to_owned(),
            architecture: architecture.to_owned(),
            variant: level(),
        }
    }

    /// How well what a descriptor or configuration says fits: 0 is best, `None` not at all. What is
    /// not said fits, after all that is said.
    pub(crate) fn rank(&self, os: &str, architecture: &str, variant: Option<&str>) -> Option<u32> {
        if os.is_empty() && architecture.is_empty() {
            return Some(u32::MAX);
        }
        let (architecture, variant) = normal(architecture, variant.unwrap_or_default());
        let (own, wanted) = normal(
            &self.architecture,
            self.variant.as_deref().unwrap_or_default(),
        );
        let os_fits = os.is_empty() || os.eq_ignore_ascii_case(&self.os);
        if !os_fits || !(architecture.is_empty() || architecture == own) {
            return None;
        }
        if variant == wanted {
            return Some(0);
        }
        match own.as_str() {
            "amd64" | "arm" => {
                let (wanted, found) = (number(&wanted)?, number(&variant)?);
                wanted.checked_sub(found)
            }
            _ if variant.is_empty() => Some(1),
            _ => None,
        }
    }

    /// Operating system and architecture fit, whatever the variant.
    pub(crate) fn same_kind(&self, os: &str, architecture: &str) -> bool {
        let (found, _) = normal(architecture, "");
        let (own, _) = normal(&self.architecture, "");
        (os.is_empty() || os.eq_ignore_ascii_case(&self.os)) && (found.is_empty() || found == own)
    }

    /// [`rank`](Self::rank) of a descriptor's platform.
    pub(crate) fn rank_of(&self, platform: &document::Platform) -> Option<u32> {
        self.rank(
            &platform.os,
            &platform.architecture,
            platform.variant.as_deref(),
        )
    }
}

/// Names that mean the same, made the same; the variant that no variant means.
fn normal(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
        "x86_64" | "x86-64" | "amd64" => ("amd64".to_owned(), "v1"),
        "aarch64" | "arm64" => ("arm64".to_owned(), "v8"),
        "armhf" | "arm" => ("arm".to_owned(), "v7"),
        "armel" => ("arm".to_owned(), "v6"),
        "i386" => ("386".to_owned(), ""),
        other => (other.to_owned(), ""),
    };
    let variant = match variant {
        "" => implied.to_owned(),
        // Some images say "8" for v8.
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => format!("v{digits}"),
        other => other.to_ascii_lowercase(),
    };
    (architecture, variant)
}

fn number(variant: &str) -> Option<u32> {
    variant.strip_prefix('v')?.parse().ok()
}

/// The x86-64 level of this CPU (psABI, "Micro-Architecture Levels").
#[cfg(target_arch = "x86_64")]
fn level() -> Option<String> {
    macro_rules! has {
        ($($feature:tt),*) => { $(std::arch::is_x86_feature_detected!($feature))&&* };
    }
    let second = has!("cmpxchg16b", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3");
    let third = has!(
        "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "lzcnt", "movbe"
    );
    let fourth = has!("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl");
    let level = match (second, third, fourth) {
        (true, true, true) => "v4",
        (true, true, false) => "v3",
        (true, false, _) => "v2",
        (false, ..) => return None,
    };
    Some(level.to_owned())
}

#[cfg(not(target_arch = "x86_64"))]
fn level() -> Option<String> {
    None
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let part = |part: &str| {
            !part.is_empty()
                && part.len() <= 64
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [os, architecture, rest @ ..]
                if rest.len() <= 1 && parts.iter().all(|text| part(text)) =>
            {
                let (architecture, variant) =
                    normal(architecture, rest.first().copied().unwrap_or_default());
                let host = Self::host();
                // Someone who asks for this machine's architecture gets what suits its CPU best.
                let variant = if rest.is_empty() && architecture == host.architecture {
                    host.variant
                } else {
                    Some(variant).filter(|variant| !variant.is_empty())
                };
                Ok(Self {
                    os: os.to_ascii_lowercase(),
                    architecture,
                    variant,
                })
            }
            _ => Err(PlatformError(text.chars().take(200).collect())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            // What an image without a variant is: not worth a word.
            None | Some("v1") => Ok(()),
            Some("v8") if self.architecture == "arm64" => Ok(()),
            // The CPU's level is why an image is preferred, never why one is missing.
            Some(_) if self.architecture == "amd64" => Ok(()),
            Some(variant) => write!(f, "/{variant}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_variant_that_runs_is_taken() {
        for (asked, offered, best) in [
            (
                "linux/arm64",
                &["linux/arm/v7", "linux/arm64/v8"][..],
                Some(1),
            ),
            ("linux/arm64/v8", &["linux/arm64", "linux/amd64"], Some(0)),
            ("linux/aarch64", &["linux/arm64"], Some(0)),
            (
                "linux/arm/v6",
                &["linux/arm/v7", "linux/arm/v5", "linux/arm/v6"],
                Some(2),
            ),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"], Some(1)),
            ("linux/arm/v5", &["linux/arm/v6", "linux/arm"], None),
            (
                "linux/amd64/v2",
                &["linux/amd64", "linux/amd64/v2", "linux/amd64/v3"],
                Some(1),
            ),
            ("linux/amd64/v1", &["linux/amd64/v3"], None),
            ("linux/riscv64", &["linux/amd64", "linux/riscv64"], Some(1)),
            ("linux/s390x", &["windows/s390x"], None),
            ("linux/arm64", &["linux/arm64/v9"], None),
        ] {
            let platform: Platform = asked.parse().unwrap();
            let ranks = offered.iter().enumerate().filter_map(|(at, text)| {
                let parts: Vec<&str> = text.split('/').collect();
                let rank = platform.rank(parts[0], parts[1], parts.get(2).copied())?;
                Some((rank, at))
            });
            assert_eq!(
                ranks.min().map(|(_, at)| at),
                best,
                "{asked} of {offered:?}"
            );
        }
    }

    #[test]
    fn only_two_or_three_words_are_a_platform() {
        for bad in [
            "",
            "linux",
            "linux/",
            "/arm64",
            "a/b/c/d",
            "linux/arm 64",
            "linux/a\n",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
        assert_eq!(
            "Linux/ARM/7".parse::<Platform>().unwrap().to_string(),
            "linux/arm/v7"
        );
        assert!(
            Platform::host().rank("linux", "amd64", None).is_some()
                || cfg!(not(target_arch = "x86_64"))
        );
    }
}
