//! An added kernel made ready for runs: its files checked, repro.ko built if its sources have changed, makedumpfile
//! fetched. The counterpart of [`super::super::provide`] for kernels that apt does not bring.
use super::build::Kernel;
use super::record::Record;
use super::{Added, Store};
use crate::setup::cache::Cache;
use crate::setup::doctor::{Check, Status};
use crate::setup::{Provisioned, SetupError, SetupEvent, SetupOptions, host, root, tools};
use crate::target::Target;
use std::path::{Path, PathBuf};

/// Makes everything ready that a run needs.
pub(in crate::setup) fn ensure(
    target: &Target,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<Provisioned, SetupError> {
    let added = Store::find()?.open(&target.name)?;
    added.verify(options.verify)?;
    let sources = root::find()?.join("repro-module");
    let kernel = Kernel {
        folder: &added.folder,
        record: &added.record,
        sources: &sources,
    };
    let cache = Cache::find()?;
    let _held = cache.exclusive(on)?;
    cache.sweep()?;
    let module_ko = complete(&kernel, target, &cache, options, on)?;
    provisioned(&added, target, &cache, module_ko)
}

/// What [`ensure`] has made ready before; changes nothing.
pub(in crate::setup) fn load(target: &Target) -> Result<Provisioned, SetupError> {
    let added = Store::find()?.open(&target.name)?;
    added.verify(false)?;
    let sources = root::find()?.join("repro-module");
    let cache = Cache::find()?;
    let missing = |what: &str| SetupError::NotSetUp {
        target: target.name.clone(),
        missing: what.into(),
    };
    let kernel = Kernel {
        folder: &added.folder,
        record: &added.record,
        sources: &sources,
    };
    let module_ko = kernel.place(&cache)?;
    if !module_ko.is_file() {
        return Err(missing("the built repro-module is"));
    }
    let package = target.capture.makedumpfile.as_deref();
    if package.is_some_and(|package| tools::load(package, &cache).is_none()) {
        return Err(missing("makedumpfile is"));
    }
    provisioned(&added, target, &cache, module_ko)
}

/// What the host must bring beside the kernel: programs, makedumpfile, repro.ko. Returns that.
pub(super) fn complete(
    kernel: &Kernel<'_>,
    target: &Target,
    cache: &Cache,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<PathBuf, SetupError> {
    let missing = host::missing(&kernel.needs())?;
    host::install(&missing, options.install_host_packages, on)?;
    if let Some(package) = &target.capture.makedumpfile {
        tools::ensure(package, cache, options, on)?;
    }
    kernel.provide(cache, on)
}

fn provisioned(
    added: &Added,
    target: &Target,
    cache: &Cache,
    module_ko: PathBuf,
) -> Result<Provisioned, SetupError> {
    let record = &added.record;
    let mut packages = record.packages.clone();
    let package = target.capture.makedumpfile.as_deref();
    let tools = package.and_then(|package| tools::load(package, cache));
    let mut makedumpfile = None;
    if let Some(tools) = tools {
        makedumpfile = Some(tools.files()?);
        packages.extend(tools.packages);
    }
    Ok(Provisioned {
        kernel_release: record.release.clone(),
        bzimage: added.path(&record.image),
        config: record.config.as_ref().map(|file| added.path(file)),
        modules_dir: added.path(&record.modules),
        module_ko,
        makedumpfile,
        debug_dir: added.debug_dir(),
        packages,
        qemu: host::qemu()?,
        cache: cache.root().into(),
    })
}

/// What `recrash doctor` says of an added kernel.
pub(in crate::setup) fn checks(target: &Target, cache: &Cache) -> Vec<Check> {
    let check = |name, problem: Result<String, SetupError>, fix: &str| match problem {
        Ok(detail) => Check {
            name,
            status: Status::Ok,
            detail,
            fix: None,
        },
        Err(error) => Check {
            name,
            status: Status::Missing,
            detail: error.to_string(),
            fix: Some(fix.into()),
        },
    };
    let again = "recrash target add, with --force";
    let added = Store::find().and_then(|store| store.open(&target.name));
    let added = match added {
        Ok(added) => added,
        Err(error) => return vec![check("kernel", Err(error), again)],
    };
    let set_up = format!("recrash setup --target {}", target.name);
    let kernel = added
        .verify(false)
        .map(|()| describe(&added.record, &added.folder));
    let mut out = vec![check("kernel", kernel, again)];
    out.push(check("module", module(&added, cache), &set_up));
    if let Some(package) = &target.capture.makedumpfile {
        let tools = tools::load(package, cache);
        let tools = tools
            .map(|tools| tools.tree.display().to_string())
            .ok_or_else(|| SetupError::NotSetUp {
                target: target.name.clone(),
                missing: format!("{package} is"),
            });
        out.push(check("makedumpfile", tools, &set_up));
    }
    out
}

fn describe(record: &Record, folder: &Path) -> String {
    format!(
        "{}, from {}, in {}",
        record.release,
        record.origin,
        folder.display()
    )
}

fn module(added: &Added, cache: &Cache) -> Result<String, SetupError> {
    let sources = root::find()?.join("repro-module");
    let kernel = Kernel {
        folder: &added.folder,
        record: &added.record,
        sources: &sources,
    };
    let file = kernel.place(cache)?;
    if file.is_file() {
        return Ok(file.display().to_string());
    }
    Err(SetupError::NotSetUp {
        target: added.name.clone(),
        missing: "the built repro-module is".into(),
    })
}
