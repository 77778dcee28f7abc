//! `recrash inspect` as a caller sees it, on a kernel of a few pages that is written here: what each command prints,
//! in text and in JSON, and how it ends when the dump or the question is wrong.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot start its command has failed"
)]
#[path = "../../kernel/tests/world/mod.rs"]
#[expect(dead_code, reason = "the kernel's own tests use more of it")]
mod world;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use world::{CACHE, STACK, TASK, TEXT, World};

/// The dump, written once.
fn dump() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inspect-world");
        std::fs::write(&file, World::new(128, 0x6f00_6c00_6c00_6500).file()).unwrap();
        file
    })
}

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn inspect_file(file: &Path, args: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_recrash"))
        .arg("inspect")
        .arg(file)
        // No debug package of this machine belongs to it.
        .args(["--debug-dir", env!("CARGO_TARGET_TMPDIR")])
        .args(args)
        .output()
        .unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn inspect(args: &[&str]) -> Ended {
    inspect_file(dump(), args)
}

/// Runs a command and compares all that it printed.
fn check(args: &[&str], expected: &str) {
    let ended = inspect(args);
    assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
    assert_eq!(ended.stdout, expected, "{args:?}");
}

/// Runs a command that fails, and looks for a word on stderr.
fn check_failure(args: &[&str], code: i32, expected: &str) {
    let ended = inspect(args);
    assert_eq!(ended.code, code, "{args:?}: {}", ended.stderr);
    assert!(
        ended.stderr.contains(expected),
        "{args:?}: {}",
        ended.stderr
    );
    assert!(ended.stdout.is_empty(), "{args:?}: {}", ended.stdout);
}

/// The JSON object that a command printed; its type is checked.
fn json(args: &[&str], kind: &str) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    let ended = inspect(&args);
    assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 1, "{args:?}: one object");
    let value: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(value["type"], kind, "{args:?}");
    assert!(value["missing"].is_array(), "{args:?}");
    value
}

fn hex(address: u64) -> String {
    format!("{address:#x}")
}

#[test]
fn rd_prints_rows_of_sixteen_bytes_as_crash_does() {
    check(
        &["rd", &hex(TASK + 8), "2"],
        "ffff888000200008:  6567612d6d647365 000000000000746e   esdm-agent......\n",
    );
    check(
        &["rd", "-8", &hex(TASK + 8), "4"],
        "ffff888000200008:  65 73 64 6d                                       esdm\n",
    );
    check(
        &["rd", "-32", &hex(TASK + 8), "2"],
        "ffff888000200008:  6d647365 6567612d                     esdm-age\n",
    );
    check(
        &["rd", "-a", &hex(TASK + 8)],
        "ffff888000200008:  esdm-agent\n",
    );
}

#[test]
fn rd_takes_symbols_offsets_and_physical_addresses() {
    check(
        &["rd", "-x", "__kmalloc+0x2e", "1"],
        "ffffffff8100002e:  90909090_90198b48\n"
            .replace('_', "")
            .as_str(),
    );
    let json = json(&["rd", "nr_cpu_ids"], "rd");
    assert_eq!(json["stretches"][0]["words"][0], "0x2");
    check_failure(&["rd", "-p", "nr_cpu_ids"], 2, "physical address");
}

#[test]
fn rd_with_symbols_names_what_words_point_at() {
    let ended = inspect(&["rd", "-s", &hex(STACK + 0x3008)]);
    assert_eq!(
        ended.stdout,
        format!("{:x}:  usb_hcd_submit_urb+80\n", STACK + 0x3008)
    );
}

#[test]
fn dis_prints_att_syntax_with_symbols() {
    check(
        &["dis", "__kmalloc+0x2d", "2"],
        "0xffffffff8100002d <__kmalloc+45>:\tnop\n\
         0xffffffff8100002e <__kmalloc+46>:\tmov    (%rcx),%rbx\n",
    );
    check(
        &["dis", "-x", "__kmalloc+0x2e"],
        "0xffffffff8100002e <__kmalloc+0x2e>:\tmov    (%rcx),%rbx\n",
    );
    let backwards = inspect(&["dis", "-r", "__kmalloc+0x2e"]);
    assert_eq!(backwards.stdout.lines().count(), 0x2f);
    let json = json(&["dis", "__kmalloc+0x2e"], "dis");
    assert_eq!(json["instructions"][0]["bytes"], "488b19");
    assert_eq!(json["instructions"][0]["symbol"]["offset"], 0x2e);
}

