//! Serves a device on a unix socket, one connection at a time, in a thread of its own. The only part with I/O;
//! what is said is [`super::session`]'s.
use super::device::Device;
use super::event::DeviceEvent;
use super::session::{DeviceState, Session};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A device that QEMU can connect to until this is dropped; dropping unplugs it and joins the thread.
#[derive(Debug)]
pub struct DeviceServer {
    /// Closing it wakes the thread and tells it to end.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    /// The connection's state; `None` while something is on its way.
    state: Arc<Mutex<Option<DeviceState>>>,
}

impl DeviceServer {
    /// Serves `device` on `listener`; `sink` gets every event as it happens, in the thread. A new connection is a new
    /// session, so the guest enumerates again.
    ///
    /// # Errors
    /// No socket pair or no thread was to be had.
    pub fn start(
        device: Device,
        listener: UnixListener,
        sink: impl Fn(DeviceEvent) + Send + 'static,
    ) -> io::Result<Self> {
        Self::resume(device, None, listener, sink)
    }

    /// The same for a guest that was restored from a snapshot: the first connection goes on from this state.
    ///
    /// # Errors
    /// As [`DeviceServer::start`].
    pub fn resume(
        device: Device,
        from: Option<DeviceState>,
        listener: UnixListener,
        sink: impl Fn(DeviceEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        listener.set_nonblocking(true)?;
        let state = Arc::new(Mutex::new(None));
        let worker = Worker {
            device: Arc::new(device),
            stopped,
            sink,
            state: Arc::clone(&state),
        };
        let thread = std::thread::Builder::new()
            .name("usb-device".into())
            .spawn(move || worker.accept(&listener, from))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            state,
        })
    }

    /// Tells what a guest that is saved can go on with, also after the connection has ended.
    #[must_use]
    pub fn state(&self) -> StateHandle {
        StateHandle(Arc::clone(&self.state))
    }
}

/// See [`DeviceServer::state`].
#[derive(Debug, Clone)]
pub struct StateHandle(Arc<Mutex<Option<DeviceState>>>);

impl StateHandle {
    /// The state; `None` where a transfer is on its way, or was when the connection ended.
    #[must_use]
    pub fn get(&self) -> Option<DeviceState> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for DeviceServer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic in the sink was printed when it happened.
            let _ = thread.join();
        }
    }
}

struct Worker<S> {
    device: Arc<Device>,
    stopped: UnixStream,
    sink: S,
    state: Arc<Mutex<Option<DeviceState>>>,
}

/// What a wait ended with.
enum Woken {
    Stop,
    Ready,
}

impl<S: Fn(DeviceEvent)> Worker<S> {
    fn accept(&self, listener: &UnixListener, mut from: Option<DeviceState>) {
        loop {
            let on = PollFd::new(listener, PollFlags::IN);
            match self.wait(on, None) {
                Ok(Woken::Ready) => {}
                Ok(Woken::Stop) | Err(_) => return,
            }
            if let Ok((stream, _)) = listener.accept() {
                let device = Arc::clone(&self.device);
                let mut session = match from.take() {
                    Some(state) => Session::resume(device, &state),
                    None => Session::new(device),
                };
                let why = match self.serve(&mut session, &stream) {
                    Ok(why) => why,
                    Err(error) => error.to_string(),
                };
                self.report(&mut session);
                self.tell(DeviceEvent::Disconnected { why });
            }
        }
    }

