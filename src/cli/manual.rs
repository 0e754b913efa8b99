//! The manual pages: what the command line's definition says, as man-pages(7) wants it.
//!
//! Owns the sections behind the options: examples and exit codes, which stand in the help of a command as plain lines,
//! files, and the pages beside this one. The rest is clap's. What it cannot place in a section goes into NOTES.

use std::io::{self, Write};

use clap::CommandFactory;

use super::args::Args;
use super::exit::Exit;
use super::{instances, output};

/// Prints the manual page of a command, or of the program.
#[must_use]
pub fn man(command: Option<&str>) -> Exit {
    let mut program = Args::command();
    // Building gives the commands the global arguments and their full names.
    program.build();
    let page = match command {
        None => Some(program.clone()),
        Some(name) => program.find_subcommand(name).cloned(),
    };
    let Some(page) = page else {
        output::complain(&format!("there is no command '{}'", command.unwrap_or_default()));
        return Exit::Usage;
    };
    match render(&page, &program) {
        Ok(page) => output::print(&page),
        Err(error) => {
            output::complain(&format!("the page cannot be made: {error}"));
            Exit::Fault
        }
    }
}

fn render(page: &clap::Command, program: &clap::Command) -> io::Result<Vec<u8>> {
    let source = concat!("metergate ", env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(page.clone()).source(source).manual("metergate");
    let is_program = page.get_name() == program.get_name();
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    // A command that is broken in two cannot be copied.
    text.extend(b".nh\n.ad l\n");
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if is_program {
        man.render_subcommands_section(&mut text)?;
    }
    let help = page.get_after_help().map(ToString::to_string).unwrap_or_default();
    let help = Help::read(&help);
    write_notes(&mut text, &help.notes)?;
    write_examples(&mut text, &help.examples)?;
    write_exit_codes(&mut text, &help.exit_codes)?;
    write_files(&mut text, page, is_program)?;
    write_see_also(&mut text, page, program)?;
    Ok(text)
}

/// What stands behind the options in the help of a command.
#[derive(Debug, Default, PartialEq, Eq)]
struct Help {
    notes: Vec<String>,
    /// What each shows, and its lines.
    examples: Vec<(String, Vec<String>)>,
    /// Each code, and what it means.
    exit_codes: Vec<(String, String)>,
}

impl Help {
    fn read(text: &str) -> Self {
        let mut help = Self::default();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(title) = line.strip_prefix("Examples:").or_else(|| line.strip_prefix("Example:")) {
                let mut shown = Vec::new();
                while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
                    shown.push(line.trim().to_owned());
                }
                help.examples.push((title.trim().to_owned(), shown));
            } else if let Some(codes) = line.strip_prefix("Exit status:") {
                let mut codes = codes.trim().to_owned();
                while let Some(line) = lines.next_if(|line| !line.is_empty()) {
                    let separator = if codes.is_empty() { "" } else { ", " };
                    codes.push_str(separator);
                    codes.push_str(line.trim());
                }
                help.exit_codes = exit_codes(&codes);
            } else if line.is_empty() {
                help.notes.push(String::new());
            } else {
                match help.notes.last_mut() {
                    Some(note) if !note.is_empty() => {
                        note.push(' ');
                        note.push_str(line);
                    }
                    Some(_) | None => help.notes.push(line.to_owned()),
                }
            }
        }
        help.notes.retain(|note| !note.is_empty());
        help
    }
}

/// `0 ok, 1 a line, or two, 2 wrong usage`: a code begins with a digit and follows a comma.
fn exit_codes(text: &str) -> Vec<(String, String)> {
    let mut codes: Vec<(String, String)> = Vec::new();
    for part in text.split(", ") {
        let (code, means) = part.split_once(' ').unwrap_or((part, ""));
        let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit());
        match codes.last_mut() {
            Some((_, means)) if !is_code => {
                means.push_str(", ");
                means.push_str(part);
            }
            Some(_) | None => codes.push((code.to_owned(), means.trim().to_owned())),
        }
    }
    codes
}

fn write_notes(page: &mut Vec<u8>, notes: &[String]) -> io::Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    writeln!(page, ".SH NOTES")?;
    notes.iter().try_for_each(|note| writeln!(page, ".PP\n{}", escaped(note)))
}

