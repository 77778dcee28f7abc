//! A pointee in a few words.
use super::{Characters, Kind, Mapping, Pointee, Region, pattern};
use crate::slub::{Part, SlabObject};
use std::fmt::{Display, Formatter, Result};

impl Display for Pointee {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            Kind::Zero => write!(f, "0"),
            Kind::Integer if self.value == pattern::MINUS_ONE => {
                write!(f, "-1 as a 32-bit number")
            }
            Kind::Small | Kind::Integer => write!(f, "{}", self.value),
            Kind::Error(number) => match crate::decode::errno(*number) {
                Some(name) => write!(f, "-{number} = -{name}"),
                None => write!(f, "-{number}"),
            },
            Kind::Text(place) => write!(f, "{place}"),
            Kind::Data(place) => write!(f, "{place} (data)"),
            Kind::PerCpu {
                cpu,
                offset,
                variable,
            } => match variable {
                Some((name, 0)) => write!(f, "per-CPU {name} of CPU {cpu}"),
                Some((name, rest)) => write!(f, "per-CPU {name}+{rest:#x} of CPU {cpu}"),
                None => write!(f, "per-CPU data of CPU {cpu}, offset {offset:#x}"),
            },
            Kind::PerCpuOffset(name) => write!(f, "offset of per-CPU {name}"),
            Kind::Task(task) => {
                write!(f, "task_struct of {} (pid {})", task.comm, task.pid)?;
                if task.offset > 0 {
                    write!(f, " at +{:#x}", task.offset)?;
                }
                task.running_on
                    .map_or(Ok(()), |cpu| write!(f, ", running on CPU {cpu}"))
            }
            Kind::Stack(place) => write!(f, "{place}"),
            Kind::Slab(object) => slab(f, self.value, object),
            Kind::Region(region, mapping) => {
                write!(f, "{}", region.label())?;
                match mapping {
                    Some(Mapping::Mapped(at)) => write!(f, ", physical {at:#x}"),
                    Some(Mapping::Absent) => write!(f, ", not mapped"),
                    None => Ok(()),
                }
            }
            Kind::User => write!(f, "user address"),
            Kind::Poison(name) => write!(f, "poison: {name}"),
            Kind::Characters(Characters::Ascii(text)) => write!(f, "ASCII text {text:?}"),
            Kind::Characters(Characters::Utf16(text)) => write!(f, "UTF-16 text {text:?}"),
            Kind::NonCanonical => write!(f, "not canonical"),
        }
    }
}

impl Region {
    /// What it is called in prose.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::DirectMap => "direct map",
            Self::Vmalloc => "vmalloc area",
            Self::Vmemmap => "struct page (vmemmap)",
            Self::KasanShadow => "KASAN shadow",
            Self::CpuEntryArea => "CPU entry area",
            Self::KernelImage => "kernel image",
            Self::Modules => "module area",
            Self::Fixmap => "fixmap",
            Self::Other => "kernel half, no known region",
        }
    }
}

/// `kmalloc-256 object +0x10, allocated`.
fn slab(f: &mut Formatter<'_>, value: u64, object: &SlabObject) -> Result {
    let name = &object.cache.name;
    match object.part {
        Part::Object if object.at.0 == value => write!(f, "{name} object")?,
        Part::Object => write!(
            f,
            "{name} object at {:#x}, +{:#x}",
            object.at, object.offset
        )?,
        Part::LeftRedZone => write!(f, "red zone before the {name} object at {:#x}", object.at)?,
        Part::Metadata => write!(f, "metadata behind the {name} object at {:#x}", object.at)?,
    }
    write!(f, ", {}", object.state)
}
