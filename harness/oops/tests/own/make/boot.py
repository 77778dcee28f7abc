#!/usr/bin/env python3
"""boot.py FOLDER BUG LOG [SECONDS] [KERNEL ARGUMENT ...]

One boot that provokes one bug. FOLDER holds vmlinuz, provoke.ko and init. The console goes to LOG. It ends when the
kernel restarts (panic=-1 with -no-reboot) or after SECONDS.
"""
import os
import subprocess
import sys
import tempfile


def entry(name, mode, data=b"", device=(0, 0)):
    """One file of a cpio archive, newc format."""
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def initramfs(folder):
    read = lambda name: open(os.path.join(folder, name), "rb").read()
    return b"".join([
        entry("dev", 0o040755), entry("dev/console", 0o020600, device=(5, 1)), entry("proc", 0o040755),
        entry("init", 0o100755, read("init")), entry("provoke.ko", 0o100644, read("provoke.ko")),
        entry("TRAILER!!!", 0),
    ])


folder, bug, log, seconds, *more = [*sys.argv[1:4], *(sys.argv[4:] or ["40"])]
with tempfile.NamedTemporaryFile() as archive:
    archive.write(initramfs(folder))
    archive.flush()
    try:
        subprocess.run([
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35", "-accel", "tcg", "-cpu", "max,la57=off", "-m", "256",
            "-smp", os.environ.get("SMP", "2"), "-kernel", os.path.join(folder, "vmlinuz"),
            "-initrd", archive.name, "-serial", f"file:{log}",
            "-append", " ".join(["console=ttyS0 oops=panic panic=-1", *more, f"bug={bug}"]),
        ], timeout=float(seconds), check=True)
    except subprocess.TimeoutExpired:
        print(f"{bug}: stopped after {seconds} s")
