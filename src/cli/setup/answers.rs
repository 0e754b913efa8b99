//! The answers of the person at the terminal, line by line.
//!
//! A thread of its own reads them: a read of the standard input cannot be given up, and must not keep Ctrl-C from
//! working. With `--yes` nothing is read, and each question has the answer it proposes.

use std::io::{self, BufRead, IsTerminal, Read};
use std::thread;

use tokio::sync::mpsc::{Receiver, channel};
use tokio_util::sync::CancellationToken;

use super::{interrupted, print, prompt};
use crate::cli::command_error::CommandError;

/// The answer that an empty line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proposed {
    Yes,
    No,
}

pub(super) struct Answers {
    lines: Option<Receiver<String>>,
    stop: CancellationToken,
}

impl Answers {
    /// `yes`: nothing is asked.
    pub(super) fn new(yes: bool, stop: CancellationToken) -> Self {
        let lines = (!yes).then(|| {
            let (sender, lines) = channel(1);
            // It ends with the process.
            let _reader = thread::spawn(move || {
                let mut stdin = io::stdin().lock();
                let mut line = Vec::new();
                while matches!(stdin.by_ref().take(LONGEST).read_until(b'\n', &mut line), Ok(1..)) {
                    let text = String::from_utf8_lossy(&line).trim().to_owned();
                    if sender.blocking_send(text).is_err() {
                        break;
                    }
                    line.clear();
                }
            });
            lines
        });
        Self { lines, stop }
    }

    /// An answer in words; an empty line is the one that is proposed.
    ///
    /// # Errors
    /// The input ends, or the command is broken off.
    pub(super) async fn ask(&mut self, question: &str, proposed: &str) -> Result<String, CommandError> {
        let hint = if proposed.is_empty() { String::new() } else { format!(" [{proposed}]") };
        let Some(lines) = &mut self.lines else { return Ok(proposed.to_owned()) };
        prompt(&format!("{question}{hint}: "));
        let line = tokio::select! {
            biased;
            () = self.stop.cancelled() => {
                print("\n");
                return Err(interrupted());
            }
            line = lines.recv() => line,
        };
        if let (Some(line), false) = (&line, io::stdin().is_terminal()) {
            // Where input is not a terminal the answer is shown, as a terminal would have echoed it.
            print(&format!("{line}\n"));
        }
        match line {
            Some(line) if line.is_empty() => Ok(proposed.to_owned()),
            Some(line) => Ok(line),
            None => {
                print("\n");
                Err(CommandError::usage(format!(
                    "the input ended before \"{question}\" was answered; nothing was written. Each answer is an \
                     option, too (`metergate setup --help`), and --yes takes what is proposed for the others"
                )))
            }
        }
    }

    /// Yes or no.
    ///
    /// # Errors
    /// The input ends, or the command is broken off.
    pub(super) async fn agree(&mut self, question: &str, proposed: Proposed) -> Result<bool, CommandError> {
        let hint = match proposed {
            Proposed::Yes => "Y/n",
            Proposed::No => "y/N",
        };
        loop {
            let answer = self.ask(question, hint).await?;
            match answer.to_ascii_lowercase().as_str() {
                "y/n" => return Ok(proposed == Proposed::Yes),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => print("y or n is expected.\n"),
            }
        }
    }
}

/// Bytes of a line.
const LONGEST: u64 = 4096;
