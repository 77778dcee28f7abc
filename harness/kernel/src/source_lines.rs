//! Source lines and inlined functions of code addresses. Undoes KASLR and finds the section of a module that an
//! address lies in; the debug information itself is fetched by whoever has the files ([`DebugInfo`]).
use crate::kernel::Kernel;
use crate::modules::Module;
use crate::object::{Missing, Object, list_entries};
use recrash_debuginfo::dwarf::SourceFrame;
use recrash_debuginfo::vmlinux::gnu_build_id;
use recrash_vmcore::VirtAddr;

/// More sections than a module has.
const MAX_SECTIONS: u64 = 4096;
/// More modules than a kernel can load in practice.
const MAX_MODULES: usize = 4096;
/// More notes than a kernel or module carries, in bytes.
const MAX_NOTES: u64 = 64 << 10;
/// The section that holds a module's build id.
const BUILD_ID_SECTION: &str = ".note.gnu.build-id";

/// What debug information is asked about. Whether the file at hand is the one meant, its build id tells.
#[derive(Debug, Clone, Copy)]
pub enum CodeIn<'k> {
    /// The kernel image.
    Vmlinux {
        /// Of the kernel that crashed, where the dump says it.
        build_id: Option<&'k [u8]>,
        /// As linked, KASLR undone.
        address: u64,
    },
    /// A module.
    Module {
        /// As in `lsmod`.
        name: &'k str,
        /// Of the module that was loaded, where the dump says it.
        build_id: Option<&'k [u8]>,
        /// Section of the `.ko`.
        section: &'k str,
        /// Bytes from the section's start.
        offset: u64,
    },
}

/// Debug information of a kernel and its modules, fetched when it is asked for. Errors are said in words.
pub trait DebugInfo: std::fmt::Debug + Sync {
    /// The kernel's types as BTF. Asked only where the dump has none.
    ///
    /// # Errors
    /// Why there are none.
    fn types(&self, build_id: Option<&[u8]>) -> Result<Vec<u8>, String>;

    /// The functions at an address, innermost inlined one first.
    ///
    /// # Errors
    /// Why they are not known.
    fn frames(&self, code: CodeIn<'_>) -> Result<Vec<SourceFrame>, String>;
}

/// A section of a loaded module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSection {
    /// Name, for example `.text.unlikely`.
    pub name: String,
    /// Where it was loaded.
    pub at: VirtAddr,
}

