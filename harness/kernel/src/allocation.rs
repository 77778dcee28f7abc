//! What a crashed allocation was asked for: size and flags, by the parameters of the allocator's function that
//! faulted and of those that called it. Found in what still holds them; never taken from a cache's size.
use crate::gfp::GfpNames;
use crate::kernel::Kernel;
use crate::object::Missing;
use crate::slice::{self, Argument, Slice};

/// Allocator functions within each other.
const MAX_CALLERS: usize = 4;
/// What kernels call the number of bytes asked for (mm/slub.c, mm/slab_common.c).
const SIZE_NAMES: &[&str] = &["orig_size", "size"];

/// A request to the allocator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// The function that faulted.
    pub function: String,
    /// Bytes asked for.
    pub size: Result<Found, Missing>,
    /// Allocation flags.
    pub flags: Result<Found, Missing>,
    /// The flags by name.
    pub flag_names: Result<String, Missing>,
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: u64,
    /// Where it was found: `r15, which holds parameter orig_size of __kmem_cache_alloc_node`.
    pub by: String,
}

/// The request that the sliced function was serving.
///
/// # Errors
/// [`Missing`] when the function is none of an allocator's, by its prototype.
pub fn of(kernel: &Kernel<'_>, fault: &Slice, cpu: Option<u32>) -> Result<Allocation, Missing> {
    if !is_allocator(fault) {
        return Err(Missing::Implausible(format!(
            "{} takes no allocation flags, or its prototype is not known",
            fault.function
        )));
    }
    let (mut size, mut flags) = (None, None);
    let mut why = None;
    let mut slice = fault.clone();
    for _ in 0..MAX_CALLERS {
        size = size.or_else(|| held(&slice, is_size));
        flags = flags.or_else(|| held(&slice, is_flags));
        if size.is_some() && flags.is_some() {
            break;
        }
        let caller = match slice::of_call(kernel, &slice, cpu) {
            Ok(caller) => caller,
            Err(missing) => {
                why = Some(missing);
                break;
            }
        };
        size = size.or_else(|| passed(&slice, &caller, is_size));
        flags = flags.or_else(|| passed(&slice, &caller, is_flags));
        if !is_allocator(&caller) {
            break;
        }
        slice = caller;
    }
    let lost = |what: &str| {
        why.clone().unwrap_or_else(|| {
            Missing::Implausible(format!(
                "no register, stack slot or caller of {} still has the {what}",
                fault.function
            ))
        })
    };
    let flags = flags.ok_or_else(|| lost("flags"));
    let flag_names = flags.clone().and_then(|found| {
        let names = GfpNames::of(kernel)?;
        Ok(names.spell(found.value))
    });
    Ok(Allocation {
        function: fault.function.clone(),
        size: size.ok_or_else(|| lost("size")),
        flags,
        flag_names,
    })
}

/// A function that takes allocation flags and says that it allocates.
fn is_allocator(slice: &Slice) -> bool {
    slice.function.contains("alloc") && slice.arguments.iter().any(is_flags)
}

fn is_flags(argument: &Argument) -> bool {
    argument.type_name.as_deref() == Some("gfp_t")
}

fn is_size(argument: &Argument) -> bool {
    argument
        .name
        .as_deref()
        .is_some_and(|name| SIZE_NAMES.contains(&name))
}

/// A parameter that a register or a stack slot still holds.
fn held(slice: &Slice, wanted: fn(&Argument) -> bool) -> Option<Found> {
    let argument = slice.arguments.iter().find(|argument| wanted(argument))?;
    let value = argument.value.as_ref().ok().copied()?;
    Some(Found {
        value,
        by: format!(
            "{} holds parameter {} of {}",
            argument.found_in.as_deref().unwrap_or("?"),
            argument.name.as_deref().unwrap_or("?"),
            slice.function
        ),
    })
}

/// A parameter that the caller's code put into its register.
fn passed(callee: &Slice, caller: &Slice, wanted: fn(&Argument) -> bool) -> Option<Found> {
    let argument = callee.arguments.iter().find(|argument| wanted(argument))?;
    let value = slice::passed(caller, argument.number)?;
    // gfp_t is 32 bits wide, and the rest of its register may be anything.
    let value = if is_flags(argument) {
        value & u64::from(u32::MAX)
    } else {
        value
    };
    Some(Found {
        value,
        by: format!(
            "{} passed parameter {} to {}",
            caller.function,
            argument.name.as_deref().unwrap_or("?"),
            callee.function
        ),
    })
}
