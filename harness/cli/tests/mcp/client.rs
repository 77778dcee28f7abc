//! A client of the Model Context Protocol that is no library: lines of JSON-RPC to and from `recrash mcp`. Knows no tool.
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A server and the pipes to it.
pub(crate) struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    last: u64,
}

impl Client {
    /// Starts `recrash mcp` on a folder; nothing is said yet. The cache is a place that cannot be written.
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_recrash"))
            .arg("mcp")
            .arg(folder)
            .args(more)
            .env("RECRASH_CACHE", "/proc/nowhere")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            last: 0,
        }
    }

    /// Starts it and introduces itself.
    pub(crate) fn connect(folder: &Path, more: &[&str]) -> Self {
        let mut client = Self::start(folder, more);
        let hello = client.request(
            "initialize",
            &json!({
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": { "name": "test", "version": "0" },
            }),
        );
        assert_eq!(hello["result"]["serverInfo"]["name"], "recrash", "{hello}");
        client
            .send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
        client
    }

    /// Sends a line.
    pub(crate) fn send(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line.as_bytes()).unwrap();
        stdin.write_all(b"\n").unwrap();
    }

    /// Sends so many bytes of a line that has no end, as far as the server takes them.
    pub(crate) fn flood(&mut self, bytes: usize) {
        let stdin = self.stdin.as_mut().unwrap();
        let piece = vec![b' '; 1 << 16];
        for _ in 0..bytes / piece.len() {
            if stdin.write_all(&piece).is_err() {
                return;
            }
        }
    }

    /// The next line.
    pub(crate) fn receive(&mut self) -> Value {
        let mut line = String::new();
        if self.stdout.read_line(&mut line).unwrap() == 0 {
            let mut stderr = String::new();
            let _ = self
                .child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut stderr);
            panic!("the server ended: {stderr}");
        }
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(value["jsonrpc"], "2.0", "{value}");
        value
    }

    /// The answer to a request.
    pub(crate) fn request(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let id = self.last;
        self.send(
            &json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string(),
        );
        self.answer(&json!(id))
    }

    /// The answer to a request that was sent; notifications before it are skipped.
    pub(crate) fn answer(&mut self, id: &Value) -> Value {
        loop {
            let value = self.receive();
            if value["id"] == *id {
                return value;
            }
            assert!(value["method"].is_string(), "asked {id}, got {value}");
        }
    }

    /// What a tool answers.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.request(
            "tools/call",
            &json!({ "name": tool, "arguments": arguments }),
        );
        assert!(answer["error"].is_null(), "{answer}");
        let result = answer["result"].clone();
        assert_eq!(result["content"][0]["type"], "text", "{result}");
        assert!(result["structuredContent"].is_object(), "{result}");
        result
    }

    /// Calls a tool that succeeds: its text and its object.
    pub(crate) fn ok(&mut self, tool: &str, arguments: &Value) -> (String, Value) {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], false, "{result:#}");
        (text(&result), result["structuredContent"].clone())
    }

    /// Calls a tool that fails, with these words in what it says.
    pub(crate) fn fails(&mut self, tool: &str, arguments: &Value, words: &[&str]) {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], true, "{arguments}: {result:#}");
        let text = text(&result);
        for word in words {
            assert!(text.contains(word), "{arguments}: {word} in {text}");
        }
    }

    /// Closes stdin; its exit code and stderr. Nothing is left on stdout.
    pub(crate) fn end(mut self) -> (i32, String) {
        drop(self.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        let mut stderr = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), stderr)
    }
}

fn text(result: &Value) -> String {
    result["content"][0]["text"].as_str().unwrap().to_owned()
}

impl Drop for Client {
    fn drop(&mut self) {
        // Where a test failed, it is still there.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
