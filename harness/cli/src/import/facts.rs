//! The facts of a signature, each from the part of the account that knows it, or absent with the account's reason.
use recrash_oops::report::Kind as Report;
use recrash_signature::model::{
    Context, Fact, Fault, FaultClass, Frame, Frames, Role, Signature, Slab, Source,
};
use recrash_signature::normalise::{self, Normalised};
use recrash_transcript::account::{self, Account, Basis, End, How, Known, Origin, Told};
use recrash_transcript::evidence::Evidence;

use super::corruption;

/// The first page, where a NULL pointer plus a field's offset lies.
const NULL_PAGE: u64 = 4096;
/// Bit 0 of a page fault's error code: the page was there (Intel SDM volume 3A, 4.7).
const PRESENT: u64 = 1;
/// Stack segment and general protection, which an address raises that is not canonical.
const NOT_CANONICAL: [u8; 2] = [12, 13];
/// `ud2`, which BUG() is made of.
const INVALID_OPCODE: u8 = 6;
/// Bits of a linear address below its sign extension, with five levels of page tables.
const LA57_BITS: u32 = 57;

pub(super) fn signature(evidence: &Evidence, account: &Account) -> Signature {
    let from = Reader::of(account);
    let mut signature = Signature::new(
        fault(&from, evidence, account),
        frames(&from, account),
        slab(&from, account),
        corruption::corruption(&from, account),
        context(&from, account),
    );
    if let Some((report, _)) = evidence.oopses.first() {
        signature.alternative_titles = report.alternatives.clone();
    }
    signature
}

/// Makes facts of what an account tells.
pub(super) struct Reader {
    /// Where facts that were read come from.
    pub(super) read: Source,
}

impl Reader {
    fn of(account: &Account) -> Self {
        let oops = account
            .registers
            .as_ref()
            .is_ok_and(|known| known.value.how == How::Oops);
        Self {
            read: if oops {
                Source::Console
            } else {
                Source::Transcript
            },
        }
    }

    /// Read, if anything of the text says it; else derived.
    fn source<T>(&self, known: &Known<T>) -> Source {
        let seen = |basis: &Basis| match basis {
            Basis::Line { .. } | Basis::StackWord { .. } => true,
            Basis::Instruction { place, .. } => !place.ends_with(account::LENT),
            Basis::Rule(_) | Basis::Follows(_) => false,
        };
        if known.basis.iter().any(seen) {
            self.read
        } else {
            Source::Derived
        }
    }

    fn fact<T, U>(
        &self,
        told: &Told<T>,
        value: impl FnOnce(&T) -> Option<U>,
        without: &str,
    ) -> Fact<U> {
        match told {
            Ok(known) => Fact::from_option(value(&known.value), self.source(known), without),
            Err(why) => Fact::absent(why),
        }
    }

    /// What follows from a part of the account.
    fn derived<T, U>(
        told: &Told<T>,
        value: impl FnOnce(&T) -> Option<U>,
        without: &str,
    ) -> Fact<U> {
        match told {
            Ok(known) => Fact::from_option(value(&known.value), Source::Derived, without),
            Err(why) => Fact::absent(why),
        }
    }
}

fn fault(from: &Reader, evidence: &Evidence, account: &Account) -> Fault {
    let faulting = &account.faulting;
    let report = evidence
        .oopses
        .first()
        .map(|(report, _)| report.title.clone());
    let unnamed = "the text does not name the exception";
    Fault {
        vector: from.fact(&account.exception, |exception| exception.vector, unnamed),
        trap: from.fact(
            &account.exception,
            |exception| exception.mnemonic.clone(),
            unnamed,
        ),
        class: class(evidence, account),
        function: from.fact(
            &account.place,
            |place| Some(normalise::function(&place.function).to_owned()),
            "",
        ),
        offset: from.fact(
            &account.place,
            |place| u32::try_from(place.offset?).ok(),
            "the text gives no offset in the function",
        ),
        instruction: from.fact(faulting, |faulting| Some(faulting.by_place.clone()), ""),
        base_register: from.fact(
            faulting,
            |faulting| faulting.base.clone(),
            "the instruction has no base register",
        ),
        base_role: role(account, account::Role::Base),
        index_role: role(account, account::Role::Index),
        hardware_vector: Reader::derived(
            faulting,
            |faulting| faulting.hardware.as_ref().map(|(vector, _)| *vector),
            "the address that the instruction used is not known",
        ),
        report: Fact::from_option(
            report,
            Source::Console,
            "the text has no report of the kernel's",
        ),
    }
}

