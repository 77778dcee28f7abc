//! The places of one kernel by which values are recognised, looked up once: regions, per-CPU areas, running tasks,
//! the slab allocator. Reads memory only for what an answer needs.
use super::{Kind, Mapping, Pointee, Region, TaskRef, pattern, per_cpu_variable};
use crate::kernel::{Kernel, Place};
use crate::object::Object;
use crate::slub::{SlabObject, Slub};
use crate::stacks;
use crate::task;
use recrash_vmcore::{PagingLevels, ReadError, VirtAddr};

/// Below this an address can't be mapped (`mmap_min_addr` by default).
const LOW: u64 = 0x1_0000;
const PAGE: u64 = 0x1000;
/// Largest per-CPU unit that is believed.
const MAX_UNIT: u64 = 64 << 20;
/// CPUs whose areas are looked at.
const MAX_CPUS: u32 = 8192;

/// Regions that do not move, from their lowest address (Documentation/arch/x86/x86_64/mm.rst).
const FIXED: &[(u64, u64, Region)] = &[
    (
        0xffff_fe00_0000_0000,
        0xffff_fe7f_ffff_ffff,
        Region::CpuEntryArea,
    ),
    (
        0xffff_ffff_8000_0000,
        0xffff_ffff_9fff_ffff,
        Region::KernelImage,
    ),
    (
        0xffff_ffff_a000_0000,
        0xffff_ffff_feff_ffff,
        Region::Modules,
    ),
    (0xffff_ffff_ff00_0000, 0xffff_ffff_ffdf_ffff, Region::Fixmap),
];
/// Regions whose bases are variables (CONFIG_DYNAMIC_MEMORY_LAYOUT): symbol, base where there is none, size; with
/// four levels of page tables, then with five.
const MOVING: &[(&str, [u64; 2], [u64; 2], Region)] = &[
    (
        "page_offset_base",
        [0xffff_8880_0000_0000, 0xff11_0000_0000_0000],
        [64 << 40, 32 << 50],
        Region::DirectMap,
    ),
    (
        "vmalloc_base",
        [0xffff_c900_0000_0000, 0xffa0_0000_0000_0000],
        [32 << 40, 12_800 << 40],
        Region::Vmalloc,
    ),
    (
        "vmemmap_base",
        [0xffff_ea00_0000_0000, 0xffd4_0000_0000_0000],
        [1 << 40, 512 << 40],
        Region::Vmemmap,
    ),
];
/// KASAN's shadow, not moved (CONFIG_KASAN_SHADOW_OFFSET is fixed).
const SHADOW: [(u64, u64); 2] = [
    (0xffff_ec00_0000_0000, 0xffff_fbff_ffff_ffff),
    (0xffdf_0000_0000_0000, 0xffff_fbff_ffff_ffff),
];

/// Places by which values are recognised.
pub struct Landmarks<'k> {
    kernel: &'k Kernel<'k>,
    /// Each CPU's per-CPU base.
    areas: Vec<(u32, u64)>,
    unit: u64,
    /// What each CPU was running.
    running: Vec<(u32, task::Task)>,
    moving: Vec<(u64, u64, Region)>,
    slub: Option<Slub<'k>>,
    kasan: bool,
    /// The kernel image: with KASLR it lies up to 1 GiB above its lowest address, where modules are without.
    image: Option<(u64, u64)>,
}

impl<'k> Landmarks<'k> {
    /// Looks a kernel's landmarks up; those that can't be found are passed over.
    #[must_use]
    pub fn of(kernel: &'k Kernel<'k>) -> Self {
        let count = kernel.cpu_count().unwrap_or(0).min(MAX_CPUS);
        let areas: Vec<_> = (0..count)
            .filter_map(|cpu| Some((cpu, kernel.per_cpu(cpu, 0).ok()?.0)))
            .collect();
        let running = areas
            .iter()
            .filter_map(|(cpu, _)| Some((*cpu, task::current(kernel, *cpu).ok()?)))
            .collect();
        let five = usize::from(kernel.memory().levels() == PagingLevels::Five);
        let moving = MOVING.iter().filter_map(|(symbol, fixed, sizes, region)| {
            let base = kernel
                .u64_at_symbol(symbol)
                .ok()
                .filter(|base| *base >> 63 == 1);
            let base = base.or_else(|| fixed.get(five).copied())?;
            Some((base, base.saturating_add(sizes.get(five)? - 1), *region))
        });
        Self {
            areas,
            running,
            moving: moving.collect(),
            unit: unit_size(kernel),
            slub: Slub::new(kernel).ok(),
            kasan: kernel.symbol("kasan_report").is_ok(),
            image: image(kernel),
            kernel,
        }
    }

    /// What a value is or points at.
    #[must_use]
    pub fn describe(&self, value: u64) -> Pointee {
        Pointee {
            value,
            kind: self.kind(value),
        }
    }

    fn kind(&self, value: u64) -> Kind {
        let at = VirtAddr(value);
        if value == 0 {
            return Kind::Zero;
        }
        if let Some(name) = pattern::poison(value) {
            return Kind::Poison(name);
        }
        if let Some(number) = pattern::error(value) {
            return Kind::Error(number);
        }
        if value < PAGE {
            return Kind::Small;
        }
        let text = pattern::characters(value).map(Kind::Characters);
        if !at.is_canonical(self.kernel.memory().levels()) {
            return text.unwrap_or(Kind::NonCanonical);
        }
        if value >> 63 == 0 {
            return text.unwrap_or_else(|| self.low(value));
        }
        self.in_kernel(at)
    }

    /// A value in the lower half.
    fn low(&self, value: u64) -> Kind {
        match per_cpu_variable(self.kernel, value) {
            Some((name, 0)) => Kind::PerCpuOffset(name),
            _ if value < LOW || u32::try_from(value).is_ok() => Kind::Integer,
            _ => Kind::User,
        }
    }

