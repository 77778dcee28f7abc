use recrash_kernel::{Kernel, Sources};
use recrash_vmcore::*;
use std::time::Instant;
struct Hide<'a> {
    inner: &'a dyn PhysMem,
    pages: std::collections::HashSet<u64>,
}
impl PhysMem for Hide<'_> {
    fn read(&self, at: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        if self.pages.contains(&(at.0 >> 12)) {
            return Err(ReadError::Excluded(at));
        }
        self.inner.read(at, buf)
    }
}
fn fp(k: &Kernel<'_>) -> (usize, u64) {
    use std::hash::{Hash, Hasher};
    let mut h = std::collections::hash_map::DefaultHasher::new();
    let mut n = 0;
    for s in k.symbols().filter(|s| s.module.is_none()) {
        (s.name, s.at.0, s.kind).hash(&mut h);
        n += 1;
    }
    (n, h.finish())
}
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dump = Vmcore::open(std::path::Path::new(&args[1])).unwrap();
    let info = dump.vmcoreinfo().unwrap();
    let t = Instant::now();
    let k = Kernel::open(&dump, info, dump.prstatus()).unwrap();
    println!(
        "open {:?} source {:?} types {:?} {:?} modules {}",
        t.elapsed(),
        k.symbol_source(),
        k.type_source(),
        fp(&k),
        k.modules().len()
    );
    println!("build id {:?} kaslr {:?}", k.build_id(), k.kaslr());
    for m in k.modules().iter().take(3) {
        println!(
            "{} {:?} {:?} syms {}",
            m.name,
            m.build_id(&k),
            m.sections(&k).map(|s| (s.len(), s.first().cloned())),
            m.symbols(&k).len()
        );
    }
    let _ = k.types();
    println!("notes {:?}", k.notes());
    let text: String = info
        .iter()
        .filter(|(key, _)| !key.contains("kallsyms") && *key != "BUILD-ID")
        .map(|(a, b)| format!("{a}={b}\n"))
        .collect();
    let silent = Vmcoreinfo::parse(text.as_bytes());
    let t = Instant::now();
    match Kernel::open(&dump, &silent, dump.prstatus()) {
        Ok(k2) => println!(
            "silent {:?} source {:?} {:?} build {:?} notes {:?}",
            t.elapsed(),
            k2.symbol_source(),
            fp(&k2),
            k2.build_id(),
            k2.notes()
        ),
        Err(e) => println!("silent: {e}"),
    }
    // Hide kallsyms, BTF, ORC
    let space = AddressSpace::kernel(&dump, info).unwrap();
    let mut pages = std::collections::HashSet::new();
    for (a, b) in [
        ("__start_BTF", "__stop_BTF"),
        ("__start_orc_unwind", "__stop_orc_unwind"),
    ] {
        if let (Ok(a), Ok(b)) = (k.symbol(a), k.symbol(b)) {
            let mut at = a.0 & !4095;
            while at < b.0 {
                if let Ok(p) = space.translate(VirtAddr(at)) {
                    pages.insert(p.0 >> 12);
                }
                at += 4096;
            }
        }
    }
    let only_btf = Hide {
        inner: &dump,
        pages: pages.clone(),
    };
    let t = Instant::now();
    match Kernel::open(&only_btf, info, dump.prstatus()) {
        Ok(k2) => println!(
            "no BTF {:?} types {:?} modules {} notes {:?}",
            t.elapsed(),
            k2.type_source(),
            k2.modules().len(),
            k2.notes()
        ),
        Err(e) => println!("no BTF: {e}"),
    }
    if let Some(at) = info.symbol("kallsyms_token_index").map(VirtAddr) {
        pages.insert(space.translate(at).unwrap().0 >> 12);
    } else if let Some(name) = args.get(3) {
        let at = VirtAddr(u64::from_str_radix(name, 16).unwrap());
        pages.insert(space.translate(at).unwrap().0 >> 12);
    }
    let hidden = Hide {
        inner: &dump,
        pages,
    };
    for path in args.get(2).iter().flat_map(|p| p.split(',')) {
        let bytes = std::fs::read(path).unwrap();
        let text = if path.contains("System.map") {
            std::str::from_utf8(&bytes).ok()
        } else {
            None
        };
        let sources = Sources {
            image: if text.is_some() { None } else { Some(&bytes) },
            system_map: text,
            ..Sources::default()
        };
        let t = Instant::now();
        match Kernel::open_with(&hidden, &silent, dump.prstatus(), &sources) {
            Ok(k2) => {
                let orc = k2.orc(
                    k2.symbol("__kmalloc")
                        .or(k2.symbol("__kmalloc_noprof"))
                        .unwrap()
                        .0
                        + 5,
                );
                println!(
                    "{path}: {:?} source {:?} types {:?} orc {} {:?} notes {:#?}",
                    t.elapsed(),
                    k2.symbol_source(),
                    k2.type_source(),
                    orc.is_some(),
                    fp(&k2),
                    k2.notes()
                )
            }
            Err(e) => println!("{path}: {e}"),
        }
    }
}
