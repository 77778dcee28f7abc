//! `recrash mcp` as an editor or agent sees it: every tool on the evidence of the goldens and on a kernel of a few pages,
//! the same answers as the commands give, and what a client does that is hostile or wrong.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot talk to its server has failed"
)]
mod client;
#[path = "../../../kernel/tests/world/mod.rs"]
#[expect(dead_code, reason = "the kernel's own tests use more of it")]
mod world;

use client::Client;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use world::{TASK, World};

const GOLDENS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../golden/usb-string-descriptor-freelist"
);

/// A folder with a dump, two texts, and links that lead out. Made once.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mcp");
        let _ = std::fs::remove_dir_all(&root);
        let folder = root.join("served");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(root.join("secret.txt"), "crash> bt\nPID: 1\n").unwrap();
        std::fs::write(
            folder.join("dump"),
            World::new(128, 0x6f00_6c00_6c00_6500).file(),
        )
        .unwrap();
        for name in ["2022-06-05-usbdev-ioctl", "2022-02-23-kmalloc"] {
            let text = Path::new(GOLDENS).join(format!("{name}.txt"));
            // Other names than the goldens': explain leaves out the golden of the same name.
            std::fs::copy(text, folder.join(format!("copy-{name}.txt"))).unwrap();
        }
        std::os::unix::fs::symlink(root.join("secret.txt"), folder.join("link.txt")).unwrap();
        std::os::unix::fs::symlink(&root, folder.join("up")).unwrap();
        folder.canonicalize().unwrap()
    })
}

fn connect() -> Client {
    Client::connect(folder(), &[])
}

