//! The process: arguments, the runtime, exit codes. The commands themselves are in the library (`cli`).

use std::env;
use std::process::ExitCode;

use clap::Parser;
use metergate::cli::args::{Args, Command, Configured, Demo, LogLevel, Simulate};
use metergate::cli::exit::Exit;
use metergate::cli::logging::Logs;
use metergate::cli::{
    capture, check, completions, demo, doctor, events, manual, output, point_list, points, read, report, run,
    scan, setup, signals, simulate, status, tls, token, trace, write,
};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // clap returns help and version as errors, but they are results and go to stdout.
            let printed = error.print();
            if !error.use_stderr() {
                return output::check_written(printed).err().unwrap_or(Exit::Ok).into();
            }
            if status::is_wanted(env::args_os().map(|word| word.to_string_lossy().into_owned())) {
                return status::unknown("the command line is wrong, see `metergate status --help`").into();
            }
            return Exit::Usage.into();
        }
    };
    let exit = match &args.command {
        Command::Run(configured) => {
            start(&args, LogLevel::Info, |logs, runtime| runtime.block_on(run_gateway(configured, logs)))
        }
        Command::Check(args) => check::check(args),
        Command::Export(args) => point_list::export(args),
        Command::Tls(args) => tls::tls(args),
        Command::Token(args) => token::token(args),
        // The demo redraws its last line, so only warnings and errors are logged below it.
        Command::Demo(demo) => start(&args, LogLevel::Warn, |_, runtime| runtime.block_on(run_demo(demo))),
        Command::Simulate(simulate) => {
            start(&args, LogLevel::Info, |_, runtime| runtime.block_on(run_simulate(simulate)))
        }
        Command::Read(read) => run_once(&args, |stop| read::read(read, stop)),
        // A write in progress is not interrupted; a second Ctrl-C ends the process.
        Command::Write(write) => run_once(&args, |_stop| write::write(write)),
        Command::Points(points) => points::points(points),
        Command::Scan(scan) => run_once(&args, |stop| scan::scan(scan, stop)),
        Command::Setup(wanted) => run_once(&args, |stop| setup::setup(wanted, stop)),
        Command::Doctor(doctor) => run_once(&args, |stop| doctor::doctor(doctor, stop)),
        Command::Status(wanted) => {
            let mut state = status::PluginState::Unknown;
            let found = &mut state;
            let _exit = run_once(&args, |stop| async move {
                *found = status::status(wanted, stop).await;
                Exit::Ok
            });
            return state.into();
        }
        Command::Trace(trace) => run_once(&args, |stop| until(stop.clone(), trace::trace(trace, stop))),
        Command::Capture(capture) => {
            run_once(&args, |stop| until(stop.clone(), capture::capture(capture, stop)))
        }
        Command::Events(list) => run_once(&args, |stop| until(stop, events::events(list))),
        Command::Report(report) => run_once(&args, |stop| until(stop, report::report(report))),
        Command::Completions { shell } => completions::completions(*shell),
        Command::Man { command } => manual::man(command.as_deref()),
    };
    exit.into()
}

/// Starts log and runtime and runs a command in them.
fn start(args: &Args, default_level: LogLevel, command: impl FnOnce(&Logs, &Runtime) -> Exit) -> Exit {
    let logs = Logs::start(args.log_level, default_level).map_err(|error| error.to_string());
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    match (logs, runtime) {
        (Ok(logs), Ok(runtime)) => {
            let exit = command(&logs, &runtime);
            // The tasks log until the runtime has ended, so the log closes after it.
            drop(runtime);
            drop(logs);
            exit
        }
        (Err(error), _) => cannot_start(&error),
        (_, Err(error)) => cannot_start(&error.to_string()),
    }
}

/// Runs an interactive command. It reports its own errors, so by default only errors are logged.
fn run_once<F: Future<Output = Exit>>(args: &Args, command: impl FnOnce(CancellationToken) -> F) -> Exit {
    start(args, LogLevel::Error, |_, runtime| {
        runtime.block_on(async {
            match signals::stop_on_signals() {
                Ok(stop) => command(stop).await,
                Err(error) => cannot_start(&error.to_string()),
            }
        })
    })
}

/// Runs a command until it ends, or until it waits for a gateway at the time of the stop.
async fn until(stop: CancellationToken, command: impl Future<Output = Exit>) -> Exit {
    tokio::select! {
        // A command that ends on the stop by itself knows better how.
        biased;
        exit = command => exit,
        () = stop.cancelled() => Exit::Fault,
    }
}

async fn run_gateway(args: &Configured, logs: &Logs) -> Exit {
    // Handled before anything else is started, so that a signal during the start stops the gateway in order.
    match (signals::stop_on_signals(), signals::reload_signals()) {
        (Ok(stop), Ok(reload)) => run::run(args.path(), logs, reload, stop).await,
        (Err(error), _) | (_, Err(error)) => cannot_start(&error.to_string()),
    }
}

async fn run_demo(args: &Demo) -> Exit {
    match signals::stop_on_signals() {
        Ok(stop) => demo::demo(args, stop).await,
        Err(error) => cannot_start(&error.to_string()),
    }
}

async fn run_simulate(args: &Simulate) -> Exit {
    match signals::stop_on_signals() {
        Ok(stop) => simulate::simulate(args, stop).await,
        Err(error) => cannot_start(&error.to_string()),
    }
}

fn cannot_start(error: &str) -> Exit {
    output::complain(&format!("cannot start: {error}"));
    Exit::CannotStart
}

/// Threads of the runtime; two suffice, because a gateway mostly waits.
const WORKERS: usize = 2;
