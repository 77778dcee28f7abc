//! The facts of a signature, each from the part of the crash that knows it.
use super::corruption;
use super::log::{self, Told};
use recrash_kernel::corruption::OperandParts;
use recrash_kernel::crash::Calm;
use recrash_kernel::instruction::{Faulting, MemoryOperand};
use recrash_kernel::open::{SymbolSource, TypeSource};
use recrash_kernel::unwind::{Backtrace, End};
use recrash_kernel::{Crash, Kernel, Missing, slice, slub};
use recrash_signature::model::{
    Context, Fact, Fault, FaultClass, Frame, Frames, Role, Signature, Slab, Source,
};
use recrash_signature::{normalise, title};
use recrash_vmcore::{PagingLevels, ReadError};

const MEMORY: Source = Source::Vmcore;
/// Why nothing is said of a cache's freelist where a field of one of its objects was hit.
const IN_USE: &str =
    "the object was in use: where a free one's pointer lies, and how it is stored, did not matter";
/// The first page, where a NULL pointer plus a field's offset lies.
const NULL_PAGE: u64 = 4096;

pub(super) fn signature(
    kernel: &Kernel<'_>,
    crash: &Crash,
    accelerator: Option<&str>,
) -> Signature {
    let told = log::told(kernel, crash);
    let mut signature = Signature::new(
        fault(kernel, crash, &told),
        frames(crash, symbols_source(kernel)),
        slab(kernel, crash),
        corruption::signature(crash, types_source(kernel)),
        context(kernel, crash, accelerator),
    );
    // The facts are those of an exception; a panic without one has its message only, where the log's report is missing.
    if let (Some(Calm::Panicked), Ok(Some(message)), None) =
        (crash.calm, &crash.panic, told.title.value())
    {
        signature.title = title::panic_title(message);
    }
    signature.with_alternatives(told.alternatives)
}

/// Where facts were read from that took types to read.
fn types_source(kernel: &Kernel<'_>) -> Source {
    match kernel.type_source() {
        None | Some(TypeSource::Btf | TypeSource::ImageBtf) => Source::VmcoreBtf,
        Some(TypeSource::Dwarf) => Source::VmcoreDwarf,
        Some(TypeSource::LayoutTable) => Source::VmcoreLayout,
    }
}

/// Where facts were read from that took symbols to read.
fn symbols_source(kernel: &Kernel<'_>) -> Source {
    match kernel.symbol_source() {
        SymbolSource::NamedKallsyms | SymbolSource::FoundKallsyms => Source::VmcoreKallsyms,
        SymbolSource::ImageSymbols | SymbolSource::ImageKallsyms => Source::VmcoreImage,
        SymbolSource::SystemMap => Source::VmcoreSystemMap,
    }
}

fn absent<T>(missing: &Missing) -> Fact<T> {
    Fact::absent(missing.to_string())
}

/// `Ok` as known, `Err` as absent.
fn fact<T, U>(from: Result<&T, &Missing>, source: Source, value: impl FnOnce(&T) -> U) -> Fact<U> {
    match from {
        Ok(from) => Fact::known(value(from), source),
        Err(missing) => absent(missing),
    }
}

fn fault(kernel: &Kernel<'_>, crash: &Crash, told: &Told) -> Fault {
    let (symbols, types) = (symbols_source(kernel), types_source(kernel));
    let faulting = crash.faulting.as_ref();
    let operand = faulting.ok().and_then(|faulting| faulting.operand.as_ref());
    let no_operand = || match faulting {
        Ok(faulting) => format!("`{}` uses no memory operand", faulting.text),
        Err(missing) => missing.to_string(),
    };
    let trap = crash
        .exception
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|exception| {
            exception.trap.ok_or_else(|| {
                Missing::Implausible(
                    "the return address below the saved registers is not of exception entry code"
                        .into(),
                )
            })
        });
    let place = crash
        .exception
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|exception| {
            let at = recrash_vmcore::VirtAddr(exception.regs.rip());
            kernel
                .place(at)
                .ok_or_else(|| Missing::Implausible(format!("{at} lies in no known function")))
        });
    Fault {
        vector: fact(trap.as_ref(), symbols, |trap| trap.vector),
        trap: fact(trap.as_ref(), symbols, |trap| trap.mnemonic.to_string()),
        class: class(kernel, crash, told.class),
        function: fact(place.as_ref(), symbols, |place| {
            normalise::function(&place.symbol).to_string()
        }),
        offset: fact(place.as_ref(), symbols, |place| {
            u32::try_from(place.offset).unwrap_or(u32::MAX)
        }),
        instruction: fact(faulting, MEMORY, by_place),
        base_register: Fact::from_option(
            operand.and_then(|o| o.base.clone()),
            MEMORY,
            no_operand(),
        ),
        base_role: Fact::from_option(operand.map(|o| base_role(o, crash)), types, no_operand()),
        index_role: Fact::from_option(operand.map(|o| index_role(o, crash)), types, no_operand()),
        hardware_vector: Fact::from_option(
            faulting.ok().and_then(|faulting| faulting.expected.vector),
            Source::Derived,
            match faulting {
                Ok(faulting) => faulting.expected.why.clone(),
                Err(missing) => missing.to_string(),
            },
        ),
        report: told.title.clone(),
    }
}