/// The object that a command prints with `--json`, of the same question.
fn printed(args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_recrash"))
        .args(args)
        .current_dir(folder())
        .env("RECRASH_CACHE", "/proc/nowhere")
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(stdout.trim()).unwrap_or_else(|error| {
        panic!(
            "{args:?}: {error}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

const SESSION: &str = "copy-2022-06-05-usbdev-ioctl.txt";
const KMALLOC: &str = "copy-2022-02-23-kmalloc.txt";
/// More than any answer here.
const ALL: u64 = 4 << 20;

#[test]
fn the_tools_and_their_arguments_are_described() {
    let mut client = connect();
    let listed = client.request("tools/list", &json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap().clone();
    for tool in &tools {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
        for (name, property) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(
                property["description"].is_string(),
                "{}: {name}",
                tool["name"]
            );
        }
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&tools).unwrap());
    let (code, stderr) = client.end();
    assert_eq!(code, 0);
    // Nothing, or that this kernel does not help to confine.
    assert!(stderr.is_empty() || stderr.contains("Landlock"), "{stderr}");
}

#[test]
fn analyze_gives_what_the_command_prints() {
    let (text, value) = connect().ok("analyze", &json!({ "vmcore": "dump", "max_bytes": ALL }));
    assert!(text.contains("Not found"), "{text}");
    assert!(!text.contains('\x1b'), "no styles");
    let nowhere = folder().to_str().unwrap();
    let expected = printed(&["analyze", "dump", "--json", "--debug-dir", nowhere]);
    assert_eq!(value["type"], "analysis");
    assert_eq!(value["signature"], expected["signature"]);
    assert_eq!(value["report"]["frames"], expected["report"]["frames"]);
}

#[test]
fn inspect_gives_what_the_command_prints() {
    let mut client = connect();
    let task = format!("{TASK:#x}");
    let nowhere = folder().to_str().unwrap();
    for words in [
        vec!["bt"],
        vec!["ps"],
        vec!["rd", &task, "4"],
        vec!["struct", "-o", "task_struct"],
        vec!["sys"],
    ] {
        let (command, arguments) = words.split_first().unwrap();
        let asked = json!({ "vmcore": "dump", "command": command, "arguments": arguments, "max_bytes": ALL });
        let result = client.call("inspect", &asked);
        let mut args = vec!["inspect", "dump", "--json", "--debug-dir", nowhere];
        args.extend(&words);
        let mut expected = printed(&args);
        let mut value = result["structuredContent"].clone();
        // The server's names are absolute.
        for value in [&mut value, &mut expected] {
            value.as_object_mut().unwrap().remove("dumpfile");
        }
        assert_eq!(value, expected, "{words:?}");
    }
    let (text, help) = client.ok(
        "inspect",
        &json!({ "vmcore": "dump", "command": "bt", "arguments": ["--help"] }),
    );
    assert!(text.contains("--all"), "{text}");
    assert_eq!(help["type"], "help");
    let (text, found) = client.ok(
        "inspect",
        &json!({ "vmcore": "dump", "command": "search", "arguments": ["-c", "esdm-agent"] }),
    );
    assert_eq!(found["type"], "search-end");
    assert_eq!(found["found"][0]["type"], "search", "{text}");
}

#[test]
fn explain_gives_what_the_command_prints() {
    let mut client = connect();
    let (text, value) = client.ok("explain", &json!({ "path": SESSION, "max_bytes": ALL }));
    assert!(text.contains("#SS"), "{text}");
    assert_eq!(value, printed(&["explain", SESSION, "--json"]));
    let (chinese, _) = client.ok(
        "explain",
        &json!({ "path": SESSION, "lang": "zh", "format": "markdown" }),
    );
    assert!(
        chinese.contains("非规范地址") && chinese.contains("## "),
        "{chinese}"
    );
    let (lent, _) = client.ok(
        "explain",
        &json!({ "path": KMALLOC, "like": [SESSION], "with": [SESSION] }),
    );
    assert!(lent.contains(SESSION), "{lent}");
}

#[test]
fn compare_takes_paths_and_names_of_goldens() {
    let mut client = connect();
    let (text, value) = client.ok("compare", &json!({ "subject": SESSION, "max_bytes": ALL }));
    assert_eq!(value["verdict"], "same-crash", "{text}");
    assert_eq!(value["exit"], 0);
    assert_eq!(value, printed(&["compare", SESSION, "--json"]));
    let two =
        json!({ "subject": "2022-02-23", "golden": SESSION, "expect": "same-bug", "full": true });
    let (text, value) = client.ok("compare", &two);
    assert_eq!(value["verdict"], "same-bug", "{text}");
    assert!(text.contains("as expected: same-bug"), "{text}");
}

#[test]
fn triage_shows_what_is_there_and_leaves_links_alone() {
    let (text, value) = connect().ok("triage", &json!({}));
    assert!(text.contains("1 bug") || text.contains("bugs"), "{text}");
    assert!(text.contains(SESSION) && text.contains(KMALLOC), "{text}");
    assert!(!value.to_string().contains("secret"), "{value}");
    assert!(!value.to_string().contains("link.txt"), "{value}");
}

#[test]
fn what_lies_outside_is_refused_with_what_may_be_read() {
    let mut client = connect();
    let served = folder().to_str().unwrap();
    let secret = folder().with_file_name("secret.txt");
    for path in [
        "/etc/passwd",
        secret.to_str().unwrap(),
        "link.txt",
        "up/secret.txt",
        "/proc/self/environ",
    ] {
        let words = ["lies outside", "next: give a path below", served];
        client.fails("explain", &json!({ "path": path }), &words);
        client.fails("analyze", &json!({ "vmcore": path }), &words);
        client.fails(
            "inspect",
            &json!({ "vmcore": path, "command": "sys" }),
            &words,
        );
        client.fails(
            "compare",
            &json!({ "subject": path, "golden": "2022-06-05" }),
            &["next: "],
        );
        client.fails(
            "compare",
            &json!({ "subject": SESSION, "golden": path }),
            &["next: "],
        );
        client.fails("triage", &json!({ "paths": [path] }), &words);
        client.fails(
            "analyze",
            &json!({ "vmcore": "dump", "vmlinux": path }),
            &words,
        );
        client.fails(
            "analyze",
            &json!({ "vmcore": "dump", "split": [path] }),
            &words,
        );
        client.fails(
            "explain",
            &json!({ "path": SESSION, "with": [path] }),
            &words,
        );
        client.fails(
            "explain",
            &json!({ "path": SESSION, "like": [path] }),
            &words,
        );
    }
    client.fails(
        "explain",
        &json!({ "path": "../secret.txt" }),
        &["a path with .."],
    );
    client.fails("explain", &json!({ "path": "a\u{0}b" }), &["is no path"]);
    client.fails("explain", &json!({ "path": "-" }), &["no such file"]);
    // Options that name files are no words of inspect's.
    for option in [
        "--vmlinux",
        "--split",
        "--system-map",
        "--image",
        "--debug-dir",
    ] {
        let asked =
            json!({ "vmcore": "dump", "command": "sys", "arguments": [option, "/etc/passwd"] });
        client.fails("inspect", &asked, &[option, "unexpected"]);
    }
    let golden = json!({ "subject": SESSION, "golden": "../../etc/x.snap" });
    client.fails("compare", &golden, &[".."]);
    assert_eq!(client.end().0, 0);
}

#[test]
fn wrong_calls_are_told_what_is_wrong_and_the_server_lives() {
    let mut client = connect();
    client.fails(
        "analyze",
        &json!({ "vmcore": 5 }),
        &["invalid type", "vmcore (string, required)"],
    );
    client.fails("analyze", &json!({}), &["missing field", "next: expected"]);
    client.fails(
        "triage",
        &json!({ "paths": "dump" }),
        &["expected a sequence"],
    );
    client.fails(
        "analyze",
        &json!({ "vmcore": "dump", "output": "x" }),
        &["unknown field"],
    );
    client.fails(
        "compare",
        &json!({ "subject": SESSION, "expect": "same" }),
        &["same-crash"],
    );
    client.fails(
        "compare",
        &json!({ "subject": SESSION, "golden": "nosuch" }),
        &["Goldens are one of"],
    );
    client.fails(
        "inspect",
        &json!({ "vmcore": "dump", "command": "kmem" }),
        &["slab"],
    );
    client.fails(
        "inspect",
        &json!({ "vmcore": "dump", "command": "rd", "arguments": ["zz"] }),
        &["zz"],
    );
    client.fails(
        "analyze",
        &json!({ "vmcore": SESSION }),
        &["error: ", "explain"],
    );
    client.fails("explain", &json!({ "path": "." }), &["next: "]);
    let unknown = client.request("tools/call", &json!({ "name": "rm", "arguments": {} }));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    assert!(
        unknown["error"]["message"]
            .as_str()
            .unwrap()
            .contains("tools are analyze")
    );
    let unknown = client.request("no/such", &json!({}));
    assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
    for line in [
        "{",
        "",
        "\u{0}",
        "[]",
        "null",
        "{\"jsonrpc\": \"2.0\", \"id\": 77, \"method\": 5}",
        "{\"jsonrpc\": \"1.0\", \"id\": 78, \"method\": \"ping\"}",
        &"[".repeat(100_000),
        &format!("\"{}\"", "x".repeat(1 << 20)),
    ] {
        client.send(line);
    }
    client.send("{\"jsonrpc\": \"2.0\", \"id\": \"last\", \"method\": \"ping\"}");
    loop {
        let answer = client.receive();
        if answer["id"] == "last" {
            assert!(answer["error"].is_null(), "{answer}");
            break;
        }
        assert!(answer["error"].is_object(), "{answer}");
    }
    for id in [
        json!(i64::MAX),
        json!(0),
        json!("x".repeat(10_000)),
        json!("\u{1b}[2J"),
    ] {
        client.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }).to_string());
        client.answer(&id);
    }
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 99999 } });
    client.send(&cancelled.to_string());
    client.ok("explain", &json!({ "path": SESSION }));
    assert_eq!(client.end().0, 0);
}

