"""Writes what drgn and crash say of the crash that `recrash run` makes, without addresses: the text that the
end-to-end tests hold recrash against where no peer is installed.

    for each of some boots: crash VMLINUX DUMP < bt > BT
    drgn -q -c DUMP -s VMLINUX -s usbcore.ko... drgn_expected.py BT... > expected/debian-6.1.txt
                                                                        (or expected/el8-layout.txt)

Of the registers only those are kept that have the same value in every boot (KASLR moves the others).
"""

import re
import sys

from bisect import bisect_right

from drgn import TypeKind
from drgn.helpers.linux.list import list_for_each_entry

CACHE = "kmalloc-256"
LAYOUTS = """task_struct mm_struct signal_struct files_struct cred kmem_cache kmem_cache_cpu kmem_cache_node slab page
module pt_regs printk_ringbuffer printk_info list_head rq file inode dentry usb_device urb usb_hcd usb_bus""".split()
# What a kernel does not have (5.10: struct slab; 6.1: task_struct.state) is left out.
VALUES = {
    "kmem_cache": """flags min_partial size object_size offset cpu_partial oo.x min.x allocflags refcount inuse align
        red_left_pad useroffset usersize""",
    "task_struct": """comm thread_info.cpu thread_info.status __state state cpu on_cpu on_rq prio static_prio normal_prio
        rt_priority policy nr_cpus_allowed exit_state exit_code in_execve personality""",
}


def members(type_):
    """Named members of a struct with their offsets and sizes, bit fields and members of anonymous ones left out."""
    for member in type_.members:
        if member.name and member.bit_field_size is None:
            yield member.name, member.bit_offset // 8


def layout(name):
    try:
        type_ = prog.type(f"struct {name}")
    except LookupError:
        return
    print(f"sizeof {name} {type_.size}")
    for member, offset in members(type_):
        print(f"offsetof {name}.{member} {offset}")


def value(obj, path):
    for name in path.split("."):
        try:
            obj = obj.member_(name)
        except LookupError:
            return None
    kind = obj.type_
    while kind.kind == TypeKind.TYPEDEF:
        kind = kind.type
    if kind.kind in (TypeKind.ARRAY, TypeKind.POINTER):
        return '"' + obj.string_().decode() + '"'
    return int(obj)


def registers(texts):
    boots = []
    for text in texts:
        exception = text.split("[exception RIP:")[1]
        exception = exception[: exception.index("\n #")]
        pairs = re.findall(r"([A-Z_0-9]+): +([0-9a-f]+)", exception)
        boots.append({name.lower(): int(number, 16) for name, number in pairs})
    for name, number in boots[0].items():
        if all(boot.get(name) == number for boot in boots):
            print(f"register {name} {number:#x}")


symbols = {}
for symbol in prog.symbols():
    symbols.setdefault(symbol.address, set()).add(symbol.name)
addresses = sorted(symbols)
thread = prog.crashed_thread().object
print("# Written by drgn_expected.py out of drgn's and crash's answers.")
print("release", prog["init_uts_ns"].name.release.string_().decode())
for frame in prog.stack_trace(thread):
    if frame.is_inline or frame.pc < 1 << 63:
        continue
    look_up = frame.pc if frame.interrupted else frame.pc - 1
    # The nearest symbol, as kallsyms and the kernel's own oops have it: it may be a label inside drgn's function.
    nearest = addresses[bisect_right(addresses, look_up) - 1]
    print(f"frame {'|'.join(sorted(symbols[nearest]))}+{frame.pc - nearest:#x}")
registers([open(name).read() for name in sys.argv[1:]])
for name in LAYOUTS:
    layout(name)
caches = list_for_each_entry("struct kmem_cache", prog["slab_caches"].address_of_(), "list")
objects = {
    "kmem_cache": next(c for c in caches if c.name.string_() == CACHE.encode())[0],
    "task_struct": thread[0],
}
for name, paths in VALUES.items():
    for path in paths.split():
        found = value(objects[name], path)
        if found is not None:
            print(f"value {name}.{path} {found}")
