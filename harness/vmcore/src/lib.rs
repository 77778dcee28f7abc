//! Reads x86-64 vmcores: bytes to physical to virtual memory.