/// By the address where there is one, else by the kernel's report.
fn class(evidence: &Evidence, account: &Account) -> Fact<FaultClass> {
    let derived = |class| Fact::known(class, Source::Derived);
    let faulting = account.faulting.as_ref().ok().map(|known| &known.value);
    let exception = account.exception.as_ref().ok().map(|known| &known.value);
    let vector = exception.and_then(|exception| exception.vector);
    if vector.is_none_or(|vector| NOT_CANONICAL.contains(&vector))
        && faulting.and_then(|faulting| faulting.canonical) == Some(false)
    {
        return derived(FaultClass::NonCanonical);
    }
    let report = evidence.oopses.first();
    let headline = report.and_then(|(_, details)| details.exception.as_ref());
    if headline.is_some_and(|headline| headline.value.non_canonical) {
        return derived(FaultClass::NonCanonical);
    }
    let address = exception.and_then(|exception| exception.address);
    let code = exception.and_then(|exception| exception.error_code);
    if vector == Some(14) || vector.is_none() {
        match (address, code) {
            (Some(address), _) if address < NULL_PAGE => return derived(FaultClass::Null),
            (Some(_), Some(code)) if code & PRESENT != 0 => return derived(FaultClass::Protection),
            (Some(_), Some(_)) => return derived(FaultClass::Unmapped),
            _ => {}
        }
    }
    let by_report = report.and_then(|(report, _)| of_report(report.kind));
    let by_vector = match vector {
        Some(0) => Some(FaultClass::Divide),
        Some(8 | 18) => Some(FaultClass::Other),
        _ => None,
    };
    // Checks of lists, reference counts and copies end in BUG(), and a vmcore shows just that.
    let by_report = match (by_report, vector) {
        (Some(FaultClass::Other), Some(INVALID_OPCODE)) => Some(FaultClass::Bug),
        (by_report, _) => by_report,
    };
    match by_report.or(by_vector) {
        Some(class) => derived(class),
        None => Fact::absent("neither the address nor a report says what kind of fault it was"),
    }
}

/// What the kernel's report says of the class; `None` where only an address can tell.
fn of_report(kind: Report) -> Option<FaultClass> {
    Some(match kind {
        Report::Bug => FaultClass::Bug,
        Report::Warning => FaultClass::Warning,
        Report::Sanitizer => FaultClass::Sanitizer,
        Report::Stall => FaultClass::Stall,
        Report::NullDereference => FaultClass::Null,
        Report::Exception | Report::PagingRequest => return None,
        Report::Panic => FaultClass::Panic,
        Report::Integrity | Report::Locking | Report::Leak | Report::Other => FaultClass::Other,
    })
}

/// What an address register held, by where it came from.
fn role(account: &Account, wanted: account::Role) -> Fact<Role> {
    let faulting = match &account.faulting {
        Ok(known) => &known.value,
        Err(why) => return Fact::absent(why),
    };
    let derived = |role| Fact::known(role, Source::Derived);
    let nothing = match wanted {
        account::Role::Base => faulting.base.is_none(),
        _ => faulting.index.is_none() && faulting.displacement == 0,
    };
    if nothing {
        return derived(Role::None);
    }
    // Where the code adds the offset first, the sum is in the base alone.
    if wanted == account::Role::Base && is_list_plus_offset(account) && faulting.index.is_none() {
        return derived(Role::FreelistPointer);
    }
    match account.origins.iter().find(|origin| origin.role == wanted) {
        Some(origin) => match (&origin.end, held(origin)) {
            (End::Unknown(why), _) => Fact::absent(why),
            (_, Some(role)) => derived(role),
            (_, None) => Fact::absent("the text does not show what it was read from"),
        },
        None => Fact::absent("the text does not show where it came from"),
    }
}

/// The faulting address is the head of the CPU's list plus the place of the pointer in an object: `extract`'s rule too.
pub(super) fn is_list_plus_offset(account: &Account) -> bool {
    let address = account
        .faulting
        .as_ref()
        .ok()
        .and_then(|known| known.value.address);
    let offset = account
        .cache
        .as_ref()
        .ok()
        .and_then(|known| known.value.offset);
    let head = account
        .freelist
        .as_ref()
        .ok()
        .map(|known| known.value.value);
    match (address, head, offset) {
        (Some(address), Some(head), Some(offset)) => address == head.wrapping_add(offset),
        _ => false,
    }
}