impl Kernel<'_> {
    /// The functions at a code address, innermost inlined one first, with file and line. For a return address ask
    /// for one byte before ([`crate::unwind::CodeAddr::lookup`]).
    ///
    /// # Errors
    /// [`Missing`] where there is no debug information, or it knows nothing of the address.
    pub fn source_frames(&self, at: VirtAddr) -> Result<Vec<SourceFrame>, Missing> {
        let debug = self
            .sources()
            .debug
            .ok_or_else(|| Missing::DebugInfo("no debug information was given or found".into()))?;
        let module = self.modules().iter().find(|module| module.contains(at));
        let mut frames = match module {
            Some(module) => self.module_frames(debug, module, at)?,
            None => {
                let build_id = self.build_id();
                let code = CodeIn::Vmlinux {
                    build_id: build_id.as_deref(),
                    address: at.0.wrapping_sub(self.info().kernel_offset().unwrap_or(0)),
                };
                debug.frames(code).map_err(Missing::DebugInfo)?
            }
        };
        if frames.is_empty() {
            let what = format!("the debug information has no line for {at}");
            return Err(Missing::DebugInfo(what));
        }
        // Assembly has lines but often no function; the symbol says which it is.
        if let Some(last) = frames.last_mut().filter(|last| last.function.is_empty()) {
            last.function = self.place(at).map(|place| place.symbol).unwrap_or_default();
        }
        Ok(frames)
    }

    fn module_frames(
        &self,
        debug: &dyn DebugInfo,
        module: &Module,
        at: VirtAddr,
    ) -> Result<Vec<SourceFrame>, Missing> {
        let sections = self.module_sections(&module.name)?;
        let below = sections.iter().filter(|section| section.at <= at);
        let section = below.max_by_key(|section| section.at).ok_or_else(|| {
            Missing::Implausible(format!("{at} lies in no section of module {}", module.name))
        })?;
        let build_id = self.module_build_id(&sections);
        let code = CodeIn::Module {
            name: &module.name,
            build_id: build_id.as_deref(),
            section: &section.name,
            offset: at.0.wrapping_sub(section.at.0),
        };
        debug.frames(code).map_err(Missing::DebugInfo)
    }

    /// The build id of the kernel that crashed: from VMCOREINFO (since 5.9), else from its notes in memory.
    #[must_use]
    pub fn build_id(&self) -> Option<Vec<u8>> {
        if let Some(id) = self.info().build_id().and_then(from_hex) {
            return Some(id);
        }
        let (from, to) = (self.symbol("__start_notes"), self.symbol("__stop_notes"));
        let (from, to) = (from.ok()?, to.ok()?);
        let size = to.0.checked_sub(from.0).filter(|size| *size <= MAX_NOTES)?;
        let notes = self.table(from, size, "notes").ok()?;
        gnu_build_id(&notes).map(<[u8]>::to_vec)
    }

    /// The sections of a loaded module, as `/sys/module/NAME/sections` shows them (kernel/module/sysfs.c).
    ///
    /// # Errors
    /// [`Missing`] where the module or its list of sections cannot be read.
    pub fn module_sections(&self, name: &str) -> Result<Vec<ModuleSection>, Missing> {
        let head = self.symbol("modules")?;
        let (modules, cut) = list_entries(self, head, "module", "list", MAX_MODULES);
        let is_it = |module: &&Object<'_>| module.char_array("name").is_ok_and(|n| n == name);
        let module = modules.iter().find(is_it).ok_or_else(|| {
            cut.unwrap_or_else(|| Missing::Implausible(format!("no module {name} is loaded")))
        })?;
        let attributes = module
            .follow("sect_attrs", "module_sect_attrs")?
            .ok_or_else(|| Missing::Implausible(format!("module {name} lists no sections")))?;
        if self.types().size_of("module_sect_attr").is_some() {
            self.listed_sections(&attributes)
        } else {
            self.grouped_sections(&attributes)
        }
    }

    /// Up to 6.13: an array, counted by `nsections`. The name was a string of its own before it became that of a
    /// binary attribute ("module: Refactor section attr into bin attribute", v5.8).
    fn listed_sections(&self, attributes: &Object<'_>) -> Result<Vec<ModuleSection>, Missing> {
        let row = self.types().size_of("module_sect_attr").unwrap_or(0);
        let count = attributes.u64("nsections")?;
        if count > MAX_SECTIONS {
            let what = format!("a module with {count} sections");
            return Err(Missing::Implausible(what));
        }
        let first = attributes.addr_of("attrs")?;
        let section = |number: u64| {
            let at = first.wrapping_add(number.wrapping_mul(row));
            let row = Object::new(self, "module_sect_attr", at);
            let name = if row.has("battr") {
                row.string("battr.attr.name", 256)?
            } else {
                row.string("name", 256)?
            };
            Ok(ModuleSection {
                name: name.unwrap_or_default(),
                at: row.ptr("address")?,
            })
        };
        (0..count).map(section).collect()
    }

    /// Since 6.14 ("module: sysfs: Drop 'struct module_sect_attr'"): the attributes of the group, ended by NULL.
    fn grouped_sections(&self, attributes: &Object<'_>) -> Result<Vec<ModuleSection>, Missing> {
        let list = attributes.ptr("grp.bin_attrs")?;
        let mut sections = Vec::new();
        for number in 0..MAX_SECTIONS {
            let mut slot = [0; 8];
            self.read_into(list.wrapping_add(number * 8), &mut slot, || {
                "a module's section attributes".into()
            })?;
            let at = VirtAddr(u64::from_le_bytes(slot));
            if at.0 == 0 {
                break;
            }
            let attribute = Object::new(self, "bin_attribute", at);
            sections.push(ModuleSection {
                name: attribute.string("attr.name", 256)?.unwrap_or_default(),
                at: attribute.ptr("private")?,
            });
        }
        Ok(sections)
    }

    fn module_build_id(&self, sections: &[ModuleSection]) -> Option<Vec<u8>> {
        let notes = sections.iter().find(|s| s.name == BUILD_ID_SECTION)?;
        // Header, `GNU`, SHA-1: what every linker writes.
        let notes = self.table(notes.at, 36, "a module's build id").ok()?;
        gnu_build_id(&notes).map(<[u8]>::to_vec)
    }
}

/// Bytes written in hexadecimal; `None` for anything else.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let text = text.trim().as_bytes();
    let pair = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    (!text.is_empty() && text.len() % 2 == 0).then(|| text.chunks(2).map(pair).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_is_read_from_hexadecimal_or_not_at_all() {
        assert_eq!(from_hex("00fF7c"), Some(vec![0, 0xff, 0x7c]));
        for odd in ["", "0", "0g", "+1", "é"] {
            assert_eq!(from_hex(odd), None);
        }
    }
}