#[test]
fn struct_shows_layouts_and_values() {
    check(
        &["struct", "list_head"],
        "struct list_head {\n    void *next;\n    void *prev;\n}\nSIZE: 16\n",
    );
    check(
        &["struct", "-o", "list_head"],
        "struct list_head {\n   [0] void *next;\n   [8] void *prev;\n}\nSIZE: 16\n",
    );
    check(
        &["struct", "list_head", "slab_caches"],
        &format!(
            "struct list_head {{\n  next = {0:#x},\n  prev = {0:#x}\n}}\n",
            CACHE + 40
        ),
    );
    check(
        &["struct", "task_struct.comm,pid", &hex(TASK)],
        "  comm = \"esdm-agent\\000\\000\\000\\000\\000\",\n  pid = 41,\n",
    );
    check(
        &["struct", "-x", "task_struct.pid", &hex(TASK)],
        "  pid = 0x29,\n",
    );
}

#[test]
fn struct_in_json_keeps_pointers_as_strings_and_numbers_as_numbers() {
    let json = json(&["struct", "task_struct", &hex(TASK)], "struct");
    let value = &json["objects"][0]["value"];
    assert_eq!(json["objects"][0]["address"], hex(TASK));
    assert_eq!(value["pid"], 41);
    assert_eq!(value["comm"], "esdm-agent");
    assert_eq!(value["stack"], hex(STACK));
    assert_eq!(value["thread"]["trap_nr"], 13);
    let layout = self::json(&["struct", "list_head"], "struct");
    assert_eq!(layout["members"][1]["offset"], 8);
}

