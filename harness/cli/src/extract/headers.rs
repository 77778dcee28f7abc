//! What a dump's headers and notes say when no kernel can be found in it: release, format, registers of the CPUs.
//! Every other fact is absent, with the one reason.
use recrash_signature::model::{Context, Corruption, Fact, Fault, Frames, Signature, Slab, Source};
use recrash_vmcore::Vmcore;

use super::Analysis;
use crate::report::{CrashReport, Fact as Said, Register};

/// The partial analysis of a dump in which no kernel was found, and why it was not.
pub(super) fn analysis(dump: &Vmcore, why: &str) -> Analysis {
    let mut missing = dump.warnings().to_vec();
    missing.push(why.to_owned());
    Analysis {
        signature: signature(dump, why),
        report: CrashReport {
            context: context(dump),
            registers: registers(dump),
            missing,
            ..CrashReport::default()
        },
    }
}

fn release(dump: &Vmcore) -> Option<String> {
    let stated = dump.vmcoreinfo().and_then(|info| info.osrelease());
    stated
        .map(str::to_owned)
        .or_else(|| dump.utsname().map(|uts| uts.release.clone()))
}

fn context(dump: &Vmcore) -> Vec<Said> {
    let info = dump.vmcoreinfo();
    let build_id = info.and_then(|info| info.build_id());
    let mut said = vec![Said::new("format", dump.format().to_string())];
    said.extend(release(dump).map(|release| Said::new("kernel", release)));
    said.extend(build_id.map(|id| Said::new("build id", id)));
    said
}

/// Of every CPU that has a note; without symbols, no value means anything.
fn registers(dump: &Vmcore) -> Vec<Register> {
    let notes = dump.prstatus().iter().enumerate();
    notes
        .flat_map(|(note, status)| {
            let named = status.regs.named().into_iter();
            named.map(move |(name, value)| Register {
                name: name.to_owned(),
                value,
                meaning: match name {
                    "rip" => format!("of the CPU of note {note}, process {}", status.pid),
                    _ => String::new(),
                },
            })
        })
        .collect()
}

fn signature(dump: &Vmcore, why: &str) -> Signature {
    fn no<T>(why: &str) -> Fact<T> {
        Fact::absent(why)
    }
    let kaslr = dump.vmcoreinfo().and_then(|info| info.kernel_offset());
    Signature::new(
        Fault {
            vector: no(why),
            trap: no(why),
            class: no(why),
            function: no(why),
            offset: no(why),
            instruction: no(why),
            base_register: no(why),
            base_role: no(why),
            index_role: no(why),
            hardware_vector: no(why),
            report: no(why),
        },
        Frames {
            chain: no(why),
            syscall: no(why),
        },
        Slab {
            cache: no(why),
            object_size: no(why),
            freelist_offset: no(why),
            hardened: no(why),
        },
        Corruption {
            site: no(why),
            bytes: no(why),
            observed: no(why),
            decoded: no(why),
            confidence: no(why),
            proof: no(why),
        },
        Context {
            accelerator: no(why),
            comm: no(why),
            cpu: no(why),
            gfp_flags: no(why),
            init_on_alloc: no(why),
            kaslr: Fact::from_option(kaslr.map(|offset| offset != 0), Source::Vmcore, why),
            la57: no(why),
            release: Fact::from_option(release(dump), Source::Vmcore, why),
            request: no(why),
            requested_size: no(why),
        },
    )
}