    fn in_kernel(&self, at: VirtAddr) -> Kind {
        if let Some(kind) = self.symbol(at) {
            return kind;
        }
        let (region, per_cpu) = (self.region(at.0), self.per_cpu(at.0));
        if region == Region::DirectMap && per_cpu.is_none() {
            if let Some(kind) = self.of_running_task(at) {
                return kind;
            }
            if let Some(object) = self.object(at) {
                return self.of_object(at, object);
            }
        }
        // Stacks lie in the vmalloc area, in the entry area, among per-CPU data, or where CONFIG_VMAP_STACK is off
        // in plain pages.
        if let Some(stack) = stacks::locate(self.kernel, at) {
            return Kind::Stack(Box::new(stack));
        }
        if let Some(kind) = per_cpu {
            return kind;
        }
        Kind::Region(region, self.mapping(at))
    }

    fn symbol(&self, at: VirtAddr) -> Option<Kind> {
        let place = || self.kernel.place(at);
        if self.kernel.is_text(at) {
            return place().map(|place| self.code_or_data(at, place));
        }
        // Where the modules begin depends on the configuration: what has a name in the image is in it.
        let named = self
            .image
            .is_some_and(|(from, to)| (from..to).contains(&at.0));
        let in_image = named || self.region(at.0) == Region::KernelImage;
        in_image.then(place).flatten().map(Kind::Data)
    }

    /// A module's regions hold data too; where its functions are, its unwind rules are.
    fn code_or_data(&self, at: VirtAddr, place: Place) -> Kind {
        if place.module.is_some() && self.kernel.orc(at.0).is_none() {
            Kind::Data(place)
        } else {
            Kind::Text(place)
        }
    }

    fn per_cpu(&self, value: u64) -> Option<Kind> {
        let (cpu, base) = self
            .areas
            .iter()
            .find(|(_, base)| value.wrapping_sub(*base) < self.unit)?;
        let offset = value.wrapping_sub(*base);
        Some(Kind::PerCpu {
            cpu: *cpu,
            offset,
            variable: per_cpu_variable(self.kernel, offset),
        })
    }

    fn of_running_task(&self, at: VirtAddr) -> Option<Kind> {
        let size = self.kernel.types().size_of("task_struct").unwrap_or(1);
        for (cpu, task) in &self.running {
            let offset = at.0.wrapping_sub(task.at.0);
            if offset < size {
                return Some(Kind::Task(TaskRef {
                    pid: task.pid,
                    comm: task.comm.clone(),
                    offset,
                    running_on: Some(*cpu),
                }));
            }
        }
        None
    }

    fn object(&self, at: VirtAddr) -> Option<SlabObject> {
        self.slub.as_ref()?.find_object(at).ok()
    }

    /// A task is known by its cache's name.
    fn of_object(&self, at: VirtAddr, object: SlabObject) -> Kind {
        if object.cache.name == "task_struct" && object.state == crate::slub::ObjectState::Allocated
        {
            let task = Object::new(self.kernel, "task_struct", object.at);
            if let (Ok(pid), Ok(comm)) = (task.i32("pid"), task.char_array("comm")) {
                return Kind::Task(TaskRef {
                    pid,
                    comm,
                    offset: at.0.wrapping_sub(object.at.0),
                    running_on: None,
                });
            }
        }
        Kind::Slab(Box::new(object))
    }

    /// The region that an address in the upper half lies in.
    #[must_use]
    pub fn region(&self, value: u64) -> Region {
        if self
            .image
            .is_some_and(|(from, to)| (from..to).contains(&value))
        {
            return Region::KernelImage;
        }
        let fixed = FIXED
            .iter()
            .find(|(from, to, _)| (*from..=*to).contains(&value));
        if let Some((.., region)) = fixed {
            return *region;
        }
        // Nearest base below: the sizes are those of the largest machine.
        let nearest = self
            .moving
            .iter()
            .filter(|(from, to, _)| (*from..=*to).contains(&value))
            .max_by_key(|(from, ..)| *from);
        if let Some((.., region)) = nearest {
            return *region;
        }
        let five = usize::from(self.kernel.memory().levels() == PagingLevels::Five);
        match SHADOW.get(five) {
            Some((from, to)) if self.kasan && (*from..=*to).contains(&value) => Region::KasanShadow,
            _ => Region::Other,
        }
    }

    fn mapping(&self, at: VirtAddr) -> Option<Mapping> {
        match self.kernel.memory().translate(at) {
            Ok(physical) => Some(Mapping::Mapped(physical.0)),
            Err(ReadError::NotPresent { .. }) => Some(Mapping::Absent),
            Err(_) => None,
        }
    }
}

/// From `_text`, or where that is not known `_stext`, to `_end`.
fn image(kernel: &Kernel<'_>) -> Option<(u64, u64)> {
    let from = kernel
        .symbol("_text")
        .or_else(|_| kernel.symbol("_stext"))
        .ok()?;
    Some((from.0, kernel.symbol("_end").ok()?.0))
}

/// Distance between two CPUs' per-CPU areas: `pcpu_unit_size` (mm/percpu.c), or at least the static part.
fn unit_size(kernel: &Kernel<'_>) -> u64 {
    let unit = kernel.symbol("pcpu_unit_size").ok().and_then(|at| {
        use recrash_vmcore::VirtMem as _;
        kernel.memory().u32_at(at).ok().map(u64::from)
    });
    let end = kernel.symbol("__per_cpu_end").map_or(0, |end| end.0);
    unit.filter(|unit| (PAGE..=MAX_UNIT).contains(unit))
        .unwrap_or(end)
        .min(MAX_UNIT)
}
