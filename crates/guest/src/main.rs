//! `guest build`: fetches and unpacks the kernel for tests. `guest run`: a command in a machine of its own.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use guest::{Error, kernel, run};

const USAGE: &str = "\
guest: virtual machines for tests

  guest build                       fetch Debian's kernel for virtual machines into DIR and unpack it
  guest run [options] -- PROGRAM…   run a static program in a guest, with its output and exit code
  guest sh [options] SCRIPT         run a script with busybox's shell

  --cache DIR        where the kernel is   [default: target/guest]
  --program FILE     another static program, at the same path in the guest (repeatable)
  --out DIR          where the files of the guest's /out go
  --module NAME      another kernel module to load (repeatable)
  --append TEXT      kernel parameters
  --memory MIB       [default: 512]
  --cpus N           [default: 1]
  --systemd          systemd is the first process, and the script a service of it
  --disk MIB         size of an ext4 disk at /tmp  [default: none, a tmpfs]
  --seconds N        how long it may take  [default: 300]
";

struct Args {
    cache: PathBuf,
    verb: String,
    rest: Vec<String>,
    programs: Vec<PathBuf>,
    out: Option<PathBuf>,
    modules: Vec<String>,
    append: String,
    memory: u32,
    cpus: u32,
    disk: u32,
    systemd: bool,
    seconds: u64,
}

fn main() -> ExitCode {
    match parse()
        .map_err(|e| e.to_string())
        .and_then(|args| act(&args))
    {
        Ok(code) => code,
        Err(why) => {
            // Nothing is left to do about a standard error that is closed.
            drop(writeln!(std::io::stderr(), "guest: {why}"));
            ExitCode::from(125)
        }
    }
}

fn parse() -> Result<Args, lexopt::Error> {
    use lexopt::prelude::{Long, Value, ValueExt as _};
    let mut args = Args {
        cache: "target/guest".into(),
        verb: String::new(),
        rest: Vec::new(),
        programs: Vec::new(),
        out: None,
        modules: Vec::new(),
        append: String::new(),
        memory: 512,
        cpus: 1,
        disk: 0,
        systemd: false,
        seconds: 300,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("cache") => args.cache = parser.value()?.into(),
            Long("program") => args
                .programs
                .push(std::path::absolute(parser.value()?).map_err(|e| e.to_string())?),
            Long("out") => args.out = Some(parser.value()?.into()),
            Long("module") => args.modules.push(parser.value()?.string()?),
            Long("append") => args.append = parser.value()?.string()?,
            Long("memory") => args.memory = parser.value()?.parse()?,
            Long("cpus") => args.cpus = parser.value()?.parse()?,
            Long("disk") => args.disk = parser.value()?.parse()?,
            Long("systemd") => args.systemd = true,
            Long("seconds") => args.seconds = parser.value()?.parse()?,
            Long("help") => args.verb = "help".into(),
            Value(value) if args.verb.is_empty() => args.verb = value.string()?,
            Value(value) => args.rest.push(value.string()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(args)
}

fn act(args: &Args) -> Result<ExitCode, String> {
    let mut out = std::io::stdout();
    match args.verb.as_str() {
        "build" => {
            let kernel = kernel::build(&args.cache).map_err(|e| chain(&e))?;
            let line = format!(
                "guest: kernel {} in {}\n",
                kernel.release(),
                args.cache.display()
            );
            drop(out.write_all(line.as_bytes()));
            Ok(ExitCode::SUCCESS)
        }
        "run" | "sh" => {
            let mut programs = args.programs.clone();
            let script = match (args.verb.as_str(), args.rest.split_first()) {
                (_, None) => return Err("nothing to run; see guest --help".into()),
                ("sh", Some((script, _))) => script.clone(),
                (_, Some((program, more))) => {
                    let path =
                        std::path::absolute(Path::new(program)).map_err(|e| e.to_string())?;
                    let words =
                        std::iter::once(path.display().to_string()).chain(more.iter().cloned());
                    let words: Vec<_> = words
                        .map(|w| format!("'{}'", w.replace('\'', "'\\''")))
                        .collect();
                    programs.push(path);
                    format!("exec {}", words.join(" "))
                }
            };
            let kernel = kernel::Kernel::open(&args.cache).map_err(|e| chain(&e))?;
            let modules: Vec<&str> = args.modules.iter().map(String::as_str).collect();
            let run = run::Run {
                script: &script,
                programs: &programs,
                files: &[],
                modules: &modules,
                append: &args.append,
                memory: args.memory,
                cpus: args.cpus,
                disk: args.disk,
                systemd: args.systemd,
                deadline: Duration::from_secs(args.seconds),
                silence: Duration::from_secs(args.seconds),
                out: args.out.as_deref(),
            };
            let code = run::run(&kernel, &run, |bytes| {
                drop(out.write_all(bytes).and_then(|()| out.flush()));
            });
            let code = code.map_err(|e| chain(&e))?;
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
        }
        "help" => {
            drop(out.write_all(USAGE.as_bytes()));
            Ok(ExitCode::SUCCESS)
        }
        other => Err(format!("unknown command {other:?}; see guest --help")),
    }
}

/// An error with its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