/// `None` where the text does not say of what structure: that is not to say that it was none of these.
pub(super) fn held(origin: &Origin) -> Option<Role> {
    const FIELDS: [(&str, Role); 2] = [
        ("kmem_cache_cpu.freelist", Role::FreelistPointer),
        ("kmem_cache.offset", Role::FreelistOffset),
    ];
    const TYPES: [(&str, Role); 2] = [
        ("struct kmem_cache *", Role::KmemCache),
        ("struct kmem_cache_cpu *", Role::KmemCacheCpu),
    ];
    let role = |known: Option<&(&str, Role)>| known.map_or(Role::Other, |(_, role)| *role);
    match &origin.end {
        End::Load { field, .. } => {
            let field = field.as_deref()?;
            Some(role(FIELDS.iter().find(|(name, _)| field.ends_with(name))))
        }
        End::Returned { type_name, .. } => {
            let found = type_name.as_deref()?;
            Some(role(TYPES.iter().find(|(name, _)| *name == found)))
        }
        End::Unknown(_) => None,
    }
}

fn frames(from: &Reader, account: &Account) -> Frames {
    let chain = account
        .frames
        .as_ref()
        .map(|known| normalised(&known.value));
    let whole = account
        .frames_end
        .as_ref()
        .and(chain.as_ref().map_err(|why| *why));
    let named = chain.as_ref().ok().and_then(|chain| chain.syscall.clone());
    let syscall = match (&account.syscall, named) {
        (Ok(known), _) => Fact::known(known.value.name.clone(), from.source(known)),
        (Err(_), Some(name)) => Fact::known(name, from.read),
        (Err(why), None) => Fact::absent(why),
    };
    Frames {
        chain: match whole {
            Ok(chain) => Fact::known(chain.frames.clone(), from.read),
            Err(why) => Fact::absent(why),
        },
        syscall,
    }
}

fn normalised(frames: &[account::Frame]) -> Normalised {
    let raw: Vec<Frame> = frames
        .iter()
        .map(|frame| Frame {
            function: frame.function.clone(),
            module: frame.module.clone(),
            inlined: frame.inlined,
        })
        .collect();
    normalise::chain(&raw)
}

fn slab(from: &Reader, account: &Account) -> Slab {
    let cache = &account.cache;
    let narrow = |value: Option<u64>| u32::try_from(value?).ok();
    let unseen = "the text does not show it";
    Slab {
        // A name is in no struct that a session prints as text.
        cache: Reader::derived(
            cache,
            |cache| cache.name.as_deref().map(normalise::cache),
            unseen,
        ),
        object_size: from.fact(cache, |cache| narrow(cache.object_size), unseen),
        freelist_offset: from.fact(cache, |cache| narrow(cache.offset), unseen),
        hardened: Reader::derived(cache, |cache| cache.hardened, unseen),
    }
}

fn context(from: &Reader, account: &Account) -> Context {
    let allocation = account.allocation.as_ref();
    let part = |told: Result<&Known<account::Allocation>, &String>| match told {
        Ok(known) => known.value.size.clone(),
        Err(why) => Err(why.clone()),
    };
    let size = part(allocation);
    Context {
        accelerator: Fact::absent("the text does not say what ran the kernel"),
        comm: from.fact(
            &account.task,
            |task| task.comm.clone(),
            "the text names no process",
        ),
        cpu: from.fact(&account.task, |task| task.cpu, "the text names no CPU"),
        gfp_flags: match allocation {
            Ok(known) => match &known.value.flags {
                Ok(flags) => Fact::from_option(
                    known.value.flag_names.clone(),
                    from.source(flags),
                    "the kernel's names for its flags are not known",
                ),
                Err(why) => Fact::absent(why),
            },
            Err(why) => Fact::absent(why),
        },
        init_on_alloc: Fact::absent("the text does not show it"),
        kaslr: Reader::derived(&account.kaslr, |moved| Some(*moved), ""),
        la57: la57(account),
        release: from.fact(&account.release, |release| Some(release.clone()), ""),
        request: from.fact(
            &account.syscall,
            |syscall| syscall.request.clone(),
            "the call's request is not one that is decoded",
        ),
        requested_size: from.fact(&size, |size| u32::try_from(*size).ok(), "out of range"),
    }
}

/// An address that five levels of page tables would have made canonical, and that raised #GP or #SS: there were four.
fn la57(account: &Account) -> Fact<bool> {
    let address = account
        .faulting
        .as_ref()
        .ok()
        .and_then(|known| known.value.address);
    let vector = account
        .exception
        .as_ref()
        .ok()
        .and_then(|known| known.value.vector);
    let wide = |address: u64| {
        let unused = u64::BITS - LA57_BITS;
        let extended = (address.cast_signed() << unused) >> unused;
        extended.cast_unsigned() == address
    };
    match (address, vector) {
        (Some(address), Some(vector)) if NOT_CANONICAL.contains(&vector) && wide(address) => {
            Fact::known(false, Source::Derived)
        }
        _ => Fact::absent("the text does not show it"),
    }
}
