//! What the README tells people to type does what it says there.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::client_program::{err_of, out_of};
use super::lab::{DEADLINE, bytes};
use super::programs::{Running, Site, program};

const README: &str = include_str!("../../README.md");

/// The first block of code of that kind in which a text stands, in a list or not.
fn block(kind: &str, with: &str) -> String {
    let mut lines = README.lines();
    let begin = format!("```{kind}");
    while lines.any(|line| line.trim_start() == begin) {
        let block = lines.by_ref().map(str::trim_start).take_while(|line| *line != "```");
        let block: String = block.map(|line| format!("{line}\n")).collect();
        if block.contains(with) {
            return block;
        }
    }
    panic!("the README has no {kind} with {with}");
}

/// The first words of the rows of a table that begin so.
fn rows(begin: &str) -> Vec<&'static str> {
    README.lines().filter(|line| line.starts_with(begin)).collect()
}

/// A shell in a folder, with the programs on its path; awaited, what it left running ended.
fn shell(folder: &Path, script: &str) -> (String, bool) {
    let programs = program("client").parent().unwrap().to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-e", "-c", script]).current_dir(folder).env("PATH", path);
    command.env_remove("PEERSHARE_PEER_SETTINGS").env("TMPDIR", folder);
    let done = assert_cmd::Command::from_std(command).timeout(DEADLINE).output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    (said, done.status.success())
}

#[test]
fn the_session_on_one_machine_works_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let try_it = folder.path().join("try");
    // Of this process alone, so that the ports of the sample are free there.
    let process = std::process::id();
    let address = format!("127.{}.{}.1", 1 + process / 250 % 250, 1 + process % 250);
    let settings = include_str!("../../peer_settings.txt").replace("127.0.0.1", &address);
    fs::write(folder.path().join("peer_settings.txt"), settings).unwrap();
    fs::write(folder.path().join("README.md"), README).unwrap();
    let script = block("sh", "mkdir /tmp/try");
    let up = "for peer in peer1 peer2 peer3; do until client --peer-settings \
              peer_settings.txt ping $peer; do :; done; done >/dev/null 2>&1";
    let script = script.replace("/tmp/try", try_it.to_str().unwrap()).replace("sleep 1", up);
    let (said, went_well) = shell(folder.path(), &script);
    assert!(went_well, "{said}");
    for expected in ["README.md\t", "downloaded README.md", "peer3: uploaded README.md"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let copy = fs::read_to_string(try_it.join("peer3/served_files/README.md")).unwrap();
    assert!(copy == README);
}

/// Three servers with what the examples name.
fn site() -> (Site, Vec<Running>) {
    let site = Site::new();
    let peers = ["peer1", "peer2", "peer3"];
    site.list_peers(&[("peer1", 1), ("peer2", 2), ("peer3", 3)]);
    site.put("peer1", "holiday photos.zip", &bytes(2, 1000));
    peers[1..].iter().for_each(|peer| site.put(peer, "big.iso", &bytes(1, 300_000)));
    let servers = peers.map(|peer| site.server(peer));
    let ports: Vec<_> = peers.into_iter().zip(&servers).map(|(id, at)| (id, at.port)).collect();
    site.list_peers(&ports);
    (site, servers.into_iter().map(|server| server.running).collect())
}

#[test]
fn what_is_typed_at_the_prompt_works() {
    let (site, _servers) = site();
    let prompt = block("text", "peershare> ");
    let typed: String = prompt
        .lines()
        .filter_map(|line| Some(format!("{}\n", line.strip_prefix("peershare> ")?)))
        .collect();
    assert!(typed.lines().count() >= 3, "{typed}");
    let mut client = site.client_command_of("peer1");
    client.args(["--peer", "peer1"]);
    let client =
        assert_cmd::Command::from_std(client).write_stdin(typed).timeout(DEADLINE).assert();
    let client = client.success();
    for expected in ["downloaded big.iso", "peer2: uploaded holiday photos.zip"] {
        assert!(out_of(&client).contains(expected), "{expected}: {}", out_of(&client));
    }
    assert_eq!(site.read("peer3", "holiday photos.zip").unwrap(), bytes(2, 1000));
}

#[test]
fn commands_from_a_shell_and_a_pipe_work() {
    let (site, _servers) = site();
    fs::create_dir(site.path("served_files")).unwrap();
    fs::write(site.path("commands.txt"), "#PEERS peer2\n# a comment\n#FILELIST\n").unwrap();
    let script = block("sh", "client < commands.txt");
    let (said, went_well) = shell(&site.path(""), &script);
    assert!(went_well, "{said}");
    assert!(said.contains("downloaded big.iso") && said.contains("\nbig.iso\n"), "{said}");
}

#[test]
fn the_tables_name_what_there_is() {
    let site = Site::new();
    let commands = rows("| `#");
    assert!(commands.len() > 14, "{commands:?}");
    for row in commands {
        let command = row.split(['`', ' ', '#']).find(|word| word.len() > 3).unwrap();
        site.client(&["help", &command.to_lowercase()]).success();
    }
    for row in rows("| `-").into_iter().chain(rows("| `--")) {
        let mut columns = row.split('|').skip(1);
        let (flags, of) = (columns.next().unwrap(), columns.next().unwrap());
        let flags = flags.split(['`', ' ', ',']).filter(|word| word.starts_with('-'));
        let commands: Vec<String> =
            of.split('`').filter_map(|word| Some(word.strip_prefix('#')?.to_lowercase())).collect();
        for flag in flags {
            let flag = if flag == "-vv" { "-v" } else { flag };
            for command in &commands {
                let help = out_of(&site.client(&["help", command]).success()).to_owned();
                assert!(help.contains(flag), "{flag} of {command}: {help}");
            }
            if commands.is_empty() {
                let of = |program: &mut Command| program.arg("--help").output().unwrap().stdout;
                let both = [site.client_command(), site.server_command("a")];
                let helps: Vec<u8> = both.into_iter().flat_map(|mut one| of(&mut one)).collect();
                assert!(String::from_utf8_lossy(&helps).contains(flag), "{flag}");
            }
        }
    }
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let site = Site::new();
    let codes: Vec<&str> = rows("| ")
        .into_iter()
        .filter_map(|row| row.split(' ').nth(1).filter(|word| word.parse::<u8>().is_ok()))
        .collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "130"]);
    let down = site.client(&["download", "x", "a"]).code(3);
    assert!(!err_of(&down).is_empty());
}