    /// Runs one connection to its end; returns why it ended.
    fn serve(&self, session: &mut Session, stream: &UnixStream) -> io::Result<String> {
        stream.set_nonblocking(true)?;
        let start = Instant::now();
        let mut unsent: Vec<u8> = Vec::new();
        let mut piece = [0; 4096];
        loop {
            session.on_time(start.elapsed());
            unsent.extend(session.take_output());
            send(stream, &mut unsent)?;
            self.report(session);
            self.keep(session.state().filter(|_| unsent.is_empty()));
            if let (Some(why), true) = (session.over(), unsent.is_empty()) {
                return Ok(why.into());
            }
            // Nothing is read before all is sent: who does not read is not served.
            let on = if unsent.is_empty() {
                PollFlags::IN
            } else {
                PollFlags::OUT
            };
            let left = session
                .next_deadline()
                .map(|due| due.saturating_sub(start.elapsed()));
            if let Woken::Stop = self.wait(PollFd::new(stream, on), left)? {
                session.unplug();
                unsent.extend(session.take_output());
                send(stream, &mut unsent)?;
                return Ok("stopped".into());
            }
            if unsent.is_empty() {
                match (&*stream).read(&mut piece) {
                    Ok(0) => return Ok("QEMU closed the connection".into()),
                    Ok(n) => {
                        session.on_bytes(start.elapsed(), piece.get(..n).unwrap_or_default());
                    }
                    Err(error) if retry(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Waits for the descriptor, the end of the server, or the time.
    fn wait(&self, on: PollFd<'_>, time: Option<Duration>) -> io::Result<Woken> {
        let time = time.and_then(|time| time.try_into().ok());
        let mut both = [on, PollFd::new(&self.stopped, PollFlags::IN)];
        match poll(&mut both, time.as_ref()) {
            Ok(_) if !both[1].revents().is_empty() => Ok(Woken::Stop),
            Ok(_) | Err(Errno::INTR) => Ok(Woken::Ready),
            Err(errno) => Err(errno.into()),
        }
    }

    fn keep(&self, state: Option<DeviceState>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn report(&self, session: &mut Session) {
        for event in session.take_events() {
            self.tell(event);
        }
    }

    fn tell(&self, event: DeviceEvent) {
        (self.sink)(event);
    }
}

/// Sends what the socket takes.
fn send(mut stream: &UnixStream, unsent: &mut Vec<u8>) -> io::Result<()> {
    while !unsent.is_empty() {
        match stream.write(unsent) {
            Ok(n) => {
                unsent.drain(..n);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn retry(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usbredir::codec::{Codec, Found};
    use crate::usbredir::packet::{Body, Caps, Packet};

    /// Connects as QEMU does and reads up to device_connect.
    fn check(socket: &std::path::Path) -> UnixStream {
        let mut stream = UnixStream::connect(socket).unwrap();
        let mut codec = Codec::new(Caps::OURS);
        let mut hello = Vec::new();
        codec.encode(&Packet::hello("guest", Caps::OURS), &mut hello);
        stream.write_all(&hello).unwrap();
        let mut piece = [0; 100];
        loop {
            while let Some(Found::Packet(packet)) = codec.take().unwrap() {
                if let Body::DeviceConnect { vendor, .. } = packet.body {
                    assert_eq!(vendor, 0x1209);
                    return stream;
                }
            }
            let n = stream.read(&mut piece).unwrap();
            assert_ne!(n, 0, "closed before device_connect");
            codec.feed(&piece[..n]);
        }
    }

    #[test]
    fn a_second_connection_is_a_new_session_and_a_drop_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("usb.sock");
        let device = "summary = 't'\nvendor = 0x1209\nproduct = 1\n[[interface]]\nclass = 255\n";
        let (events, seen) = std::sync::mpsc::channel();
        let server = DeviceServer::start(
            toml::from_str(device).unwrap(),
            UnixListener::bind(&socket).unwrap(),
            move |event| drop(events.send(event)),
        )
        .unwrap();
        drop(check(&socket));
        let mut open = check(&socket);
        drop(server);
        // The guest is told, then the connection closes.
        let mut rest = Vec::new();
        open.read_to_end(&mut rest).unwrap();
        assert_eq!(rest[..4], [2, 0, 0, 0]);
        let ends: Vec<_> = seen
            .iter()
            .filter_map(|event| match event {
                DeviceEvent::Disconnected { why } => Some(why),
                _ => None,
            })
            .collect();
        assert_eq!(ends, ["QEMU closed the connection", "stopped"]);
    }
}
