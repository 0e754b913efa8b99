//! The ceiling: a TCP server that answers every request with the same prebuilt bytes, on the same runtime as the
//! gateway and in a process of its own. It does only what every server of this kind must do.

#![allow(clippy::print_stdout, reason = "the process tells its address")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use crate::gateway::processor_time;
use crate::load::{Question, REQUEST_LENGTH};

/// A running ceiling; ended when dropped.
pub(crate) struct Ceiling {
    child: Child,
    address: SocketAddr,
}

impl Ceiling {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
            .arg(SERVE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("it was asked for"))
            .read_line(&mut said)
            .expect("it tells its address");
        let address = said.trim().parse().expect("an address");
        Self { child, address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Processor time it has taken since it started.
    pub(crate) fn processor_time(&self) -> Duration {
        processor_time(&self.child)
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The whole process: serves until it is killed.
pub(crate) fn serve() -> ExitCode {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads can be had").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        println!("{}", listener.local_addr().expect("it is bound"));
        loop {
            let (stream, _) = listener.accept().await.expect("descriptors are left");
            tokio::spawn(answer_all(stream));
        }
    })
}

async fn answer_all(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
    let question = Question::ceiling();
    let reply = question.reply();
    let replies = reply.repeat(AT_ONCE);
    let mut input = [0; AT_ONCE * REQUEST_LENGTH];
    let mut filled = 0;
    while let Ok(count @ 1..) = stream.read(&mut input[filled..]).await {
        filled += count;
        let whole = filled / REQUEST_LENGTH;
        filled %= REQUEST_LENGTH;
        if stream.write_all(&replies[..whole * reply.len()]).await.is_err() {
            break;
        }
    }
}

/// The argument that makes this program the ceiling.
pub(crate) const SERVE: &str = "--serve-as-ceiling";

/// Requests taken with one read, at most.
const AT_ONCE: usize = 32;