fn write_examples(page: &mut Vec<u8>, examples: &[(String, Vec<String>)]) -> io::Result<()> {
    if examples.is_empty() {
        return Ok(());
    }
    writeln!(page, ".SH EXAMPLES")?;
    for (title, lines) in examples {
        if !title.is_empty() {
            writeln!(page, ".PP\n{}:", escaped(&capitalised(title)))?;
        }
        writeln!(page, ".PP\n.RS 4\n.nf")?;
        lines.iter().try_for_each(|line| writeln!(page, "{}", escaped(line)))?;
        writeln!(page, ".fi\n.RE")?;
    }
    Ok(())
}

fn write_exit_codes(page: &mut Vec<u8>, codes: &[(String, String)]) -> io::Result<()> {
    if codes.is_empty() {
        return Ok(());
    }
    writeln!(page, ".SH EXIT STATUS")?;
    codes
        .iter()
        .try_for_each(|(code, means)| writeln!(page, ".TP\n\\fB{code}\\fR\n{}", escaped(&capitalised(means))))
}

fn write_files(page: &mut Vec<u8>, command: &clap::Command, is_program: bool) -> io::Result<()> {
    let has_configuration = command.get_arguments().any(|argument| argument.get_id() == "config");
    if !has_configuration && !is_program {
        return Ok(());
    }
    writeln!(page, ".SH FILES")?;
    FILES
        .iter()
        .try_for_each(|(path, what)| writeln!(page, ".TP\n\\fI{}\\fR\n{}", escaped(path), escaped(what)))
}

fn write_see_also(page: &mut Vec<u8>, command: &clap::Command, program: &clap::Command) -> io::Result<()> {
    writeln!(page, ".SH SEE ALSO")?;
    let mut others: Vec<String> = vec![program.get_name().to_owned()];
    others.extend(
        program
            .get_subcommands()
            .filter(|one| one.get_name() != "help")
            .map(|one| format!("{}-{}", program.get_name(), one.get_name())),
    );
    let own = command.get_display_name().unwrap_or(command.get_name());
    others.retain(|other| other != own);
    let others: Vec<String> = others.iter().map(|other| format!("\\fB{}\\fR(1)", escaped(other))).collect();
    writeln!(page, "{}", others.join(",\n"))?;
    writeln!(page, ".PP\n{}", escaped("The documentation: /usr/share/doc/metergate/docs/README.md"))
}

/// Text of a page: nothing in it is a request, and hyphens can be copied.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What commands use on a system with the packages.
const FILES: [(&str, &str); 4] = [
    (
        instances::CONFIGURATION,
        "The configuration; each key of it is explained in /usr/share/doc/metergate/examples/metergate.yaml.",
    ),
    ("/etc/metergate/profiles", "Profiles of further kinds of meters, or in place of the built-in ones."),
    ("/usr/share/metergate/profiles", "The built-in profiles, to be copied and changed."),
    (
        "$XDG_RUNTIME_DIR/metergate, /run/metergate",
        "Where running gateways are found by commands that are given none.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_a_command_is_taken_apart() {
        let help = Help::read(
            "A first note\nin two lines.\n\nExample: one\n  metergate a --b\nExamples:\n  metergate c  what it does\n  .d\n\nExit \
             status: 0 ok, 1 a line, or two, 5 gone",
        );
        let words = |text: &[&str]| text.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        assert_eq!(help.notes, ["A first note in two lines."]);
        assert_eq!(help.examples[0], ("one".to_owned(), words(&["metergate a --b"])));
        assert_eq!(help.examples[1], (String::new(), words(&["metergate c  what it does", ".d"])));
        let code = |code: &str, means: &str| (code.to_owned(), means.to_owned());
        assert_eq!(help.exit_codes, [code("0", "ok"), code("1", "a line, or two"), code("5", "gone")]);
        let program = Help::read("Exit status:\n  0  ok\n  1  ran and found a fault");
        assert_eq!(program.exit_codes, [code("0", "ok"), code("1", "ran and found a fault")]);
    }

    #[test]
    fn text_is_never_a_request_of_the_page() {
        assert_eq!(escaped(".d 'x' \\n --y"), "\\&.d 'x' \\en \\-\\-y");
    }
}
