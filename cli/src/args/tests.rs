use super::*;
use crate::exit::EXIT_CODES;
use clap::CommandFactory;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_definition_is_sound_and_every_command_teaches() {
    let mut cli = Cli::command();
    cli.clone().debug_assert();
    cli.build();
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Examples:"), "{} has no example", command.get_name());
    }
}

/// Every example in a help text is a command line that parses.
#[test]
fn the_examples_parse() {
    let mut cli = Cli::command();
    cli.build();
    let texts = cli
        .get_subcommands()
        .filter_map(|command| command.get_after_help())
        .map(ToString::to_string);
    let mut tried = 0;
    for text in texts.chain([overview()]) {
        for line in text
            .lines()
            .filter(|line| line.starts_with("  ") && line.contains("codeswarm "))
        {
            let line = &line[line.find("codeswarm ").unwrap()..];
            let line = line
                .split(" | ")
                .next()
                .unwrap()
                .split(" > ")
                .next()
                .unwrap()
                .split(" < ")
                .next()
                .unwrap();
            let line = line.split("  ").next().unwrap().trim_end_matches(')');
            let line = line
                .replace("<swarm>", "s1")
                .replace("<id>", "i1")
                .replace("\"Go on.\"", "x");
            let mut words: Vec<&str> = Vec::new();
            for (at, part) in line.split('"').enumerate() {
                if at % 2 == 1 {
                    words.push(part)
                } else {
                    words.extend(part.split_whitespace())
                }
            }
            Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
            tried += 1;
        }
    }
    assert!(tried > 20, "only {tried} examples were found");
}

#[test]
fn options_stand_before_or_behind_the_command() {
    for line in [
        "codeswarm --config c.json --json list",
        "codeswarm list --config c.json --json",
    ] {
        let cli = parse(line).unwrap();
        let Command::Client(Client::List(list)) = cli.command else {
            panic!()
        };
        let options = list.options.over(cli.options);
        assert_eq!((options.config, options.json), (Some("c.json".into()), true), "{line}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for line in [
        "codeswarm run --nodes 0 --prompt x",
        "codeswarm run --nodes -1 --prompt x",
        "codeswarm run --prompt x --prompt-file y",
        "codeswarm inject",
        "codeswarm inject ../../etc --prompt x",
        "codeswarm inject s1 --nodes 4-2 --prompt x",
        "codeswarm attach s1 --since yesterday",
        "codeswarm approve s1 --node 0 --call 7 maybe",
        "codeswarm approve s1 --node 0 --call 7 --decision accept",
        "codeswarm launch --param =x",
        "codeswarm explode",
    ] {
        let error = parse(line).map(|_| ()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}: {error}");
    }
}

#[test]
fn provider_settings_are_json_where_they_can_be() {
    assert_eq!(
        key_value("time_limit=02:00:00").unwrap(),
        ("time_limit".into(), "02:00:00".into())
    );
    assert_eq!(key_value("agents_per_node=2").unwrap().1, serde_json::json!(2));
    assert_eq!(key_value("a=b=c").unwrap(), ("a".into(), "b=c".into()));
}

#[test]
fn the_page_has_every_command_option_and_exit_code() {
    let page = include_str!("../../../docs/CLI.md");
    let mut cli = Cli::command();
    cli.build();
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        assert!(
            page.contains(&format!("\n### {name}\n\n```sh\n")),
            "{name} has no section with an example"
        );
        let foreign = ["router", "worker", "follower"].contains(&name);
        for option in command
            .get_arguments()
            .filter_map(|option| option.get_long())
            .filter(|_| !foreign)
        {
            assert!(
                option == "help" || page.contains(&format!("--{option}")),
                "{name} --{option} is not on the page"
            );
        }
    }
    for line in EXIT_CODES.lines().skip(1) {
        let code = line.split_whitespace().next().unwrap();
        assert!(
            page.contains(&format!("\n| {code} | ")),
            "exit code {code} is not on the page"
        );
    }
}
