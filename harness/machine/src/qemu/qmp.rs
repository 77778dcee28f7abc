//! QEMU's control socket (QMP): commands with a time limit, events as they come. Interprets no answer.
//! Protocol: QEMU's `docs/interop/qmp-spec.txt`.
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Map, Value, json};
use std::io::{self, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::run::StopFlag;
use crate::run::lines::LineReader;

/// An event that QEMU reports, for example `SHUTDOWN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QmpEvent {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: Map<String, Value>,
}

/// Why a command was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket failed.
    #[error("QMP: {0}")]
    Io(#[from] io::Error),
    /// No answer in time.
    #[error("QMP: {command} was not answered within {} s", limit.as_secs_f32())]
    TimedOut {
        /// What was asked.
        command: String,
        /// How long it had.
        limit: Duration,
    },
    /// Somebody asked to stop while an answer was awaited.
    #[error("QMP: stopped before {command} was answered")]
    Stopped {
        /// What was asked.
        command: String,
    },
    /// QEMU closed the socket.
    #[error("QMP: the socket was closed before {command} was answered")]
    Closed {
        /// What was asked.
        command: String,
    },
    /// QEMU answered with an error.
    #[error("QMP: {command} was refused: {reason}")]
    Refused {
        /// What was asked.
        command: String,
        /// QEMU's reason.
        reason: String,
    },
}

/// A command.
#[derive(Debug, Default)]
pub struct QmpCommand {
    /// Its name, for example `cont`.
    pub name: &'static str,
    /// Its arguments; null for none.
    pub arguments: Value,
    /// A descriptor that goes with it (`getfd`).
    pub fd: Option<OwnedFd>,
}

impl QmpCommand {
    /// A command without arguments.
    #[must_use]
    pub fn plain(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }
}

/// How often the stop flag is looked at.
const TICK: Duration = Duration::from_millis(50);

/// A connection in command mode.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    answers: Receiver<Value>,
    next_id: u64,
}

impl Qmp {
    /// Waits for the greeting and enters command mode. `on_event` is called on another thread, and dropped when
    /// no more events come.
    ///
    /// # Errors
    /// [`QmpError`]; a greeting that does not come in time counts as `qmp_capabilities` timed out.
    pub fn connect(
        stream: UnixStream,
        limit: Duration,
        stop: &StopFlag,
        on_event: impl FnMut(QmpEvent) + Send + 'static,
    ) -> Result<Self, QmpError> {
        stream.set_write_timeout(Some(limit))?;
        let (sender, answers) = mpsc::sync_channel(16);
        let reader = stream.try_clone()?;
        std::thread::Builder::new()
            .name("qmp".into())
            .spawn(move || read(reader, &sender, on_event))?;
        let mut qmp = Self {
            stream,
            answers,
            next_id: 0,
        };
        qmp.wait("qmp_capabilities", limit, stop, |answer| {
            answer.get("QMP").is_some()
        })?;
        qmp.execute("qmp_capabilities", limit, stop)?;
        Ok(qmp)
    }

    /// Runs a command without arguments and returns its answer.
    ///
    /// # Errors
    /// [`QmpError`]
    pub fn execute(
        &mut self,
        command: &'static str,
        limit: Duration,
        stop: &StopFlag,
    ) -> Result<Value, QmpError> {
        self.run(QmpCommand::plain(command), limit, stop)
    }

    /// Runs a command and returns its answer. Our copy of the descriptor that goes with it is closed.
    ///
    /// # Errors
    /// [`QmpError`]
    pub fn run(
        &mut self,
        command: QmpCommand,
        limit: Duration,
        stop: &StopFlag,
    ) -> Result<Value, QmpError> {
        let QmpCommand {
            name: command,
            arguments,
            fd,
        } = command;
        self.next_id += 1;
        let id = self.next_id;
        let mut request = json!({"execute": command, "id": id});
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        self.send(format!("{request}\n").as_bytes(), fd)?;
        let mut answer = self.wait(command, limit, stop, |answer| {
            answer.get("id").and_then(Value::as_u64) == Some(id)
        })?;
        if let Some(error) = answer.get("error") {
            return Err(QmpError::Refused {
                command: command.into(),
                reason: error
                    .get("desc")
                    .and_then(Value::as_str)
                    .unwrap_or("no reason given")
                    .into(),
            });
        }
        Ok(answer
            .get_mut("return")
            .map(Value::take)
            .unwrap_or_default())
    }

    /// The descriptor travels with the first byte (unix(7), `SCM_RIGHTS`).
    fn send(&mut self, bytes: &[u8], fd: Option<OwnedFd>) -> io::Result<()> {
        let sent = match fd {
            None => 0,
            Some(fd) => {
                let fds = [fd.as_fd()];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                control.push(SendAncillaryMessage::ScmRights(&fds));
                let slices = [IoSlice::new(bytes)];
                sendmsg(&self.stream, &slices, &mut control, SendFlags::NOSIGNAL)?
            }
        };
        self.stream.write_all(bytes.get(sent..).unwrap_or_default())
    }

