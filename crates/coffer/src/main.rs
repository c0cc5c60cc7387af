//! `coffer`: the node's daemon (`coffer serve`) and the command line for people, which speaks CRI
//! over the daemon's socket like any other client.
//!
//! ```text
//! words.rs ──► cli.rs ──► cmd/*.rs ──► client.rs ──► socket       one command, one file
//!                 │           └── convert.rs          wire types stop here
//!                 └── resolve.rs, table.rs, follow.rs names, output, logs
//! cmd/serve.rs ──► cri                                the daemon itself
//! ```
#![forbid(unsafe_code)]

mod candidates;
mod cli;
mod client;
mod cmd;
mod config;
mod convert;
mod convert_launch;
mod copy;
mod doctor;
mod ending;
mod error;
mod exit;
mod filter;
mod follow;
mod help;
mod human;
mod launch;
mod layout;
mod list;
mod listen;
mod logline;
mod logview;
mod names;
mod nearest;
mod operands;
mod out;
mod paint;
mod parse;
mod places;
mod processes;
mod reference;
mod resolve;
mod screen;
mod signals;
mod sockpath;
mod stream;
mod table;
mod tail;
mod template;
mod terminal;
mod times;
mod usage;
mod view;
mod words;

use std::{error::Error as _, io::Write, process::ExitCode};

use crate::error::Error;

fn main() -> ExitCode {
    let cli = match words::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return ExitCode::from(code),
    };
    paint::choose(cli.color);
    let done = match cli.command {
        cli::Command::Serve(args) => cmd::serve::run(args, cli.socket),
        _ => client_runtime().and_then(|runtime| runtime.block_on(cli.run())),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error);
            ExitCode::from(error.code())
        }
    }
}

/// One thread is enough to wait for answers.
fn client_runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io {
            what: "start the event loop".to_owned(),
            source,
        })
}

/// Says what happened, why, and what to do, each on a line of its own.
pub(crate) fn report(error: &Error) {
    let error = match error {
        Error::Closed => return,
        Error::Coded { inner, .. } => inner,
        other => other,
    };
    let mut text = format!("coffer: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        // The number of an errno says nothing more than its text.
        let said = source.to_string();
        let said = said
            .split_once(" (os error")
            .map_or(said.as_str(), |(text, _)| text);
        text.push_str(&format!(": {said}"));
        cause = source.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("\ncoffer: {hint}"));
    }
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
