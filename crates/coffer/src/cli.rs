//! The command line: the commands, and what is common to all of them. This definition is the one
//! table from which help, completions, man pages and `docs/reference/commands/` are made.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::{cmd, config::DEFAULT_SOCKET, error::Error, paint::Color, resolve::Kind};

/// Pods and containers on this node.
#[derive(Debug, Parser)]
#[command(name = "coffer", version, about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Socket of the daemon
    #[arg(
        long,
        env = "COFFER_SOCKET",
        value_name = "PATH",
        global = true,
        help_heading = "Everywhere"
    )]
    pub(crate) socket: Option<PathBuf>,
    /// Colours in the output
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        global = true,
        hide_default_value = true,
        hide_possible_values = true,
        help_heading = "Everywhere"
    )]
    pub(crate) color: Color,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One file each in `cmd/`. Each is in one of [`crate::help::GROUPS`] or hidden.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a container from an image, in a pod of its own or in one that is there
    Run(Box<cmd::run::Args>),
    /// Run a command in a running container
    Exec(cmd::exec::Args),
    /// Connect to the input and output of a running container
    Attach(cmd::attach::Args),
    /// Copy files between a container and the host
    Cp(cmd::cp::Args),
    /// Forward local ports to a pod
    PortForward(cmd::port_forward::Args),
    /// Start containers that were created and not started
    Start(cmd::start::Args),
    /// Stop containers or pods
    Stop(cmd::stop::Args),
    /// Send a signal to containers
    Kill(cmd::kill::Args),
    /// Wait until containers have ended, and print their exit codes
    Wait(cmd::wait::Args),
    /// Remove containers or pods
    #[command(visible_alias = "remove")]
    Rm(cmd::rm::Args),
    /// List containers
    #[command(visible_aliases = ["ls", "list"])]
    Ps(cmd::ps::Args),
    /// List pods
    Pods(cmd::pods::Args),
    /// Show what containers wrote
    Logs(cmd::logs::Args),
    /// Watch what containers use, or list a container's processes
    Top(cmd::top::Args),
    /// Show what containers use
    Stats(cmd::stats::Args),
    /// Show what happens to pods, containers and images
    Events(cmd::events::Args),
    /// Show everything about containers, pods or images
    Inspect(cmd::inspect::Args),
    /// Say what a pod or container is doing and what it waits on
    Explain(cmd::explain::Args),
    /// List images
    Images(cmd::images::Args),
    /// Fetch images from their registries
    Pull(cmd::pull::Args),
    /// Send an image to its registry
    Push(cmd::push::Args),
    /// Give an image more names
    Tag(cmd::tag::Args),
    /// Write images into an archive
    #[command(visible_alias = "save")]
    Export(cmd::export::Args),
    /// Read images from an archive, standard input or an OCI layout
    #[command(visible_alias = "load")]
    Import(cmd::import::Args),
    /// Remove images
    Rmi(cmd::rmi::Args),
    /// Remove ended containers of `coffer run`, and images that nothing uses
    Prune(cmd::prune::Args),
    /// Check this machine: what pods need, each with a verdict and a fix
    Doctor(cmd::doctor::Args),
    /// Show the daemon's state and what it found on this node
    Info(cmd::info::Args),
    /// Show the versions of this program and of the daemon
    Version(cmd::version::Args),
    /// Be the daemon
    Serve(cmd::serve::Args),
    /// Print a completion script for a shell
    Completion(cmd::completion::Args),
    /// Write manual pages into a directory
    Man(cmd::man::Args),

    /// Commands for containers
    #[command(subcommand, hide = true, visible_alias = "containers")]
    Container(cmd::group::Container),
    /// Commands for pods
    #[command(subcommand, hide = true)]
    Pod(cmd::group::Pod),
    /// Commands for images
    #[command(subcommand, hide = true)]
    Image(cmd::group::Image),
    /// Stop pods
    #[command(hide = true)]
    Stopp(cmd::stop::Args),
    /// Remove pods
    #[command(hide = true)]
    Rmp(cmd::rm::Args),
    /// Show everything about pods
    #[command(hide = true)]
    Inspectp(cmd::inspect::Args),
    /// Show everything about images
    #[command(hide = true)]
    Inspecti(cmd::inspect::Args),
    /// Candidates for a word that is being typed
    #[command(name = "__complete", hide = true)]
    Complete(cmd::completion::CompleteArgs),
    /// Write docs/reference
    #[command(name = "__reference", hide = true)]
    Reference(cmd::man::ReferenceArgs),
}

