//! LZO1X decompression into a buffer of known size: for pages of a dump and for kernel images.
//!
//! Written for untrusted input, from the description of the stream in the kernel
//! (Documentation/staging/lzo.rst): every read and copy is checked. Only version 0 streams,
//! without run-length extensions, which is what makedumpfile, QEMU and lzop write.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

/// The stream is not LZO1X, or does not fit the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// Distance above which a match of the longest kind begins.
const FAR: usize = 16384;

/// Decompresses all of `input`; returns how many bytes of `output` it filled.
///
/// # Errors
/// [`Invalid`] where the stream is not LZO1X, needs more room, or does not end with the input.
pub fn decompress(input: &[u8], output: &mut [u8]) -> Result<usize, Invalid> {
    let mut stream = Stream {
        input,
        output,
        done: 0,
    };
    // Number of literals that the last instruction carried: 0 to 3, or 4 for "four or more".
    let mut state = 0;
    if let first @ 18.. = stream.peek()? {
        stream.byte()?;
        stream.literals(usize::from(first) - 17)?;
        state = (usize::from(first) - 17).min(4);
    }
    loop {
        let op = usize::from(stream.byte()?);
        let (length, distance, next) = match op {
            0..=15 if state == 0 => {
                let length = 3 + stream.length(op, 15)?;
                stream.literals(length)?;
                state = 4;
                continue;
            }
            0..=15 if state == 4 => {
                let high = usize::from(stream.byte()?);
                (3, (high << 2) + (op >> 2) + 2049, op & 3)
            }
            0..=15 => {
                let high = usize::from(stream.byte()?);
                (2, (high << 2) + (op >> 2) + 1, op & 3)
            }
            16..=31 => {
                let length = 2 + stream.length(op & 7, 7)?;
                let low = stream.word()?;
                let distance = FAR + ((op & 8) << 11) + (low >> 2);
                if distance == FAR {
                    return stream.finish(length);
                }
                (length, distance, low & 3)
            }
            32..=63 => {
                let length = 2 + stream.length(op & 31, 31)?;
                let low = stream.word()?;
                (length, (low >> 2) + 1, low & 3)
            }
            64..=127 => {
                let high = usize::from(stream.byte()?);
                (3 + (op >> 5 & 1), (high << 3) + (op >> 2 & 7) + 1, op & 3)
            }
            _ => {
                let high = usize::from(stream.byte()?);
                (5 + (op >> 5 & 3), (high << 3) + (op >> 2 & 7) + 1, op & 3)
            }
        };
        stream.copy(distance, length)?;
        stream.literals(next)?;
        state = next;
    }
}

struct Stream<'a> {
    input: &'a [u8],
    output: &'a mut [u8],
    done: usize,
}

impl Stream<'_> {
    fn peek(&self) -> Result<u8, Invalid> {
        self.input.first().copied().ok_or(Invalid)
    }

    fn byte(&mut self) -> Result<u8, Invalid> {
        let (&first, rest) = self.input.split_first().ok_or(Invalid)?;
        self.input = rest;
        Ok(first)
    }

    fn word(&mut self) -> Result<usize, Invalid> {
        Ok(usize::from(self.byte()?) | usize::from(self.byte()?) << 8)
    }

    /// A length field: 0 means that it goes on, by 255 for each zero byte.
    fn length(&mut self, field: usize, mask: usize) -> Result<usize, Invalid> {
        if field != 0 {
            return Ok(field);
        }
        let mut length = mask;
        loop {
            match self.byte()? {
                0 => length += 255,
                last => return Ok(length + usize::from(last)),
            }
        }
    }

    fn literals(&mut self, count: usize) -> Result<(), Invalid> {
        let (now, rest) = self.input.split_at_checked(count).ok_or(Invalid)?;
        let end = self.done.checked_add(count).ok_or(Invalid)?;
        self.output
            .get_mut(self.done..end)
            .ok_or(Invalid)?
            .copy_from_slice(now);
        self.input = rest;
        self.done = end;
        Ok(())
    }

    /// Repeats `length` bytes from `distance` back; they may overlap what is being written.
    fn copy(&mut self, distance: usize, length: usize) -> Result<(), Invalid> {
        let from = self.done.checked_sub(distance).ok_or(Invalid)?;
        let end = self.done.checked_add(length).ok_or(Invalid)?;
        let window = self.output.get_mut(from..end).ok_or(Invalid)?;
        if distance >= length {
            window.copy_within(..length, distance);
        } else {
            // The last `distance` bytes over and over.
            let mut have = distance;
            while have < window.len() {
                let step = have.min(window.len() - have);
                window.copy_within(..step, have);
                have += step;
            }
        }
        self.done = end;
        Ok(())
    }

    fn finish(&self, length: usize) -> Result<usize, Invalid> {
        if length == 3 && self.input.is_empty() {
            Ok(self.done)
        } else {
            Err(Invalid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(data: &[u8]) {
        let packed = lzokay_native::compress(data).unwrap();
        let mut out = vec![0; data.len()];
        assert_eq!(decompress(&packed, &mut out), Ok(data.len()));
        assert_eq!(out, data);
        if !data.is_empty() {
            let mut short = vec![0; data.len() - 1];
            assert_eq!(decompress(&packed, &mut short), Err(Invalid));
        }
        assert_eq!(
            decompress(&packed[..packed.len() - 1], &mut out),
            Err(Invalid)
        );
    }

    #[test]
    fn runs_of_one_byte_come_back() {
        check(&[0; 4096]);
        check(&[7; 3]);
    }

    #[test]
    fn far_matches_come_back() {
        let mut data: Vec<u8> = (0..60_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        data.extend_from_within(..3000);
        data.extend_from_within(30_000..33_000);
        check(&data);
    }

    proptest! {
        #[test]
        fn whatever_was_compressed_comes_back(
            words in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..20),
            order in prop::collection::vec(any::<prop::sample::Index>(), 1..300),
        ) {
            let data: Vec<u8> = order.iter().flat_map(|i| i.get(&words).clone()).collect();
            check(&data);
        }

        #[test]
        fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decompress(&data, &mut [0; 4096]);
        }
    }
}
