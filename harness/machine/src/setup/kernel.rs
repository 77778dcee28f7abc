//! The unpacked kernel packages: makes the headers usable where they lie, and the image bootable by PVH.
use super::{SetupError, decompress};
use std::path::Path;

/// An uncompressed stock kernel has 60 MB, one with debug symbols some 700 MB.
const VMLINUX_LIMIT: u64 = 1 << 30;

/// Makes the header trees below `root`/usr/src usable from where they are.
///
/// Debian's `linux-headers-<release>/Makefile` has one line, `include /usr/src/linux-headers-<...>-common/Makefile`
/// (6.1.192-2; all since 2.6.x). Unpacked elsewhere it would use the host's headers, or none. The path is made
/// relative to that Makefile, so that the cache can move. Links were made relative when they were unpacked.
///
/// # Errors
/// [`SetupError::Io`].
pub fn localise_headers(root: &Path) -> Result<(), SetupError> {
    let src = root.join("usr/src");
    for entry in std::fs::read_dir(&src).map_err(SetupError::io("reading", &src))? {
        let makefile = entry
            .map_err(SetupError::io("reading", &src))?
            .path()
            .join("Makefile");
        if !makefile.is_file() {
            continue;
        }
        let text =
            std::fs::read_to_string(&makefile).map_err(SetupError::io("reading", &makefile))?;
        let local = localise(&text);
        if local != text {
            std::fs::write(&makefile, local).map_err(SetupError::io("writing", &makefile))?;
        }
    }
    Ok(())
}

fn localise(makefile: &str) -> String {
    let here = "include $(dir $(realpath $(lastword $(MAKEFILE_LIST))))../";
    let lines =
        makefile
            .split_inclusive('\n')
            .map(|line| match line.strip_prefix("include /usr/src/") {
                Some(rest) => format!("{here}{rest}"),
                None => line.to_owned(),
            });
    lines.collect()
}

/// The ELF kernel inside of a bzImage (Linux, Documentation/arch/x86/boot.rst: `payload_offset` and
/// `payload_length`, protocol 2.08 and later).
///
/// # Errors
/// What about the image was not as expected.
pub fn vmlinux_of(bzimage: &[u8]) -> Result<Vec<u8>, String> {
    let byte = |at: usize| {
        bzimage
            .get(at)
            .copied()
            .ok_or("the setup header is cut short")
    };
    let word = |at: usize| {
        let bytes = bzimage
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(u32::from_le_bytes)
            .ok_or("the setup header is cut short")
    };
    if bzimage.get(0x202..0x206) != Some(b"HdrS") {
        return Err("no setup header (HdrS at 0x202)".into());
    }
    if (byte(0x207)?, byte(0x206)?) < (2, 8) {
        return Err(format!(
            "boot protocol {}.{:02}, expected 2.08",
            byte(0x207)?,
            byte(0x206)?
        ));
    }
    // 0 stands for 4, for old kernels' sake.
    let setup_sectors = match byte(0x1f1)? {
        0 => 4,
        count => usize::from(count),
    };
    let start = (setup_sectors + 1) * 512 + word(0x248)? as usize;
    let payload = bzimage
        .get(start..)
        .and_then(|rest| rest.get(..word(0x24c).ok()? as usize));
    let payload =
        payload.ok_or_else(|| format!("the payload at {start:#x} lies outside of the image"))?;
    let kernel =
        decompress::all(payload, VMLINUX_LIMIT).map_err(|error| format!("the payload: {error}"))?;
    if !kernel.starts_with(b"\x7fELF") {
        return Err("the payload is no ELF file that xz, zstd or gzip has packed".into());
    }
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_the_line_that_points_out_of_the_tree_changes() {
        assert_eq!(
            localise(
                "# x\ninclude /usr/src/linux-headers-6.1.0-56-common/Makefile\ninclude scripts/x\n"
            ),
            "# x\ninclude $(dir $(realpath $(lastword $(MAKEFILE_LIST))))../linux-headers-6.1.0-56-common/Makefile\n\
             include scripts/x\n"
        );
    }

    fn bzimage(kernel: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(kernel).unwrap();
        let packed = packed.finish().unwrap();
        let mut out = vec![0; 1024];
        out[0x1f1] = 1;
        out[0x202..0x206].copy_from_slice(b"HdrS");
        out[0x206..0x208].copy_from_slice(&[15, 2]);
        out[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        out[0x24c..0x250].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        out.extend([0; 16]);
        out.extend(packed);
        out
    }

    #[test]
    fn the_kernel_is_found_in_its_image() {
        assert_eq!(
            vmlinux_of(&bzimage(b"\x7fELF kernel")).unwrap(),
            b"\x7fELF kernel"
        );
    }

    #[test]
    fn what_is_no_bzimage_says_why() {
        assert!(vmlinux_of(b"MZ").unwrap_err().contains("HdrS"));
        assert!(
            vmlinux_of(&bzimage(b"text"))
                .unwrap_err()
                .contains("no ELF")
        );
        let whole = bzimage(b"\x7fELF kernel");
        assert!(
            vmlinux_of(&whole[..whole.len() - 1])
                .unwrap_err()
                .contains("outside of the image")
        );
    }

    proptest::proptest! {
        #[test]
        fn no_image_panics(at in 0..1100_usize, value: u8) {
            let mut bytes = bzimage(b"\x7fELF kernel");
            let length = bytes.len();
            bytes[at % length] = value;
            let _ = vmlinux_of(&bytes);
        }
    }
}
