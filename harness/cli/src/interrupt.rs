//! SIGINT and SIGTERM: the first one asks the run to stop, which reaps QEMU; the second one ends
//! `recrash` at once (QEMU then dies with it). Decides nothing about the run.
use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::exit::Exit;

/// A flag that becomes true on the first signal.
pub(crate) fn stop_flag() -> Result<Arc<AtomicBool>> {
    stop_flag_with(Exit::Inconclusive)
}

/// The same; the second signal ends `recrash` with this code.
pub(crate) fn stop_flag_with(at_once: Exit) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the shutdown looks at the flag before the second handler sets it.
        signal_hook::flag::register_conditional_shutdown(signal, at_once as i32, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .with_context(|| format!("cannot handle signal {signal}"))?;
    }
    Ok(stop)
}
