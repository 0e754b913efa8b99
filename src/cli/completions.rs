//! What is generated from the command line's definition: completion scripts and manual pages.

use std::io;

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

/// Prints the manual page of a command, or of the program.
#[must_use]
pub fn man(command: Option<&str>) -> Exit {
    let mut program = Args::command();
    // Building gives the commands the global arguments and their full names.
    program.build();
    let page = match command {
        None => Some(program),
        Some(name) => program.find_subcommand(name).cloned(),
    };
    let Some(page) = page else {
        output::complain(&format!("there is no command '{}'", command.unwrap_or_default()));
        return Exit::Usage;
    };
    match render(page) {
        Ok(page) => output::print(&page),
        Err(error) => {
            output::complain(&format!("the page cannot be made: {error}"));
            Exit::Fault
        }
    }
}

fn render(page: clap::Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    Ok(text)
}
