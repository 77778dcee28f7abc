fn main() {
    let file = std::env::args().nth(1).unwrap();
    let dump = recrash_vmcore::Vmcore::open(std::path::Path::new(&file)).unwrap();
    let kernel = recrash_kernel::Kernel::open(&dump, dump.vmcoreinfo().unwrap(), dump.prstatus()).unwrap();
    for name in ["__per_cpu_end", "__per_cpu_start", "this_cpu_off", "pcpu_hot", "current_task", "print_fmt_kmalloc", "print_fmt_kmem_alloc", "event_kmalloc", "print_fmt_mm_page_alloc", "___GFP_DMA_BIT"] {
        println!("{name} {:?}", kernel.symbol(name));
    }
    println!("{:?}", kernel.place(recrash_vmcore::VirtAddr(0x19a18)));
    println!("{:?}", kernel.types().enum_value("___GFP_ZERO_BIT"));
    for f in ["__kmalloc_noprof","__kmalloc","kmalloc_slab", "__kmalloc_cache_noprof", "kmem_cache_alloc_noprof", "__kmem_cache_alloc_node"] { println!("{f} {:?}", kernel.types().func_proto(f)); }
    println!("{:?} {:?}", kernel.types().variable_type("pcpu_hot"), kernel.types().variable_type("current_task"));
    for name in ["print_fmt_kmalloc", "print_fmt_kmem_alloc"] { if let Ok(at) = kernel.symbol(name) { use recrash_vmcore::VirtMem; println!("{}", kernel.memory().cstr(at, 8000).unwrap()); } }
}
