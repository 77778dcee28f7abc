//! Memory and debug information to facts about a Linux kernel.
