//! Fills a template. What a person gave is quoted for the shell by whoever made the [`Values`]; here it is made safe for what
//! the shell's text lies in: YAML, GitHub's expressions, Kubernetes' variables. Writes no file.
use super::Engine;

/// What stands in place of the templates' `@NAMES@`.
pub(super) struct Values {
    /// The command that writes this file.
    pub(super) written: String,
    /// The file.
    pub(super) file: String,
    /// How many parts.
    pub(super) parts: u32,
    /// How many at once.
    pub(super) at_once: u32,
    /// Arguments of `recrash run`, quoted for a shell.
    pub(super) run: String,
    /// Shell commands.
    pub(super) install: Vec<String>,
    /// An image's name.
    pub(super) image: String,
}

/// Packages that README asks for, and what rustup is fetched with.
const PACKAGES: &str = "apt-get update && apt-get install --yes --no-install-recommends ca-certificates curl gcc libc6-dev git";
/// Processors of a HyperQueue task: a guest has two.
const CPUS: &str = "2";

/// The file's text.
///
/// # Errors
/// A value that no such file can hold.
pub(super) fn render(engine: Engine, values: &Values) -> Result<String, String> {
    let template = match engine {
        Engine::Github => include_str!("templates/github.yml"),
        Engine::Gitlab => include_str!("templates/gitlab.yml"),
        Engine::Slurm => include_str!("templates/slurm.sh"),
        Engine::Kubernetes => include_str!("templates/kubernetes.yaml"),
        Engine::Hyperqueue => include_str!("templates/hyperqueue.sh"),
    };
    let Values {
        written,
        file,
        parts,
        at_once,
        run,
        install,
        image,
    } = values;
    for text in install.iter().chain([written, file, run]) {
        if let Some(c) = text.chars().find(|c| c.is_control() || !is_yaml(*c)) {
            return Err(format!(
                "{text:?}: the character {c:?} cannot be written into the file, where a line is a line"
            ));
        }
    }
    let numbers: Vec<String> = (1..=*parts).map(|number| number.to_string()).collect();
    if engine == Engine::Github && *parts > MOST_GITHUB_JOBS {
        return Err(format!(
            "{parts} parts: a matrix of GitHub has at most {MOST_GITHUB_JOBS} jobs"
        ));
    }
    if engine == Engine::Gitlab && *parts > MOST_GITLAB_JOBS {
        return Err(format!(
            "{parts} parts: parallel of GitLab is at most {MOST_GITLAB_JOBS}"
        ));
    }
    let numbers = numbers.join(", ");
    let (parts, at_once) = (parts.to_string(), at_once.to_string());
    let mut out = String::new();
    for line in template.lines() {
        // A line that is nothing but the commands becomes a line each, indented alike.
        if let Some((indent, "")) = line.split_once("@INSTALL@") {
            for command in install {
                out.push_str(indent);
                out.push_str(&inside(engine, command));
                out.push('\n');
            }
            continue;
        }
        let comment = line.trim_start().starts_with('#');
        let escape = |text: &str| match comment {
            true => text.to_owned(),
            false => inside(engine, text),
        };
        out.push_str(&fill(line, &|name| {
            Some(match name {
                "WRITTEN" => written.clone(),
                "FILE" => file.clone(),
                "PARTS" => parts.clone(),
                "AT_ONCE" => at_once.clone(),
                "NUMBERS" => numbers.clone(),
                "IMAGE" => image.clone(),
                "PACKAGES" => PACKAGES.to_owned(),
                "CPUS" => CPUS.to_owned(),
                "RUN" => escape(run),
                _ => return None,
            })
        }));
        out.push('\n');
    }
    Ok(out)
}

/// <https://docs.github.com/en/actions/reference/limits>
const MOST_GITHUB_JOBS: u32 = 256;
/// <https://docs.gitlab.com/ci/yaml/#parallel>
const MOST_GITLAB_JOBS: u32 = 200;

/// Characters of YAML's `nb-json` without line breaks of any kind.
fn is_yaml(c: char) -> bool {
    !matches!(
        c,
        '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

/// Shell text inside of what the engine reads first.
fn inside(engine: Engine, text: &str) -> String {
    match engine {
        // An expression is replaced before any shell sees it.
        Engine::Github => text.replace("${{", "${{ '${{' }}"),
        // $(NAME) is a variable, $$ is $: https://kubernetes.io/docs/tasks/inject-data-application/
        Engine::Kubernetes => text.replace('$', "$$"),
        Engine::Gitlab | Engine::Slurm | Engine::Hyperqueue => text.to_owned(),
    }
}

/// Replaces each `@NAME@` once: what was put in is not looked at again.
fn fill(line: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('@') {
        out.push_str(before);
        let name = after
            .split_once('@')
            .and_then(|(name, tail)| Some((value(name)?, tail)));
        match name {
            Some((text, tail)) => {
                out.push_str(&text);
                rest = tail;
            }
            None => {
                out.push('@');
                rest = after;
            }
        }
    }
    out + rest
}
