//! The command line: the commands and what is common to all of them.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{cmd, config::DEFAULT_SOCKET, error::Error};

/// Pods and containers on this node.
#[derive(Debug, Parser)]
#[command(name = "coffer", version, about, disable_help_subcommand = true)]
#[command(
    after_help = "Names and unique prefixes of ids mean containers and pods; pod/NAME and \
                        container/NAME say which."
)]
pub(crate) struct Cli {
    /// Socket of the daemon
    #[arg(long, env = "COFFER_SOCKET", value_name = "PATH", global = true)]
    pub(crate) socket: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One file each in `cmd/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a pod with a container from an image and run it
    Run(Box<cmd::run::Args>),
    /// List containers
    Ps(cmd::ps::Args),
    /// List pods
    Pods(cmd::pods::Args),
    /// Show what a container wrote
    Logs(cmd::logs::Args),
    /// Run a command in a running container
    Exec(cmd::exec::Args),
    /// Join the terminal or streams of a running container
    Attach(cmd::attach::Args),
    /// Forward local ports into a pod
    PortForward(cmd::port_forward::Args),
    /// Show what containers use
    Stats(cmd::stats::Args),
    /// Show everything about a container or pod, as JSON
    Inspect(cmd::inspect::Args),
    /// Stop containers or pods
    Stop(cmd::stop::Args),
    /// Remove containers or pods
    Rm(cmd::rm::Args),
    /// Read images from an archive, standard input or an OCI layout
    Import(cmd::import::Args),
    /// List images
    Images(cmd::images::Args),
    /// Remove images
    Rmi(cmd::rmi::Args),
    /// Show the versions of this program and of the daemon
    Version(cmd::version::Args),
    /// Be the daemon
    Serve(cmd::serve::Args),
}

impl Cli {
    /// Does what was asked; the result is the exit code.
    pub(crate) async fn run(self) -> Result<u8, Error> {
        let socket = self.socket.unwrap_or_else(|| DEFAULT_SOCKET.into());
        match self.command {
            Command::Run(args) => cmd::run::run(*args, &socket).await,
            Command::Ps(args) => cmd::ps::run(args, &socket).await,
            Command::Pods(args) => cmd::pods::run(args, &socket).await,
            Command::Logs(args) => cmd::logs::run(args, &socket).await,
            Command::Exec(args) => cmd::exec::run(args, &socket).await,
            Command::Attach(args) => cmd::attach::run(args, &socket).await,
            Command::PortForward(args) => cmd::port_forward::run(args, &socket).await,
            Command::Stats(args) => cmd::stats::run(args, &socket).await,
            Command::Inspect(args) => cmd::inspect::run(args, &socket).await,
            Command::Stop(args) => cmd::stop::run(args, &socket).await,
            Command::Rm(args) => cmd::rm::run(args, &socket).await,
            Command::Import(args) => cmd::import::run(args, &socket).await,
            Command::Images(args) => cmd::images::run(args, &socket).await,
            Command::Rmi(args) => cmd::rmi::run(args, &socket).await,
            Command::Version(args) => cmd::version::run(args, &socket).await,
            Command::Serve(_) => Err(Error::Usage("serve has a runtime of its own".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_image_belongs_to_the_container() {
        let cli = Cli::parse_from(["coffer", "run", "--rm", "busybox", "ls", "-d", "--rm", "/"]);
        let Command::Run(args) = cli.command else {
            panic!("not run")
        };
        assert!(args.rm && !args.detach);
        assert_eq!(args.command, ["ls", "-d", "--rm", "/"]);
        let cli = Cli::parse_from(["coffer", "exec", "web", "sh", "-c", "exit 3"]);
        let Command::Exec(args) = cli.command else {
            panic!("not exec")
        };
        assert_eq!(args.command, ["sh", "-c", "exit 3"]);
    }
}
