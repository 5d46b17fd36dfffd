//! Filling in a batch script's template.

const NEEDED: &[&str] = &["directives", "worker", "root", "launch_file"];
const KNOWN: &str = "directives, worker, root, launch_file, srun_options, swarm_id";

/// Fills in each `{{name}}` by what `value` says; refuses a template that sbatch or the shell would misread.
pub(super) fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    if !template.starts_with("#!") {
        return Err("must begin with `#!` and an interpreter, such as #!/bin/sh".to_owned());
    }
    if template.contains(['\r', '\0']) {
        return Err("has DOS line ends or NUL characters; sbatch takes neither".to_owned());
    }
    let mut script = String::with_capacity(template.len() + 1024);
    let mut used = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find("{{") {
        let (before, after) = rest.split_at(at);
        let Some((name, tail)) = after[2..].split_once("}}") else {
            return Err(format!(
                "has `{{{{` without `}}}}` in line {}",
                line_of(template, after)
            ));
        };
        let filled = value(name).ok_or_else(|| {
            let line = line_of(template, after);
            format!("has the unknown placeholder {{{{{name}}}}} in line {line}; there are: {KNOWN}")
        })?;
        script.push_str(before);
        check_place(name, &script, tail)?;
        script.push_str(&filled);
        used.push(name);
        rest = tail;
    }
    script.push_str(rest);
    if let Some(missing) = NEEDED.iter().find(|name| !used.contains(name)) {
        return Err(format!("lacks the placeholder {{{{{missing}}}}}"));
    }
    Ok(script)
}

fn line_of(template: &str, rest: &str) -> usize {
    let before = &template[..template.len() - rest.len()];
    before.matches('\n').count() + 1
}

/// sbatch stops looking for directives at the first command, and a word that is quoted already must not be quoted again.
fn check_place(name: &str, before: &str, after: &str) -> Result<(), String> {
    if name == "directives" {
        if !before.ends_with('\n') || !after.starts_with('\n') {
            return Err("must have {{directives}} on a line of its own".to_owned());
        }
        let comment = |line: &str| line.trim().is_empty() || line.starts_with('#');
        if !before.lines().all(comment) {
            return Err(
                "has {{directives}} below a command; sbatch reads them above the first command only".to_owned(),
            );
        }
        return Ok(());
    }
    let quoted = matches!(name, "worker" | "root" | "launch_file")
        && (before.ends_with(['"', '\'']) || after.starts_with(['"', '\'']));
    if quoted {
        return Err(format!("has quotes around {{{{{name}}}}}, which is quoted already"));
    }
    Ok(())
}
