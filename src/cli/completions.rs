//! Completion scripts, generated from the command line's definition.

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Args;
use super::exit::Exit;
use super::output;

/// Prints the completion script of a shell.
#[must_use]
pub fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "metergate", &mut script);
    output::print(&script)
}
