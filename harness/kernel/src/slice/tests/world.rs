//! A world of a few symbols, words and types around a function's bytes.
use super::super::around::{Around, Function};
use super::super::trace::Registers;
use super::super::{Slice, effect, slice};
use crate::kernel::Place;
use crate::object::Missing;
use recrash_debuginfo::btf::Btf;
use recrash_debuginfo::types::Types;
use recrash_synth::btf::{BtfWriter, MemberSpec};
use recrash_vmcore::{ReadError, VirtAddr};
use std::collections::HashMap;
use std::sync::Arc;

/// Where `__kmalloc` lay in the real dump.
pub(super) const BASE: u64 = 0xffff_ffff_8428_7f8b - 0xab;
pub(super) const AREA: u64 = 0xffff_8f03_dfb0_0000;
pub(super) const THIS_CPU_OFF: u64 = 0x9008;

#[derive(Default)]
pub(super) struct World {
    pub(super) code: Vec<u8>,
    pub(super) name: &'static str,
    /// Functions within the code, by their offset; without any the code is one.
    pub(super) functions: Vec<(u64, &'static str)>,
    /// Other symbols: address, name.
    pub(super) symbols: Vec<(u64, &'static str)>,
    pub(super) words: HashMap<u64, u64>,
    pub(super) kinds: HashMap<u64, &'static str>,
    pub(super) fixups: Vec<(u64, u64)>,
    pub(super) types: Types,
}

impl World {
    pub(super) fn of(name: &'static str, code: &[u8]) -> Self {
        Self {
            code: code.to_vec(),
            name,
            types: types(),
            ..Self::default()
        }
    }

    pub(super) fn slice(&self, offset: u64, set: &[(&str, u64)]) -> Slice {
        self.try_slice(offset, set).unwrap()
    }

    pub(super) fn try_slice(&self, offset: u64, set: &[(&str, u64)]) -> Result<Slice, Missing> {
        let mut registers: Registers = [None; 16];
        for (name, value) in set {
            registers[usize::from(effect::by_name(name).unwrap())] = Some(*value);
        }
        slice(self, BASE + offset, registers)
    }
}

impl Around for World {
    fn text(&self, at: u64, size: usize) -> Result<Vec<u8>, Missing> {
        let from = usize::try_from(at - BASE).unwrap();
        self.code
            .get(from..from + size)
            .map(<[u8]>::to_vec)
            .ok_or(Missing::Memory {
                what: "text".into(),
                error: ReadError::NotPresent {
                    at: VirtAddr(at),
                    level: "PTE",
                    entry: 0,
                },
            })
    }

    fn function(&self, at: u64) -> Option<Function> {
        let (size, offset) = (self.code.len() as u64, at.wrapping_sub(BASE));
        let starts = || self.functions.iter().map(|(start, _)| *start);
        let (start, name) = self
            .functions
            .iter()
            .rfind(|(start, _)| *start <= offset)
            .copied()
            .unwrap_or((0, self.name));
        let end = starts().find(|next| *next > offset).unwrap_or(size);
        (offset < size).then(|| Function {
            name: name.into(),
            start: BASE + start,
            size: end - start,
        })
    }

    fn address_of(&self, symbol: &str) -> Option<u64> {
        self.symbols
            .iter()
            .find(|(_, name)| *name == symbol)
            .map(|(at, _)| *at)
    }

    fn place(&self, at: u64) -> Option<Place> {
        let place = |symbol: &str, offset| Place {
            symbol: symbol.into(),
            offset,
            size: None,
            module: None,
        };
        if let Some(function) = self.function(at) {
            return Some(place(&function.name, at - function.start));
        }
        let (_, name) = self.symbols.iter().find(|(known, _)| *known == at)?;
        Some(place(name, 0))
    }

    fn types(&self) -> &Types {
        &self.types
    }

    fn word(&self, at: u64, size: u32) -> Option<u64> {
        let word = self.words.get(&at)?;
        Some(super::super::trace::truncated(*word, size))
    }

    fn per_cpu_base(&self) -> Option<u64> {
        Some(AREA)
    }

    fn per_cpu_variable(&self, offset: u64) -> Option<(String, u64)> {
        match offset {
            THIS_CPU_OFF => Some(("this_cpu_off".into(), 0)),
            0x4000 => Some(("current_task".into(), 0)),
            _ => None,
        }
    }

    fn structure_at(&self, at: u64) -> Option<String> {
        self.kinds.get(&at).map(ToString::to_string)
    }

    fn fixups(&self, _: u64, _: u64) -> Vec<(u64, u64)> {
        self.fixups.clone()
    }
}

/// The structures and prototypes of mm/slub.c in 4.18, as far as the tests need them.
fn types() -> Types {
    let mut btf = BtfWriter::new();
    let int = btf.int("int", 4, true);
    let uint = btf.int("unsigned int", 4, false);
    let ulong = btf.int("unsigned long", 8, false);
    let (size_t, gfp_t) = (btf.typedef("size_t", ulong), btf.typedef("gfp_t", uint));
    let void = btf.pointer(0);
    let handle = btf.pointer(void);
    let page = btf.structure("page", 64, &[MemberSpec::at(0, "flags", ulong)]);
    let page = btf.pointer(page);
    let at = MemberSpec::at;
    let cpu = btf.structure(
        "kmem_cache_cpu",
        32,
        &[
            at(0, "freelist", handle),
            at(8, "tid", ulong),
            at(16, "page", page),
        ],
    );
    let cpu = btf.pointer(cpu);
    let list = btf.structure("list_head", 16, &[at(0, "next", void), at(8, "prev", void)]);
    let nodes = btf.array(page, 4);
    let cache = btf.structure(
        "kmem_cache",
        256,
        &[
            at(0, "cpu_slab", cpu),
            at(8, "flags", ulong),
            at(24, "size", uint),
            at(28, "object_size", uint),
            at(32, "offset", uint),
            at(96, "list", list),
            at(128, "node", nodes),
        ],
    );
    let cache = btf.pointer(cache);
    let task = btf.structure(
        "task_struct",
        64,
        &[at(0, "pid", int), at(8, "stack", void)],
    );
    let task = btf.pointer(task);
    btf.record("current_task", 14, 0, false, task, &[1]);
    for (name, returns, parameters) in [
        ("__kmalloc", void, vec![("size", size_t), ("flags", gfp_t)]),
        (
            "kmalloc_slab",
            cache,
            vec![("size", size_t), ("flags", gfp_t)],
        ),
        ("memcg_kmem_get_cache", cache, vec![("cachep", cache)]),
        ("of_cache", void, vec![("s", cache), ("n", int)]),
    ] {
        let prototype = btf.prototype(returns, &parameters);
        btf.function(name, prototype);
    }
    Types::new(Arc::new(Btf::parse(btf.finish(), None).unwrap()))
}
