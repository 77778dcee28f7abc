//! `mod`: the modules that were loaded.
use recrash_kernel::object::list_entries;
use recrash_kernel::{Kernel, Missing, Object};
use recrash_vmcore::VirtAddr;
use serde::Serialize;

use super::super::Outcome;
use super::reply::{Hex, Reply, clean};
use super::session::Session;

/// More modules than a kernel can load in practice.
const MAX_MODULES: usize = 4096;
/// `taint_flags` of kernel/panic.c: the letters by bit.
const TAINTS: &[u8] = b"PFSRMBUDAWCIOELKXTNJ";
/// MODULE_STATE_LIVE and what follows it (include/linux/module.h).
const STATES: [&str; 4] = ["live", "coming", "going", "unformed"];

/// Lists the modules.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Taint flags
    #[arg(short)]
    taints: bool,
    /// Only this one
    name: Option<String>,
}

#[derive(Debug, Serialize)]
struct Modules {
    modules: Vec<Module>,
    #[serde(skip)]
    taints: bool,
    /// Whether a module's text has a region of its own (since 6.4).
    #[serde(skip)]
    split: bool,
}

#[derive(Debug, Serialize)]
struct Module {
    module: Hex,
    name: String,
    base: Hex,
    /// Bytes.
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    taints: String,
    /// Whether recrash found its symbols, types and unwind tables in the dump.
    symbols: bool,
    types: bool,
    unwinding: bool,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let kernel = session.kernel()?;
        let head = kernel
            .symbol("modules")
            .map_err(|missing| session.nothing(missing))?;
        let (objects, cut) = list_entries(kernel, head, "module", "list", MAX_MODULES);
        let mut missing: Vec<String> = cut.iter().map(ToString::to_string).collect();
        let mut modules = Vec::new();
        for object in objects {
            match read(kernel, object) {
                Ok(module) => modules.push(module),
                Err(why) => missing.push(format!("module at {}: {why}", object.at)),
            }
        }
        modules.sort_by_key(|module| module.module);
        if let Some(name) = &self.name {
            modules.retain(|module| module.name == *name);
            if modules.is_empty() {
                return Err(crate::failure::Failure::usage(anyhow::anyhow!(
                    "no module {name:?} was loaded"
                )));
            }
        }
        let found = Modules {
            modules,
            taints: self.taints,
            split: kernel.field("module", "core_layout.base").is_err(),
        };
        session.show(&found, &missing)
    }
}

fn read(kernel: &Kernel<'_>, object: Object<'_>) -> Result<Module, Missing> {
    let name = object.char_array("name")?;
    let (base, size) = region(object)?;
    let known = kernel.modules().iter().find(|module| module.name == name);
    let state = object
        .u64("state")
        .ok()
        .and_then(|state| usize::try_from(state).ok());
    Ok(Module {
        module: object.at.into(),
        base: base.into(),
        size,
        state: state.and_then(|state| STATES.get(state).copied()),
        taints: object.u64("taints").map(letters).unwrap_or_default(),
        symbols: known.is_some_and(|module| !module.symbols(kernel).is_empty()),
        types: kernel.types().modules().any(|module| module == name),
        unwinding: known.is_some_and(|module| module.orc.is_some()),
        name,
    })
}

/// Since 6.4 a module has several regions (commit ac3b43283923 "module: replace module_layout with
/// module_memory"); crash shows where the text is, and the size of all.
fn region(object: Object<'_>) -> Result<(VirtAddr, u64), Missing> {
    if object.has("core_layout.base") {
        return Ok((
            object.ptr("core_layout.base")?,
            object.u64("core_layout.size")?,
        ));
    }
    let base = object.ptr("mem[0].base")?;
    let mut size: u64 = 0;
    for index in 0..8 {
        match object.u64(&format!("mem[{index}].size")) {
            Ok(more) => size = size.saturating_add(more),
            Err(_) => break,
        }
    }
    Ok((base, size))
}

fn letters(taints: u64) -> String {
    TAINTS
        .iter()
        .enumerate()
        .filter(|(bit, _)| taints >> bit & 1 == 1)
        .map(|(_, letter)| char::from(*letter))
        .collect()
}

impl Reply for Modules {
    const KIND: &'static str = "mod";

    fn text(&self) -> String {
        let width = |wanted: usize| {
            let names = self
                .modules
                .iter()
                .map(|module| module.name.chars().count());
            names.max().unwrap_or(0).max(wanted)
        };
        if self.taints {
            return self.tainted();
        }
        let width = width(4);
        let base = if self.split { "TEXT_BASE" } else { "BASE" };
        let mut text = format!(
            "{:^16}  {:<width$}  {base:^16}  {:>6}  STATE\n",
            "MODULE", "NAME", "SIZE"
        );
        for module in &self.modules {
            text.push_str(&format!(
                "{:16x}  {:<width$}  {:16x}  {:>6}  {}\n",
                module.module.0,
                clean(&module.name),
                module.base.0,
                module.size,
                module.state.unwrap_or("?")
            ));
        }
        text
    }
}

impl Modules {
    fn tainted(&self) -> String {
        let tainted = || {
            self.modules
                .iter()
                .filter(|module| !module.taints.is_empty())
        };
        let width = tainted().map(|module| module.name.chars().count()).max();
        let width = width.unwrap_or(0).max(4);
        let mut text = format!("{:<width$}  TAINTS\n", "NAME");
        for module in tainted() {
            text.push_str(&format!(
                "{:<width$}  {}\n",
                clean(&module.name),
                module.taints
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(taints: bool, expected: &str) {
        let module = Module {
            module: Hex(0xffff_ffff_c060_c180),
            name: "repro".into(),
            base: Hex(0xffff_ffff_c060_8000),
            size: 24_576,
            state: Some("live"),
            taints: "OE".into(),
            symbols: true,
            types: true,
            unwinding: true,
        };
        let modules = Modules {
            modules: vec![module],
            taints,
            split: false,
        };
        assert_eq!(modules.text(), expected);
    }

    #[test]
    fn the_columns_are_those_of_crash() {
        check(
            false,
            "     MODULE       NAME         BASE          SIZE  STATE\n\
             ffffffffc060c180  repro  ffffffffc0608000   24576  live\n",
        );
        check(true, "NAME   TAINTS\nrepro  OE\n");
    }

    #[test]
    fn taints_are_the_kernel_s_letters() {
        assert_eq!(letters(0), "");
        assert_eq!(letters(1 << 12 | 1 << 13), "OE");
        assert_eq!(letters(u64::MAX).len(), TAINTS.len());
    }
}