#[test]
fn a_cancelled_call_ends_and_the_next_one_is_answered() {
    let mut client = connect();
    let call = json!({ "name": "triage", "arguments": {} });
    client.send(
        &json!({ "jsonrpc": "2.0", "id": "long", "method": "tools/call", "params": call })
            .to_string(),
    );
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "long" } });
    client.send(&cancelled.to_string());
    client.send(&json!({ "jsonrpc": "2.0", "id": "next", "method": "ping" }).to_string());
    loop {
        let answer = client.receive();
        if answer["id"] == "next" {
            break;
        }
        assert_eq!(answer["id"], "long", "{answer}");
    }
    client.ok("compare", &json!({ "subject": SESSION }));
}

#[test]
fn a_long_answer_is_shortened_and_says_so() {
    let mut client = connect();
    let (text, value) = client.ok("explain", &json!({ "path": SESSION, "max_bytes": 2048 }));
    assert!(
        text.len() < 2048 + 256 && text.contains("more bytes left out"),
        "{text}"
    );
    assert!(text.contains("shortened to max_bytes = 2048"), "{text}");
    assert!(
        value.to_string().len() <= 2048 && !value["shortened"].is_null(),
        "{value}"
    );
}

#[test]
fn a_folder_that_is_not_there_is_a_usage_error() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_recrash"))
            .arg("mcp")
            .args(args)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    for args in [&["/nowhere"][..], &[env!("CARGO_BIN_EXE_recrash")], &[]] {
        let (code, stderr) = run(args);
        assert_eq!(code, Some(2), "{stderr}");
    }
    assert!(run(&["/nowhere"]).1.contains("next: name a folder"));
}

#[test]
fn a_client_that_leaves_at_once_is_no_error() {
    assert_eq!(Client::start(folder(), &[]).end().0, 0);
}

#[test]
fn what_does_not_begin_as_the_protocol_does_is_told_what_is_expected() {
    let mut client = Client::start(folder(), &[]);
    client.send("{\"jsonrpc\": \"2.0\", \"method\": \"notifications/initialized\"}");
    let (code, stderr) = client.end();
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("no initialize request") && stderr.contains("next: "),
        "{stderr}"
    );
}

#[test]
fn a_message_without_end_ends_the_server_before_it_fills_the_memory() {
    let mut client = connect();
    client.flood(64 << 20);
    let (code, stderr) = client.end();
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("longer than 16 MiB"), "{stderr}");
}
