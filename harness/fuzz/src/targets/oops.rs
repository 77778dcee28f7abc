//! Console logs: details of a report whose lines are any part of the text.

use recrash_oops::report::{Kind, Report};

pub fn run(bytes: &[u8]) {
    let log = String::from_utf8_lossy(bytes);
    let lines = log.split_terminator('\n').count();
    let reports = [0..lines, 1..lines, lines / 2..usize::MAX].map(|lines| Report {
        lines,
        kind: Kind::Exception,
        title: String::new(),
        alternatives: Vec::new(),
        function: None,
        corrupted: None,
    });
    for found in recrash_oops::details::all(&log, &reports) {
        assert!(found.lost.len() <= 300, "what is lost is told without bounds");
    }
}

/// An oops of 5.10 and one of 4.8, shortened.
pub fn seeds() -> Vec<Vec<u8>> {
    [NEW, OLD].map(|text| text.as_bytes().to_vec()).to_vec()
}

const NEW: &str = "\
[   10.695207] general protection fault, probably for non-canonical address 0x27c7d0b918fd4f6c: 0000 [#1] SMP NOPTI
[   10.695875] CPU: 1 PID: 76 Comm: agent Tainted: G           OE     5.10.0-46-amd64 #1 Debian 5.10.262-1
[   10.696727] RIP: 0010:__kmalloc+0xad/0x250
[   10.696979] Code: 48 01 c1 <48> 8b 19 48 89 ce
[   10.697629] RSP: 0018:ffffa0418015fca0 EFLAGS: 00000206
[   10.697868] RAX: 27c7d0b918fd4eec RBX: 0000000000000680 RCX: 27c7d0b918fd4f6c
[   10.697868] FS:  0000555584992400(0000) GS:ffff8fbe9e900000(0000) knlGS:0000000000000000
[   10.697868] Call Trace:
[   10.697868]  <TASK>
[   10.697868]  ? usb_hcd_submit_urb+0x1b8/0xc30 [usbcore] drivers/usb/core/hcd.c:12 [inline]
[   10.697868]  </TASK>
[   10.697868] RIP: 0033:0x7fa1f19dbcab
[   10.697868] RSP: 002b:00007fffcbb250a0 EFLAGS: 00000246 ORIG_RAX: 0000000000000010
[   10.697868] Modules linked in: repro(OE) usbcore usb_common
";

const OLD: &str = "\
BUG: unable to handle kernel paging request at ffff88002bde1e40
IP: [<ffffffff82d4e304>] __memset+0x24/0x30
Oops: 0002 [#1] SMP
RIP: 0010:[<ffffffff82d4e304>]  [<ffffffff82d4e304>] __memset+0x24/0x30
RSP: 0018:ffff880066befc88  EFLAGS: 00010006
Call Trace:
 <IRQ>  [<ffffffff8170cafa>] ? inner+0x31a/0x325 [snd]
RIP  [<ffffffff82d4e304>] __memset+0x24/0x30
 RSP <ffff880066befc88>
";
