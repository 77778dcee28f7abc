//! Cuts a stream of untrusted bytes into lines of bounded length. Interprets none.
use std::io::{self, BufRead};

/// Longest line that is kept, in bytes; what lies beyond is dropped up to the line's end.
pub const MAX_LINE: usize = 64 * 1024;

/// Collects bytes and hands out whole lines, without their end and with invalid UTF-8 replaced.
#[derive(Debug, Default)]
pub struct LineSplitter {
    line: Vec<u8>,
}

impl LineSplitter {
    /// Takes bytes and calls `each` for every line that they end.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(String)) {
        let mut pieces = bytes.split(|&byte| byte == b'\n');
        let mut piece = pieces.next();
        while let Some(part) = piece {
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line
                .extend_from_slice(part.get(..room).unwrap_or(part));
            piece = pieces.next();
            if piece.is_some() {
                each(self.take());
            }
        }
    }

    /// What is left at the end of the stream, if anything.
    pub fn finish(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.line);
        let line = text.trim_end_matches('\r').to_owned();
        self.line.clear();
        line
    }
}

/// Reads lines of bounded length.
#[derive(Debug)]
pub struct LineReader<R> {
    reader: R,
    splitter: LineSplitter,
    ready: std::collections::VecDeque<String>,
}

impl<R: BufRead> LineReader<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            splitter: LineSplitter::default(),
            ready: std::collections::VecDeque::new(),
        }
    }

    /// The next line, or `None` at the end.
    ///
    /// # Errors
    /// The reader's.
    pub fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                return Ok(self.splitter.finish());
            }
            let length = bytes.len();
            self.splitter.push(bytes, |line| self.ready.push_back(line));
            self.reader.consume(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(chunks: &[&[u8]], expected: &[&str]) {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, |line| lines.push(line));
        }
        lines.extend(splitter.finish());
        assert_eq!(lines, expected);
    }

    #[test]
    fn lines_may_be_cut_anywhere() {
        check(&[b"ab", b"c\r", b"\nd\n\ne"], &["abc", "d", "", "e"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        check(&[b"a\xff\n"], &["a\u{fffd}"]);
    }

    #[test]
    fn an_endless_line_is_cut_and_the_next_one_is_whole() {
        let long = vec![b'x'; MAX_LINE];
        check(
            &[&long, &long, b"\nnext\n"],
            &[&"x".repeat(MAX_LINE), "next"],
        );
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_lines(bytes: Vec<u8>, cut: usize) {
            let cut = cut % (bytes.len() + 1);
            let mut whole = Vec::new();
            let mut splitter = LineSplitter::default();
            splitter.push(&bytes, |line| whole.push(line));
            let mut parts = Vec::new();
            let mut other = LineSplitter::default();
            other.push(&bytes[..cut], |line| parts.push(line));
            other.push(&bytes[cut..], |line| parts.push(line));
            prop_assert_eq!(whole, parts);
            prop_assert_eq!(splitter.finish(), other.finish());
        }
    }
}
