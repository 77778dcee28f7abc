//! Says what a dump is and which memory it has: `cargo run --example describe -- VMCORE...`
//! (several files are those of a split dump).

use std::path::PathBuf;

use recrash_vmcore::{AddressSpace, PhysAddr, PhysMem, VirtAddr, Vmcore};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let vmcore = Vmcore::open_set(&paths)?;
    println!("{}", vmcore.format());
    for warning in vmcore.warnings() {
        println!("warning: {warning}");
    }
    let mut at = PhysAddr(0);
    let mut bytes = 0;
    while let Some(stretch) = vmcore.next_present(at) {
        bytes += stretch.end - stretch.start;
        at = PhysAddr(stretch.end);
    }
    println!("{} MiB of memory", bytes >> 20);
    for (number, cpu) in vmcore.cpu_states().iter().enumerate() {
        println!(
            "CPU {number}: rip {:#x}, CR3 {:#x}",
            cpu.rip,
            cpu.page_table()
        );
    }
    let info = vmcore.vmcoreinfo().ok_or("no VMCOREINFO")?;
    println!("kernel {}", info.osrelease().unwrap_or("of no name"));
    let space = AddressSpace::kernel(&vmcore, info)?;
    let text = info.symbol("_stext").ok_or("no SYMBOL(_stext)")?;
    println!("_stext is at {}", space.translate(VirtAddr(text))?);
    Ok(())
}
