//! Transcripts of crash sessions, alone or in prose: evidence, the account of it, and the text without prose.

use recrash_transcript::{account, evidence, without_prose};

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let found = evidence::read(&text);
    let _ = account::of(&found, None);
    // Another crash of the same build may be the very same.
    let _ = account::of(&found, Some(&found));
    assert!(without_prose(&text).len() <= 2 * text.len() + 1, "more than there is");
}

/// A session in Markdown, and a console log.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::oops::seeds();
    seeds.push(SESSION.as_bytes().to_vec());
    seeds.push(format!("# A crash\n\n```text\n{SESSION}```\n\nThe list is broken.\n").into_bytes());
    seeds
}

const SESSION: &str = "\
     RELEASE: 5.9.0-test
       PANIC: \"general protection fault: 0000 [#1] SMP\"
crash> bt -f
PID: 70     TASK: ffff888012345678  CPU: 3   COMMAND: \"a b\"
 #0 [ffffc90000123a00] machine_kexec at ffffffff81060000
    ffffc90000123a08: 0000000000000000 ffff888012345678 
 #1 [ffffc90000123b80] general_protection at ffffffff81c0108e
    [exception RIP: __kmalloc+139]
    RIP: ffffffff8128008b  RSP: ffffc90000123c38  RFLAGS: 00010202
    RAX: 0072006900560338  RBX: 00000000000000fe  RCX: 0000000000000dc0
 #2 [ffffc90000123c70] usb_hcd_submit_urb at ffffffff815c5e52
crash> dis -l __kmalloc 2
/usr/src/mm/slub.c: 2700
0xffffffff8128008b <__kmalloc+139>:\tmov    0x0(%rbp,%rax,1),%rbx
crash> struct kmem_cache_cpu ffff888042828120
struct kmem_cache_cpu {
  freelist = 0x72006900560338, 
  tid = 207515, 
}
crash> rd ffffc90000123c38 2
ffffc90000123c38:  00000000000000fe 0000000000000dc0   ................
crash> vtop ffff888042828120
VIRTUAL           PHYSICAL        
ffff888042828120  42828120        
crash> kmem -s
CACHE             OBJSIZE  ALLOCATED     TOTAL  SLABS  SSIZE  NAME
ffff888007c0e9c0      256       3000      3200    100     8k  kmalloc-256
";