impl Cli {
    /// Does what was asked; the result is the exit code.
    pub(crate) async fn run(self) -> Result<u8, Error> {
        let socket = self.socket.unwrap_or_else(|| DEFAULT_SOCKET.into());
        self.command.run(&socket).await
    }
}

impl Command {
    async fn run(self, socket: &Path) -> Result<u8, Error> {
        match self {
            Command::Run(args) => cmd::run::run(*args, socket).await,
            Command::Exec(args) => cmd::exec::run(args, socket).await,
            Command::Attach(args) => cmd::attach::run(args, socket).await,
            Command::Cp(args) => cmd::cp::run(args, socket).await,
            Command::PortForward(args) => cmd::port_forward::run(args, socket).await,
            Command::Start(args) => cmd::start::run(args, socket).await,
            Command::Stop(args) => cmd::stop::run(args, Kind::Any, socket).await,
            Command::Kill(args) => cmd::kill::run(args, socket).await,
            Command::Wait(args) => cmd::wait::run(args, socket).await,
            Command::Rm(args) => cmd::rm::run(args, Kind::Any, socket).await,
            Command::Ps(args) => cmd::ps::run(args, socket).await,
            Command::Pods(args) => cmd::pods::run(args, socket).await,
            Command::Logs(args) => cmd::logs::run(args, Kind::Any, socket).await,
            Command::Top(args) => cmd::top::run(args, socket).await,
            Command::Stats(args) => cmd::stats::run(args, socket).await,
            Command::Events(args) => cmd::events::run(args, socket).await,
            Command::Inspect(args) => cmd::inspect::run(args, Kind::Any, socket).await,
            Command::Explain(args) => cmd::explain::run(args, socket).await,
            Command::Images(args) => cmd::images::run(args, socket).await,
            Command::Import(args) => cmd::import::run(args, socket).await,
            Command::Pull(args) => cmd::pull::run(args, socket).await,
            Command::Push(args) => cmd::push::run(args, socket).await,
            Command::Tag(args) => cmd::tag::run(args, socket).await,
            Command::Export(args) => cmd::export::run(args, socket).await,
            Command::Rmi(args) => cmd::rmi::run(args, socket).await,
            Command::Prune(args) => cmd::prune::run(args, cmd::prune::What::All, socket).await,
            Command::Doctor(args) => cmd::doctor::run(args, socket).await,
            Command::Info(args) => cmd::info::run(args, socket).await,
            Command::Version(args) => cmd::version::run(args, socket).await,
            Command::Serve(_) => Err(Error::Usage("serve has a runtime of its own".to_owned())),
            Command::Completion(args) => cmd::completion::run(&args),
            Command::Man(args) => cmd::man::run(&args),
            Command::Reference(args) => cmd::man::reference(&args),
            Command::Complete(args) => cmd::completion::complete(args, socket).await,
            Command::Container(verb) => verb.run(socket).await,
            Command::Pod(verb) => verb.run(socket).await,
            Command::Image(verb) => verb.run(socket).await,
            Command::Stopp(args) => cmd::stop::run(args, Kind::Pod, socket).await,
            Command::Rmp(args) => cmd::rm::run(args, Kind::Pod, socket).await,
            Command::Inspectp(args) => cmd::inspect::run(args, Kind::Pod, socket).await,
            Command::Inspecti(args) => cmd::inspect::run(args, Kind::Image, socket).await,
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
