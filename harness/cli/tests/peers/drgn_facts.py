"""What drgn says about a dump, as one JSON object on standard output.

Run by drgn itself: drgn -q -c DUMP -s VMLINUX [-s MODULE]... drgn_facts.py

frames:  of the task that crashed, innermost first, inlined ones included
structs: {type, address, value} of objects whose every member is then compared
failed:  what drgn could not say, and why
"""

import json
import sys

from bisect import bisect_right

from drgn import Object, TypeKind, cast
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.idr import idr_for_each
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.percpu import per_cpu, per_cpu_ptr
from drgn.helpers.linux.sched import cpu_curr

FACTS = {"frames": [], "structs": [], "failed": []}


def attempt(what, function):
    """Runs it; one object that cannot be read must not hide the others."""
    try:
        return function()
    except Exception as error:  # whatever drgn raises is its answer
        FACTS["failed"].append(f"{what}: {type(error).__name__}: {error}")
        return None


def symbols_by_address():
    found = {}
    for symbol in prog.symbols():
        found.setdefault(symbol.address, []).append(symbol.name)
    return sorted(found), found


def frame_fact(frame, addresses, names):
    """labels: names of the nearest symbol, which may be a label inside the function (entry_SYSCALL_64_after_hwframe
    lies in entry_SYSCALL_64): kallsyms, and so the kernel's own oops, names that one."""
    look_up = frame.pc if frame.interrupted else frame.pc - 1
    nearest = bisect_right(addresses, look_up)
    return {
        "pc": frame.pc,
        "name": frame.name,
        "labels": names[addresses[nearest - 1]] if nearest else [],
        "inlined": frame.is_inline,
    }


def frames(task):
    addresses, names = symbols_by_address()
    for frame in prog.stack_trace(task):
        # User space's part of the stack is not the kernel's.
        if frame.pc < 1 << 63:
            break
        FACTS["frames"].append(frame_fact(frame, addresses, names))


def enumerator(obj, type_):
    value = obj.value_()
    names = [name for name, number in type_.enumerators if number == value]
    return {"value": value, "names": names}


def plain(obj):
    """An object as JSON has it. Char arrays stay numbers; members of anonymous members become the parent's, as in C."""
    type_ = obj.type_
    while type_.kind == TypeKind.TYPEDEF:
        type_ = type_.type
    if type_.kind in (TypeKind.STRUCT, TypeKind.UNION, TypeKind.CLASS):
        if type_.members is None:
            return {}
        members = {}
        for member in type_.members:
            value = plain(obj.member_(member.name) if member.name else anonymous(obj, member))
            if member.name:
                members[member.name] = value
            else:
                members.update(value)
        return members
    if type_.kind == TypeKind.ARRAY:
        if not type_.length:
            return []
        element = type_.type
        while element.kind == TypeKind.TYPEDEF:
            element = element.type
        if element.kind in (TypeKind.INT, TypeKind.BOOL):
            return obj.value_()
        return [plain(obj[index]) for index in range(type_.length)]
    if type_.kind == TypeKind.ENUM and type_.enumerators is not None:
        return enumerator(obj, type_)
    value = obj.value_()
    # Readers of JSON keep no integers of more than 64 bits.
    return hex(value) if type_.size > 8 and isinstance(value, int) else value


def anonymous(obj, member):
    return Object(prog, member.type, address=obj.address_ + member.bit_offset // 8)


def struct(what, find):
    def record():
        pointer = find()
        if not pointer:
            return
        FACTS["structs"].append(
            {
                "what": what,
                "type": pointer.type_.type.type_name().removeprefix("struct "),
                "address": pointer.value_(),
                "value": plain(pointer[0]),
            }
        )

    attempt(what, record)


def cache(name):
    for candidate in list_for_each_entry(
        "struct kmem_cache", prog["slab_caches"].address_of_(), "list"
    ):
        if candidate.name.string_() == name.encode():
            return candidate
    return None


def devices_below(device, depth=0):
    """The hub itself and all that is plugged into it (a hub's usb_hub is its interface's driver data)."""
    yield device
    if depth > 6 or not device.maxchild or not device.actconfig:
        return
    data = device.actconfig.interface[0].dev.driver_data
    hub = cast("struct usb_hub *", data)
    if not hub:
        return
    for port in range(int(device.maxchild)):
        child = hub.ports[port].child
        if child:
            yield from devices_below(child, depth + 1)


def usb_devices():
    for _, bus in idr_for_each(prog["usb_bus_idr"].address_of_()):
        bus = cast("struct usb_bus *", bus)
        yield from devices_below(bus.root_hub)


def structs(task):
    struct("crashed task", lambda: task)
    struct("its mm", lambda: task.mm)
    struct("its credentials", lambda: cast("struct cred *", task.cred))
    struct("its signals", lambda: task.signal)
    struct("its files", lambda: task.files)
    struct("init_task", lambda: prog["init_task"].address_of_())
    struct("init_uts_ns", lambda: prog["init_uts_ns"].address_of_())
    struct("log", lambda: prog["prb"])
    for name in ("kmalloc-256", "task_struct", "kmalloc-rnd-01-256"):
        struct(f"cache {name}", lambda: cache(name))
        struct(f"node of {name}", lambda: cache(name) and cache(name).node[0])
    for cpu in for_each_online_cpu(prog):
        struct(
            f"kmalloc-256 on CPU {cpu}",
            lambda: per_cpu_ptr(cache("kmalloc-256").cpu_slab, cpu),
        )
        struct(
            f"run queue of CPU {cpu}",
            lambda: per_cpu(prog["runqueues"], cpu).address_of_(),
        )
    modules = attempt(
        "modules",
        lambda: list(
            list_for_each_entry("struct module", prog["modules"].address_of_(), "list")
        ),
    )
    for module in (modules or [])[:4]:
        struct(f"module {module.name.string_().decode()}", lambda: module)
    devices = attempt("usb devices", lambda: list(usb_devices()))
    for device in devices or []:
        struct("usb device", lambda: device)


crashed = attempt("crashed thread", lambda: prog.crashed_thread().object)
if crashed is None:
    # Nothing crashed: crash and recrash show what CPU 0 ran.
    crashed = attempt("task of CPU 0", lambda: cpu_curr(prog, 0))
if crashed is not None:
    attempt("stack", lambda: frames(crashed))
    structs(crashed)
json.dump(FACTS, sys.stdout)
