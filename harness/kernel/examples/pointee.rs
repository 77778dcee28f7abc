//! What values mean in a dump: `pointee VMCORE VALUE…` (hexadecimal), one line each.
use recrash_kernel::Kernel;
use recrash_kernel::pointee::Landmarks;
use recrash_vmcore::Vmcore;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("which vmcore?")?;
    let dump = Vmcore::open(Path::new(&file))?;
    let info = dump.vmcoreinfo().ok_or("no VMCOREINFO")?;
    let kernel = Kernel::open(&dump, info, dump.prstatus())?;
    let landmarks = Landmarks::of(&kernel);
    for text in arguments {
        let value = u64::from_str_radix(text.trim_start_matches("0x"), 16)?;
        println!("{value:016x} {}", landmarks.describe(value));
    }
    Ok(())
}
