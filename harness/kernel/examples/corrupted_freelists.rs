//! Prints what is wrong with the freelists of a dump: `cargo run --example corrupted_freelists VMCORE`.
use recrash_kernel::{Kernel, slub};
use recrash_vmcore::Vmcore;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: corrupted_freelists VMCORE")?;
    let dump = Vmcore::open(Path::new(&path))?;
    let info = dump.vmcoreinfo().ok_or("no VMCOREINFO")?;
    let kernel = Kernel::open(&dump, info, dump.prstatus())?;
    let check = slub::check(&kernel)?;
    for finding in &check.findings {
        println!(
            "{} ({}): {}",
            finding.cache.name, finding.holder, finding.what
        );
    }
    println!(
        "{} caches, {} slabs, {} free objects",
        check.caches, check.slabs, check.free_objects
    );
    check
        .missing
        .iter()
        .for_each(|missing| println!("not looked at: {missing}"));
    Ok(())
}