#[test]
fn bt_has_the_frames_and_registers_of_the_task_that_died() {
    let ended = inspect(&["bt"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(
        lines[0],
        "PID: 41       TASK: ffff888000200000  CPU: 1    COMMAND: \"esdm-agent\""
    );
    assert_eq!(lines[1], "    [exception RIP: __kmalloc+46]");
    assert!(lines[2].starts_with("    RIP: ffffffff8100002e  RSP: ffffc90000003000"));
    let frames: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| line.trim_start().starts_with('#'))
        .collect();
    assert_eq!(
        frames[..2],
        [
            " #0 [ffffc90000003008] usb_hcd_submit_urb at ffffffff81000150",
            " #1 [ffffc90000003018] proc_do_submiturb at ffffffff81000250"
        ]
    );
    let offsets = inspect(&["bt", "-s", "41"]);
    assert!(offsets.stdout.contains("usb_hcd_submit_urb+80 at"));
}

#[test]
fn bt_in_json_has_the_documented_shape() {
    let json = json(&["bt"], "bt");
    let task = &json["tasks"][0];
    assert_eq!((&task["pid"], &task["cpu"]), (&41.into(), &1.into()));
    let frame = &task["frames"][1];
    for key in [
        "pc", "sp", "symbol", "offset", "module", "source", "file", "line", "inlined",
    ] {
        assert!(frame.get(key).is_some(), "{key} in {frame}");
    }
    assert_eq!(frame["pc"], hex(TEXT + 0x150));
    assert_eq!(frame["symbol"], "usb_hcd_submit_urb");
    assert_eq!(task["user"]["registers"]["rip"], "0x401000");
    assert_eq!(task["complete"], true);
}

#[test]
fn vtop_shows_every_entry_and_says_where_the_way_ends() {
    let ended = inspect(&["vtop", &hex(TASK)]);
    assert!(
        ended
            .stdout
            .starts_with("VIRTUAL           PHYSICAL\nffff888000200000  ")
    );
    assert!(ended.stdout.contains("   PUD: ") && ended.stdout.contains("PRESENT"));
    let json = json(&["vtop", &hex(TASK), "dead000000000000"], "vtop");
    let (mapped, not) = (&json["translations"][0], &json["translations"][1]);
    assert_eq!(mapped["steps"].as_array().unwrap().len(), 4);
    assert!(mapped["physical"].is_string());
    assert!(not["physical"].is_null());
    assert!(not["why"].as_str().unwrap().contains("not canonical"));
}

#[test]
fn search_finds_words_strings_and_bytes() {
    let text = inspect(&["search", "-c", "esdm-agent"]);
    assert_eq!(text.code, 0, "{}", text.stderr);
    assert_eq!(text.stdout.lines().count(), 1, "{}", text.stdout);
    assert!(text.stdout.contains(": esdm-agent."));
    let bytes = inspect(&["search", "-p", "--bytes", "6573646d"]);
    assert_eq!(bytes.stdout.lines().count(), 1, "{}", bytes.stdout);
    let word = inspect(&["search", &hex(TASK), "--json"]);
    let lines: Vec<Value> = word
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (end, hits) = lines.split_last().unwrap();
    assert_eq!(end["type"], "search-end");
    assert!(hits.iter().all(|hit| hit["value"] == hex(TASK)));
    assert_eq!(end["hits"], hits.len());
    assert!(!hits.is_empty());
    let one = inspect(&["search", "--max", "1", "0"]);
    assert_eq!(one.stdout.lines().count(), 1);
    assert!(one.stderr.contains("--max"));
}

#[test]
fn slab_lists_caches_and_says_what_an_address_lies_in() {
    let ended = inspect(&["slab"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended
            .stdout
            .starts_with("CACHE             OBJSIZE  ALLOCATED     TOTAL  SLABS  SSIZE  NAME\n")
    );
    assert!(ended.stdout.contains("kmalloc-256"));
    let json = json(&["slab"], "slab");
    assert_eq!(json["caches"][0]["cache"], hex(CACHE));
    check_failure(&["slab", "kmalloc-25"], 2, "one of: kmalloc-256");
}

#[test]
fn ps_marks_the_task_that_a_cpu_ran() {
    let ended = inspect(&["ps", "41"]);
    assert!(
        ended
            .stdout
            .lines()
            .nth(1)
            .unwrap()
            .starts_with(">      41")
    );
    assert!(ended.stdout.trim_end().ends_with("esdm-agent"));
    check_failure(&["ps", "nosuch"], 2, "nosuch");
}

#[test]
fn sys_says_what_it_knows_and_what_it_does_not() {
    let ended = inspect(&["sys"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("     RELEASE: 6.1.0-synth\n"));
    assert!(ended.stdout.contains("        CPUS: 2\n"));
    assert!(ended.stdout.contains("      PAGING: 4 levels\n"));
    assert!(ended.stdout.contains("        DATE: (unknown)\n"));
    assert!(ended.stderr.contains("missing: date and uptime: no symbol"));
    let json = json(&["sys"], "sys");
    assert!(json["date"].is_null());
}

#[test]
fn what_the_dump_lacks_is_inconclusive_and_what_was_mistyped_is_usage() {
    check_failure(&["log"], 4, "log");
    check_failure(&["rd", "dead000000000000"], 4, "not canonical");
    check_failure(
        &["rd", "no_such_symbol"],
        2,
        "neither a symbol nor a number",
    );
    check_failure(&["rd", "nr_cpu_ids", "ten"], 2, "decimal");
    check_failure(&["struct", "no_such_type"], 2, "no type");
    check_failure(
        &["struct", "list_head.nosuch", "slab_caches"],
        2,
        "no member",
    );
    check_failure(&["bt", "4711"], 2, "4711");
    check_failure(&["usb", "nosuch"], 2, "expected devices");
}

#[test]
fn a_file_that_is_no_dump_is_inconclusive() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inspect-no-dump");
    std::fs::write(&file, b"no dump").unwrap();
    let ended = inspect_file(&file, &["sys"]);
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    let ended = inspect_file(Path::new("/nonexistent/vmcore"), &["sys"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
}

#[test]
fn a_dump_cut_anywhere_gives_a_typed_answer() {
    let whole = std::fs::read(dump()).unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inspect-cut");
    for sixteenth in 1..16 {
        std::fs::write(&file, &whole[..whole.len() * sixteenth / 16]).unwrap();
        for args in [
            &["bt"][..],
            &["sys"],
            &["ps"],
            &["slab"],
            &["struct", "task_struct", &hex(TASK)],
        ] {
            let ended = inspect_file(&file, args);
            assert!(
                matches!(ended.code, 0 | 2 | 4),
                "{args:?}: {}",
                ended.stderr
            );
            assert!(
                !ended.stderr.contains("panicked"),
                "{args:?}: {}",
                ended.stderr
            );
        }
    }
}

#[test]
fn a_name_in_the_dump_cannot_drive_the_terminal() {
    let mut world = World::new(128, 0);
    world.machine.write(TASK + 8, b"\x1b[2Jx\0");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inspect-escape");
    std::fs::write(&file, world.file()).unwrap();
    for args in [&["ps"][..], &["bt"], &["sys"], &["search", "-c", "[2Jx"]] {
        let ended = inspect_file(&file, args);
        assert!(
            !ended.stdout.contains('\x1b'),
            "{args:?}: {:?}",
            ended.stdout
        );
    }
}