/// Non-canonical, null or unmapped by the address; the rest by the vector.
fn class(kernel: &Kernel<'_>, crash: &Crash, told: Option<FaultClass>) -> Fact<FaultClass> {
    let trap = crash
        .exception
        .as_ref()
        .ok()
        .and_then(|exception| exception.trap);
    let by_vector = match trap.map(|trap| trap.vector) {
        Some(0) => Some(FaultClass::Divide),
        Some(6) => Some(FaultClass::Bug),
        Some(8 | 18) => Some(FaultClass::Other),
        _ => None,
    };
    // A warning is an invalid opcode too, and a stall or a sanitizer's panic is no exception at all.
    let by_log = match by_vector {
        None if crash.exception.is_err() => told,
        Some(FaultClass::Bug) => told.filter(|class| *class == FaultClass::Warning),
        _ => None,
    };
    if let Some(class) = by_log {
        return Fact::known(class, MEMORY);
    }
    if let Some(class) = by_vector {
        return Fact::known(class, symbols_source(kernel));
    }
    // Where the CPU was to fetch from there was no code; running into data that is mapped looks the same.
    if crash.jump.is_some() {
        return Fact::known(FaultClass::BadJump, MEMORY);
    }
    let faulting = match &crash.faulting {
        Ok(faulting) => faulting,
        Err(missing) => return absent(missing),
    };
    if faulting.branches_wild() {
        return Fact::known(FaultClass::BadJump, MEMORY);
    }
    let operand = faulting.operand.as_ref();
    let Some(operand) = operand else {
        return Fact::absent(
            "neither the vector nor a memory operand says what kind of fault it was",
        );
    };
    if !operand.canonical {
        return Fact::known(FaultClass::NonCanonical, MEMORY);
    }
    if operand.address().0 < NULL_PAGE {
        return Fact::known(FaultClass::Null, MEMORY);
    }
    // Whether a page was mapped only the page tables know: the dump leaves mapped pages out too.
    match kernel.memory().translate(operand.address()) {
        Ok(_) => Fact::known(FaultClass::Protection, MEMORY),
        Err(ReadError::NotPresent { .. }) => Fact::known(FaultClass::Unmapped, MEMORY),
        Err(error) => Fact::absent(format!("whether the address was mapped: {error}")),
    }
}

/// The instruction with its address registers by place: `mov rbx, [base+index]`.
fn by_place(faulting: &Faulting) -> String {
    let Some(operand) = &faulting.operand else {
        return faulting.text.clone();
    };
    let Some((before, rest)) = faulting.text.split_once('[') else {
        return faulting.text.clone();
    };
    let Some((_, after)) = rest.split_once(']') else {
        return faulting.text.clone();
    };
    let mut inside = String::new();
    if operand.base.is_some() {
        inside.push_str("base");
    }
    if operand.index.is_some() {
        inside.push_str(if inside.is_empty() { "index" } else { "+index" });
        if operand.scale > 1 {
            inside.push_str(&format!("*{}", operand.scale));
        }
    }
    if operand.displacement != 0 || inside.is_empty() {
        inside.push_str("+displacement");
    }
    format!("{before}[{inside}]{after}")
}

fn base_role(operand: &MemoryOperand, crash: &Crash) -> Role {
    match (&operand.base, &crash.freelist) {
        (None, _) => Role::None,
        (Some(_), Ok(hit)) => match hit.operand {
            OperandParts::EntryPlusOffset {
                entry_in_base: true,
            }
            | OperandParts::Sum => Role::FreelistPointer,
            OperandParts::EntryPlusOffset {
                entry_in_base: false,
            } => Role::FreelistOffset,
        },
        (Some(_), Err(_)) => sliced_role(crash, slice::Role::Base),
    }
}

/// What is added to the base: a register or a displacement; nothing where the sum is in the base.
fn index_role(operand: &MemoryOperand, crash: &Crash) -> Role {
    if operand.index.is_none() && operand.displacement == 0 {
        return Role::None;
    }
    match crash.freelist.as_ref().map(|hit| hit.operand) {
        Ok(OperandParts::EntryPlusOffset {
            entry_in_base: true,
        }) => Role::FreelistOffset,
        Ok(OperandParts::EntryPlusOffset {
            entry_in_base: false,
        }) => Role::FreelistPointer,
        Ok(OperandParts::Sum) => Role::Other,
        Err(_) => sliced_role(crash, slice::Role::Index),
    }
}