    fn wait(
        &self,
        command: &str,
        limit: Duration,
        stop: &StopFlag,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, QmpError> {
        let begin = Instant::now();
        loop {
            let left = limit.saturating_sub(begin.elapsed());
            match self.answers.recv_timeout(left.min(TICK)) {
                Ok(answer) if wanted(&answer) => return Ok(answer),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if stop.is_stopped() => {
                    return Err(QmpError::Stopped {
                        command: command.into(),
                    });
                }
                Err(RecvTimeoutError::Timeout) if begin.elapsed() < limit => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(QmpError::TimedOut {
                        command: command.into(),
                        limit,
                    });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(QmpError::Closed {
                        command: command.into(),
                    });
                }
            }
        }
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        // Ends the reading thread.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn read(stream: UnixStream, answers: &mpsc::SyncSender<Value>, mut on_event: impl FnMut(QmpEvent)) {
    let mut lines = LineReader::new(BufReader::new(stream));
    while let Ok(Some(line)) = lines.next_line() {
        let Ok(Value::Object(mut object)) = serde_json::from_str(&line) else {
            continue;
        };
        if let Some(Value::String(name)) = object.remove("event") {
            let data = match object.remove("data") {
                Some(Value::Object(data)) => data,
                _ => Map::new(),
            };
            on_event(QmpEvent { name, data });
        } else if answers.try_send(Value::Object(object)).is_err() {
            // Nobody asked for that many answers; or nobody is there any more.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;

    const LIMIT: Duration = Duration::from_secs(10);
    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": []}}"#;

    /// Plays QEMU: says the first line, then one line for each one it reads; then closes.
    fn check(script: Vec<String>) -> (Result<Qmp, QmpError>, Receiver<QmpEvent>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            let mut commands = BufReader::new(theirs.try_clone().unwrap()).lines();
            for line in script {
                (&theirs)
                    .write_all(format!("{line}\r\n").as_bytes())
                    .unwrap();
                if commands.next().is_none() {
                    break;
                }
            }
        });
        let qmp = Qmp::connect(ours, LIMIT, &StopFlag::default(), move |event| {
            let _ = sender.send(event);
        });
        (qmp, events)
    }

    fn script(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn a_command_gets_its_own_answer() {
        let (qmp, events) = check(script(&[
            GREETING,
            r#"{"return": {}, "id": 1}"#,
            "{\"event\": \"RESUME\", \"data\": {\"x\": 1}}\n{\"return\": {\"status\": \"running\"}, \"id\": 2}",
        ]));
        let answer = qmp
            .unwrap()
            .execute("query-status", LIMIT, &StopFlag::default())
            .unwrap();
        assert_eq!(answer["status"], "running");
        assert_eq!(events.recv().unwrap().name, "RESUME");
    }

    #[test]
    fn a_descriptor_travels_with_its_command() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_, answers) = mpsc::sync_channel(1);
        let mut qmp = Qmp {
            stream: ours,
            answers,
            next_id: 0,
        };
        let (reader, writer) = io::pipe().unwrap();
        let command = QmpCommand {
            name: "getfd",
            arguments: json!({"fdname": "dump"}),
            fd: Some(writer.into()),
        };
        // Nobody answers; the command is sent all the same.
        let limit = Duration::from_millis(1);
        assert!(qmp.run(command, limit, &StopFlag::default()).is_err());
        let mut line = [0; 200];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &theirs,
            &mut [io::IoSliceMut::new(&mut line)],
            &mut control,
            rustix::net::RecvFlags::empty(),
        )
        .unwrap();
        let sent: Value = serde_json::from_slice(&line[..received.bytes]).unwrap();
        assert_eq!(sent["arguments"]["fdname"], "dump");
        let mut fds = control.drain().flat_map(|message| match message {
            rustix::net::RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let fd = fds.next().unwrap();
        io::PipeWriter::from(fd).write_all(b"x").unwrap();
        // The writer that is left is closed too: the pipe ends.
        assert_eq!(io::read_to_string(reader).unwrap(), "x");
    }

    #[test]
    fn a_refused_command_says_why() {
        let (qmp, _) = check(script(&[
            GREETING,
            r#"{"return": {}, "id": 1}"#,
            r#"{"error": {"class": "GenericError", "desc": "no way"}, "id": 2}"#,
        ]));
        let error = qmp
            .unwrap()
            .execute("quit", LIMIT, &StopFlag::default())
            .unwrap_err();
        assert_eq!(error.to_string(), "QMP: quit was refused: no way");
    }

    #[test]
    fn a_socket_that_closes_is_no_hang() {
        let (qmp, _) = check(vec![]);
        assert!(matches!(qmp, Err(QmpError::Closed { .. })));
    }

    #[test]
    fn silence_is_a_time_out() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let limit = Duration::from_millis(1);
        let error = Qmp::connect(ours, limit, &StopFlag::default(), |_| {}).unwrap_err();
        assert!(matches!(error, QmpError::TimedOut { .. }), "{error}");
    }

    #[test]
    fn who_waits_for_the_greeting_can_be_stopped() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let stop = StopFlag::default();
        stop.stop();
        let error = Qmp::connect(ours, LIMIT, &stop, |_| {}).unwrap_err();
        assert!(matches!(error, QmpError::Stopped { .. }), "{error}");
    }

    #[test]
    fn the_end_of_the_socket_drops_the_one_who_listens() {
        let (qmp, events) = check(script(&[GREETING, r#"{"return": {}, "id": 1}"#]));
        drop(qmp.unwrap());
        assert_eq!(events.recv(), Err(mpsc::RecvError));
    }

    #[test]
    fn rubbish_is_skipped() {
        let (qmp, _) = check(vec![
            format!("]][[\n[1]\n{}\n{GREETING}", "x".repeat(1 << 20)),
            r#"{"return": {}, "id": 1}"#.into(),
        ]);
        assert!(qmp.is_ok());
    }
}
