//! Standard input with a bound: a message is a line, and no line may fill the memory. Knows no protocol.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// Longest line, in bytes: far more than any call's arguments.
pub(super) const MAX_LINE: usize = 16 << 20;

/// Reads on until a line is too long.
pub(super) struct Bounded<R> {
    inner: R,
    /// Bytes since the last end of a line.
    length: usize,
    too_long: Arc<AtomicBool>,
}

impl<R> Bounded<R> {
    /// The same bytes; and what becomes true when it ends because of a line.
    pub(super) fn new(inner: R) -> (Self, Arc<AtomicBool>) {
        let too_long = Arc::new(AtomicBool::new(false));
        let bounded = Self {
            inner,
            length: 0,
            too_long: Arc::clone(&too_long),
        };
        (bounded, too_long)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, into))?;
        let new = into.filled().get(before..).unwrap_or_default();
        self.length = match new.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => new.len().saturating_sub(end + 1),
            None => self.length.saturating_add(new.len()),
        };
        if self.length > MAX_LINE {
            self.too_long.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}