/// What an address register held by where it came from: a field of the allocator's structures, or a pointer to one.
fn sliced_role(crash: &Crash, register: slice::Role) -> Role {
    const FIELDS: [(&str, Role); 2] = [
        ("kmem_cache_cpu.freelist", Role::FreelistPointer),
        ("kmem_cache.offset", Role::FreelistOffset),
    ];
    const TYPES: [(&str, Role); 2] = [
        ("struct kmem_cache *", Role::KmemCache),
        ("struct kmem_cache_cpu *", Role::KmemCacheCpu),
    ];
    let origins = crash.slice.as_ref().map(|slice| slice.origins.as_slice());
    let origin = origins
        .unwrap_or_default()
        .iter()
        .find(|origin| origin.role == register);
    let Some(origin) = origin else {
        return Role::Other;
    };
    let field = match &origin.end {
        slice::End::Load { field, .. } => field.as_deref(),
        _ => None,
    };
    let by_field = FIELDS
        .iter()
        .find(|(name, _)| field.is_some_and(|field| field.ends_with(name)));
    let by_type = TYPES
        .iter()
        .find(|(name, _)| origin.type_name.as_deref() == Some(name));
    by_field.or(by_type).map_or(Role::Other, |(_, role)| *role)
}

fn frames(crash: &Crash, symbols: Source) -> Frames {
    let chain = whole(crash.backtrace.as_ref()).map(normalised);
    let named = chain.as_ref().ok().and_then(|chain| chain.syscall.clone());
    Frames {
        chain: fact(chain.as_ref(), symbols, |chain| chain.frames.clone()),
        syscall: match (&crash.syscall, named) {
            (Ok(syscall), _) => Fact::known(syscall.name.clone(), MEMORY),
            (Err(_), Some(name)) => Fact::known(name, symbols),
            (Err(missing), None) => absent(missing),
        },
    }
}

/// A stack that was walked to its end; where it broke off, its outer frames are not known.
fn whole<'c>(backtrace: Result<&'c Backtrace, &Missing>) -> Result<&'c Backtrace, Missing> {
    let backtrace = backtrace.map_err(Clone::clone)?;
    match backtrace.end {
        End::User | End::Outermost => Ok(backtrace),
        _ => Err(Missing::Implausible(format!(
            "the stack was walked {} frames far: {}",
            backtrace.frames.len(),
            backtrace.end
        ))),
    }
}

fn normalised(backtrace: &Backtrace) -> normalise::Normalised {
    let raw: Vec<Frame> = backtrace
        .frames
        .iter()
        .map(|frame| match &frame.place {
            Some(place) => Frame {
                function: place.symbol.clone(),
                module: place.module.clone(),
                inlined: false,
            },
            None => Frame::built_in("?"),
        })
        .collect();
    normalise::chain(&raw)
}

fn slab(kernel: &Kernel<'_>, crash: &Crash) -> Slab {
    let types = types_source(kernel);
    let hit = crash.cache();
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let list = match &crash.field {
        Ok(_) => Err(Missing::Implausible(IN_USE.into())),
        Err(_) => hit.map_err(Clone::clone),
    };
    Slab {
        cache: fact(hit, types, |cache| normalise::cache(&cache.name)),
        object_size: fact(hit, types, |cache| number(cache.object_size)),
        freelist_offset: fact(list.as_ref(), types, |cache| number(cache.offset)),
        hardened: fact(list.as_ref(), types, |cache| cache.random.is_some()),
    }
}

fn context(kernel: &Kernel<'_>, crash: &Crash, accelerator: Option<&str>) -> Context {
    let symbols = symbols_source(kernel);
    let types = types_source(kernel);
    let asked = crash.allocation.as_ref();
    let size = asked
        .map_err(Clone::clone)
        .and_then(|asked| asked.size.clone());
    let flags = asked
        .map_err(Clone::clone)
        .and_then(|asked| asked.flag_names.clone());
    let accelerator = accelerator.map(str::to_string);
    let release = kernel.info().osrelease().map(str::to_string);
    let init_on_alloc = slub::init_on_alloc(kernel);
    let request = crash
        .syscall
        .as_ref()
        .map(|syscall| syscall.request.clone());
    Context {
        accelerator: Fact::from_option(
            accelerator,
            Source::Run,
            "the dump does not say what ran the CPUs",
        ),
        comm: fact(crash.task.as_ref(), types, |task| task.comm.clone()),
        cpu: fact(crash.cpu.as_ref(), symbols, |cpu| *cpu),
        gfp_flags: fact(flags.as_ref(), types, Clone::clone),
        init_on_alloc: fact(init_on_alloc.as_ref(), symbols, |on| *on),
        kaslr: Fact::from_option(
            kernel.info().kernel_offset().map(|offset| offset != 0),
            MEMORY,
            "VMCOREINFO has no KERNELOFFSET",
        ),
        la57: Fact::known(
            matches!(kernel.memory().levels(), PagingLevels::Five),
            MEMORY,
        ),
        release: Fact::from_option(release, MEMORY, "VMCOREINFO has no OSRELEASE"),
        request: match request {
            Ok(Some(request)) => Fact::known(request, MEMORY),
            Ok(None) => Fact::absent("the call's request is not one that is decoded"),
            Err(missing) => absent(missing),
        },
        requested_size: fact(size.as_ref(), types, |found| {
            u32::try_from(found.value).unwrap_or(u32::MAX)
        }),
    }
}
