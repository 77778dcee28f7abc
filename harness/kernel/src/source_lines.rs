//! Source lines and inlined functions of code addresses. Undoes KASLR and finds the section of a module that an
//! address lies in; the debug information itself is fetched by whoever has the files ([`DebugInfo`]).
use crate::kernel::Kernel;
use crate::modules::Module;
use crate::object::Missing;
use recrash_debuginfo::dwarf::SourceFrame;
use recrash_vmcore::VirtAddr;

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

    /// A module's types as BTF that stands by itself, without the kernel's as base. Asked only where the kernel's
    /// own types are from DWARF too. `None` where no debug information of the module is at hand.
    ///
    /// # Errors
    /// Why the debug information that is at hand gives none.
    fn module_types(&self, name: &str, build_id: &[u8]) -> Result<Option<Vec<u8>>, String>;

    /// The functions at an address, innermost inlined one first.
    ///
    /// # Errors
    /// Why they are not known.
    fn frames(&self, code: CodeIn<'_>) -> Result<Vec<SourceFrame>, String>;
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
        let module = self.module_at(at);
        let mut frames = match module {
            Some(module) => self.module_frames(debug, module, at)?,
            None => {
                let build_id = self.build_id();
                let code = CodeIn::Vmlinux {
                    build_id: build_id.as_deref(),
                    address: at.0.wrapping_sub(self.kaslr()?),
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
        let sections = module.sections(self)?;
        let below = sections.iter().filter(|section| section.at <= at);
        let section = below.max_by_key(|section| section.at).ok_or_else(|| {
            Missing::Implausible(format!("{at} lies in no section of module {}", module.name))
        })?;
        let build_id = module.build_id(self).ok();
        let code = CodeIn::Module {
            name: &module.name,
            build_id: build_id.as_deref(),
            section: &section.name,
            offset: at.0.wrapping_sub(section.at.0),
        };
        debug.frames(code).map_err(Missing::DebugInfo)
    }
}
