//! What was seen: of a run, of the memory of one with SLUB debugging. Settled and in plain words, so that it can be kept
//! and told; filled by `extract::stale` and the command. Decides nothing.
use serde::{Deserialize, Serialize};

use super::wire::Wire;

/// How a run ended, against the control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "kebab-case")]
pub(crate) enum Effect {
    /// The same bug as the control's, or the golden's.
    Same {
        /// The crash.
        title: String,
    },
    /// Another crash.
    Other {
        /// The crash.
        title: String,
    },
    /// The kernel survived, and the device and the fault were at work.
    NoCrash,
    /// The kernel survived, or died of what was found, and its memory was read.
    Read {
        /// The kernel's message, where it died of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// The run says nothing.
    Nothing {
        /// Why.
        why: String,
    },
}

/// Everything that experiments showed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The memory of the run with SLUB debugging.
    pub(crate) memory: Option<Memory>,
    /// What the device was asked and answered in that run.
    pub(crate) wire: Option<Wire>,
}

/// What the memory of a run with SLUB debugging tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Free objects that were written to.
    pub(crate) objects: Vec<WrittenObject>,
    /// The caches that were debugged.
    pub(crate) caches: Vec<String>,
    /// The kernel's clock when it died, in jiffies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jiffies: Option<u64>,
    /// Nanoseconds a jiffy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tick_ns: Option<u64>,
    /// What could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) missing: Vec<String>,
}

/// A free object that was written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WrittenObject {
    /// Its address, in hexadecimal.
    pub(crate) address: String,
    /// Its cache.
    pub(crate) cache: String,
    /// Bytes of an object.
    pub(crate) object_size: u64,
    /// The first byte that was written, from the object's start.
    pub(crate) start: u64,
    /// One past the last.
    pub(crate) end: u64,
    /// These bytes in hexadecimal, without spaces.
    pub(crate) bytes: String,
    /// What they are, in words.
    pub(crate) what: String,
    /// Whether they are something that a USB device sends, by their form or by a device's own copy.
    pub(crate) sent_by_device: bool,
    /// Whether everything around the object is as SLUB left it.
    pub(crate) alone: bool,
    /// Who allocated it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allocated: Option<Hand>,
    /// Who freed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) freed: Option<Hand>,
    /// Requests in memory whose buffer it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) urbs: Vec<Request>,
}

/// Who allocated or freed an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hand {
    /// The function that called the allocator.
    pub(crate) function: Function,
    /// Process id.
    pub(crate) pid: i32,
    /// CPU.
    pub(crate) cpu: u32,
    /// When, in jiffies.
    pub(crate) jiffies: u64,
    /// The call path, innermost first, the allocator's own functions included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) path: Vec<Function>,
    /// Why there is no path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_path: Option<String>,
}

/// A function, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Function {
    /// Its symbol; an address where none is known.
    pub(crate) name: String,
    /// Bytes from its start.
    pub(crate) offset: u64,
    /// The module that has it; absent for the kernel image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) module: Option<String>,
}

impl Function {
    /// `function [module]`.
    pub(crate) fn short(&self) -> String {
        match &self.module {
            Some(module) => format!("{} [{module}]", self.name),
            None => self.name.clone(),
        }
    }

    /// `function+0x1b [module]`.
    pub(crate) fn long(&self) -> String {
        let module = self.module.as_ref().map(|module| format!(" [{module}]"));
        format!(
            "{}+{:#x}{}",
            self.name,
            self.offset,
            module.unwrap_or_default()
        )
    }

    /// The name as the source has it: what the compiler appends to parts and clones of a function is left out.
    pub(crate) fn source_name(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }
}

/// A request in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Address of its `struct urb`, in hexadecimal.
    pub(crate) address: String,
    /// The device, as in sysfs.
    pub(crate) device: String,
    /// What it asks, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) setup: Option<String>,
    /// Whether it is still in flight.
    pub(crate) in_flight: bool,
    /// 0 or a negative error number.
    pub(crate) status: i32,
    /// Bytes that arrived.
    pub(crate) actual_length: u32,
    /// The function that is called at its end.
    pub(crate) complete: String,
    /// Whether its own memory is still allocated; a freed one says what was.
    pub(crate) allocated: bool,
}
