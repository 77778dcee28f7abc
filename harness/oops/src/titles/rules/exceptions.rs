//! CPU exceptions and page faults (arch/x86/kernel/traps.c, arch/x86/mm/fault.c), `BUG()` (lib/bug.c) and the checks
//! that end in one; headlines of other machines where they say the same.
use crate::report::Kind::{Bug, Exception, Integrity, NullDereference, PagingRequest};
use crate::titles::rule::{
    FROM_REGISTERS, FROM_TRACE, NOWHERE, Pick, REGISTERS_ONLY, Rule, Step, TRACE, Trail, rule,
};

const ACCESS: &[&str] = &["bad-access in {f}"];
const OVERFLOW: &[&str] = &["stack-overflow in {f}"];

/// Where the page came from: the task that finds it is a bystander.
const PAGE_ORIGIN: Trail = Trail {
    ways: &[
        &[Step::Find("page last allocated"), Step::Stack],
        // Without page_owner=on nothing is known of the origin: then who gave the page back.
        &[TRACE, Step::Stack],
    ],
    skip: &[
        "(?:free|put|get|update|release)_page",
        "^_*free_pages|^bad_page",
        "free_unref",
        "^_*folio",
        "truncate_inode_pages",
        "page_frag_free",
        "alloc",
        "vmap",
        "page_owner",
    ],
    pick: Pick::First,
};
const RUST: Trail = Trail {
    ways: &[&[TRACE, Step::Stack]],
    skip: &["^__rustc", "^<?core::", "^rust_helper"],
    pick: Pick::First,
};

pub(super) const RULES: &[Rule] = &[
    // page faults
    rule(
        r"BUG: (?:unable to handle kernel paging request|unable to handle page fault for address|Unable to handle kernel data access)",
        "BUG: unable to handle kernel paging request in {f}", PagingRequest, FROM_REGISTERS,
    ).or(ACCESS),
    rule(
        r"BUG: (?:unable to handle kernel|[Kk]ernel) NULL pointer dereference",
        "BUG: unable to handle kernel NULL pointer dereference in {f}", NullDereference, FROM_REGISTERS,
    ).or(ACCESS),
    rule(r"BUG: [Uu]nable to handle kernel", "BUG: unable to handle kernel", PagingRequest, NOWHERE).remnant(),
    rule(r"Unable to handle kernel (NULL pointer dereference)", "BUG: unable to handle kernel {1} in {f}", NullDereference, FROM_REGISTERS)
        .or(ACCESS),
    rule(r"Unable to handle kernel (paging request|access to user memory)", "BUG: unable to handle kernel {1} in {f}", PagingRequest, FROM_REGISTERS)
        .or(ACCESS),
    rule(r"BUG: .*stack guard page was hit at", "BUG: stack guard page was hit in {f}", PagingRequest, FROM_REGISTERS.pick(Pick::Stall))
        .or(OVERFLOW),
    // exceptions
    rule(r"general protection fault.*:", "general protection fault in {f}", Exception, FROM_REGISTERS).or(ACCESS),
    rule(r"stack segment: ", "stack segment fault in {f}", Exception, FROM_REGISTERS),
    rule(r"PANIC: double fault", "PANIC: double fault in {f}", Exception, REGISTERS_ONLY).inner(),
    rule(r"divide[ _]error: ", "divide error in {f}", Exception, REGISTERS_ONLY),
    rule(r"invalid opcode: ", "invalid opcode in {f}", Exception, REGISTERS_ONLY).inner(),
    rule(r"Oops: (int3|overflow|bounds|device not available|coprocessor segment overrun|invalid TSS|segment not present|alignment check|machine check|SIMD exception|control protection fault).*: [0-9a-f]{4} \[#", "{1} in {f}", Exception, FROM_REGISTERS),
    rule(r"^(int3|overflow|bounds|invalid TSS|segment not present|alignment check|control protection fault): [0-9a-f]{4} \[#", "{1} in {f}", Exception, FROM_REGISTERS),
    rule(r"Internal error:", "Internal error in {f}", Exception, FROM_REGISTERS).or(ACCESS),
    rule(r"Unhandled fault:", "Unhandled fault in {f}", Exception, FROM_REGISTERS).or(ACCESS),
    rule(r"Alignment trap:", "Alignment trap in {f}", Exception, FROM_REGISTERS),
    // BUG()
    rule(r"rust_kernel: panicked at ", "{1} in {f}", Bug, RUST).then(&[r"^(\S.*)$"]),
    // A Rust panic ends in BUG() of a helper.
    rule(r"kernel BUG at rust/helpers/bug\.c", "kernel BUG in {f}", Bug, RUST).inner(),
    rule(r"kernel BUG at mm/usercopy\.c", "BUG: bad usercopy in {f}", Integrity, FROM_TRACE.past(&["usercopy", "__check"])),
    rule(r"kernel BUG at lib/list_debug\.c", "BUG: corrupted list in {f}", Integrity, FROM_TRACE).or(ACCESS),
    rule(r"kernel BUG at (.*)", "kernel BUG in {f}", Bug, FROM_REGISTERS.past(&["^skb_"])),
    rule(r"Kernel BUG (.*)", "kernel BUG {1}", Bug, NOWHERE),
    // pages and slabs
    rule(r"BUG: Bad page (state|cache)", "BUG: Bad page {1} in {f}", Integrity, PAGE_ORIGIN),
    rule(r"BUG: Bad page map", "BUG: Bad page map", Integrity, NOWHERE),
    rule(r"BUG: Bad rss-counter state", "BUG: Bad rss-counter state", Integrity, NOWHERE).traceless(),
    rule(r"BUG: non-zero (nr_ptes|nr_pmds|pgtables_bytes) on freeing mm", "BUG: non-zero {1} on freeing mm", Integrity, NOWHERE).traceless(),
    rule(r"BUG [a-zA-Z0-9_.:-]+ ?(?:\([^)]*\))?: ([A-Z][A-Za-z /-]*)", "BUG: {1}", Integrity, NOWHERE),
    rule(r"BUG: Dentry .* still in use \([0-9]+\) \[(unmount) of ([^\]]+)\]", "BUG: Dentry still in use in {1}", Integrity, NOWHERE)
        .or(&["BUG: Dentry still in use [{1} of {2}]"]).traceless(),
];
