//! Commands as they are typed: several names, ways to name peers, flags in any place, help.

use std::fs;

use peershare::client::ExitStatus;

use super::client_program::{err_of, out_of};
use super::lab::{Lab, bytes, eventually};
use super::programs::{Running, Server, Site};

/// Three peers in two groups, with a file each.
fn lab() -> Lab {
    let lab = Lab::of(&["p1", "p2", "p3"]);
    for peer in ["p1", "p2", "p3"] {
        lab.put(peer, &format!("of-{peer}.txt"), peer.as_bytes());
    }
    let text = fs::read_to_string(lab.settings()).unwrap();
    let groups = ["group=lab", "group=lab,old", "group=old"];
    let lines: String =
        text.lines().zip(groups).map(|(line, group)| format!("{line} {group}\n")).collect();
    fs::write(lab.settings(), lines).unwrap();
    lab
}

#[test]
fn peers_are_chosen_by_range_group_and_exception() {
    let lab = lab();
    for (typed, expected) in [
        ("filelist p[1-2]", "p1 p2"),
        ("filelist @old", "p2 p3"),
        ("filelist all -x p2", "p1 p3"),
        ("filelist -x @lab", "p3"),
        ("filelist --peers p1,p3", "p1 p3"),
    ] {
        let listed = lab.client().run(typed).succeeded().out;
        let peers: Vec<&str> = listed.lines().filter_map(|line| line.split('\t').nth(3)).collect();
        assert_eq!(peers.join(" "), expected, "{typed}");
    }
    lab.client()
        .run("filelist @new")
        .is(ExitStatus::Usage)
        .tells("no peer is in group new; known: lab, old");
    lab.client().run("filelist -x all").is(ExitStatus::Usage).tells("leaves out every peer");
}

#[test]
fn several_names_go_in_one_command() {
    let lab = lab();
    let outcome = lab.client().run("download of-p1.txt of-p3.txt p[1-3]").succeeded();
    assert_eq!(outcome.out.lines().count(), 2, "{outcome:?}");
    assert_eq!(lab.visible("me"), ["of-p1.txt", "of-p3.txt"]);
    lab.put("me", "new1.bin", &bytes(1, 5000));
    lab.put("me", "new2.bin", &bytes(2, 5000));
    lab.client().run("upload new1.bin new2.bin @lab").succeeded();
    assert_eq!(lab.read("p2", "new2.bin").unwrap(), bytes(2, 5000));
    assert!(lab.read("p3", "new1.bin").is_none());
    // The first failure counts, and the others are done.
    let outcome =
        lab.client().run("download nothing.txt of-p2.txt").is(ExitStatus::SomePeersFailed);
    outcome.tells("no peer has nothing.txt").prints("downloaded of-p2.txt");
}

#[test]
fn nothing_is_sent_when_one_of_several_is_not_there_or_a_peer_is_mistyped() {
    let lab = lab();
    lab.put("me", "here.bin", b"x");
    lab.client()
        .run("upload here.bin gone.bin p1")
        .is(ExitStatus::NoSuchFile)
        .tells("no file or folder gone.bin");
    lab.client()
        .run("upload here.bin p4")
        .is(ExitStatus::Usage)
        .tells("unknown peer p4; known: p[1-3]");
    assert!(lab.read("p1", "here.bin").is_none());
}

#[test]
fn a_flag_has_every_word_be_a_name() {
    let lab = Lab::of(&["a", "b"]);
    lab.put("b", "a", b"a file called like a peer");
    lab.client().run("download --peers b a").succeeded().prints("downloaded a");
    assert!(lab.read("me", "a").is_some());
}

#[test]
fn whoever_answers_at_an_address_is_asked() {
    let site = Site::new();
    let server = site.server("a");
    site.put("a", "x.txt", b"x");
    site.list_peers(&[("other", 1)]);
    let address = format!("127.0.0.1:{}", server.port);
    let done = site.client(&["filelist", &address]).success();
    assert!(out_of(&done).contains(&format!("127-0-0-1-{}", server.port)), "{}", out_of(&done));
    site.client(&["download", "x.txt", &address]).success();
    site.put("me", "y.txt", b"y");
    site.client(&["upload", "y.txt", &address]).success();
    assert_eq!(site.read("a", "y.txt").unwrap(), b"y");
    let bad = site.client(&["filelist", "127.0.0.1:70000"]).code(2);
    assert!(err_of(&bad).contains("\"70000\" is not a port"), "{}", err_of(&bad));
}

#[test]
fn flags_of_the_program_stand_anywhere_and_a_line_may_be_one_word() {
    let site = Site::new();
    let server = site.server("a");
    site.put("a", "x.txt", b"x");
    site.list_peers(&[("a", server.port)]);
    site.client(&["#FILELIST a"]).success();
    site.client(&["-v", "#FileList", "a", "--timeout", "5s"]).success();
    site.client(&["filelist", "--peer", "a"]).code(2);
    let bad = site.client(&["download", "x.txt", "--timeout", "soon"]).code(2);
    assert!(err_of(&bad).contains("write seconds, as in 90, or 5m or 1h"), "{}", err_of(&bad));
    assert_eq!(err_of(&bad).lines().count(), 1, "{}", err_of(&bad));
}

#[test]
fn every_command_explains_itself() {
    let site = Site::new();
    for command in [
        "filelist", "upload", "download", "search", "peers", "ping", "status", "cancel", "connect",
        "files", "parts", "publish", "create", "verify", "help", "quit",
    ] {
        let helped = site.client(&["help", command]).success();
        let asked = site.client(&[command, "--help"]).success();
        assert_eq!(out_of(&helped), out_of(&asked));
        let examples =
            out_of(&helped).lines().skip_while(|line| !line.starts_with("Examples:")).count();
        assert!(examples >= 3, "{}", out_of(&helped));
    }
    let bad = site.client(&["help", "uplaod"]).code(2);
    assert!(err_of(&bad).contains("did you mean #UPLOAD?"), "{}", err_of(&bad));
    for shell in ["bash", "zsh", "fish"] {
        let script = site.client(&["--completions", shell]).success();
        assert!(
            out_of(&script).contains("download") && out_of(&script).contains("no-swarm"),
            "{shell}"
        );
    }
    let man = site.client(&["--man"]).success();
    assert!(
        out_of(&man).contains(".TH client 1") && out_of(&man).contains("no\\-swarm"),
        "{}",
        out_of(&man)
    );
}

#[test]
fn a_peer_that_is_connected_to_is_known_for_the_session() {
    let site = Site::new();
    let server = site.server("a");
    site.put("a", "x.txt", b"x");
    site.list_peers(&[("other", 1)]);
    let typed = format!(
        "filelist nas\nconnect 127.0.0.1:{} nas\nfilelist x.txt nas\nconnect 127.0.0.1:1 other\nconnect 127.0.0.1:1\n",
        server.port
    );
    let mut client = assert_cmd::Command::from_std(site.client_command());
    let done = client.write_stdin(typed).timeout(super::lab::DEADLINE).assert().code(2);
    let (out, err) = (out_of(&done), err_of(&done));
    assert!(err.contains("unknown peer nas; known: other"), "{err}");
    assert!(out.contains("nas\tup\t") && out.contains("x.txt\t1\t"), "{out}");
    assert!(out.contains("127-0-0-1-1\tdown"), "{out}");
}

/// A server `a` with a file and a folder.
fn served() -> (Site, Server) {
    let site = Site::new();
    site.put("a", "x.txt", b"x");
    site.put("a", "photos/1.jpg", b"one");
    site.put("a", "photos/deep/2.jpg", b"two");
    let server = site.server("a");
    site.list_peers(&[("a", server.port)]);
    (site, server)
}

#[test]
fn downloads_go_where_and_are_called_as_one_says() {
    let (site, _server) = served();
    let to = site.path("else where");
    let words = ["download", "x.txt", "photos/", "--to", to.to_str().unwrap(), "--peers", "a"];
    site.client(&words).success();
    assert_eq!(site.read("else where", "photos/deep/2.jpg").unwrap(), b"two");
    assert_eq!(site.read("else where", "x.txt").unwrap(), b"x");
    assert!(!to.join(".peershare").exists(), "nothing of ours stays");
    assert!(!site.path("me").exists());
    site.client(&["download", "x.txt", "a", "--as", "sub/y.txt"]).success();
    site.client(&["download", "photos", "--as", "pictures/"]).success();
    assert_eq!(site.read("me", "sub/y.txt").unwrap(), b"x");
    assert_eq!(site.read("me", "pictures/deep/2.jpg").unwrap(), b"two");
    assert!(site.read("me", "photos/1.jpg").is_none());
    let again = site.client(&["download", "photos", "--as", "pictures"]).success();
    assert!(out_of(&again).contains("0 files") && out_of(&again).contains("2 files there already"));
    let two = site.client(&["download", "x.txt", "photos/", "--as", "z", "--peers", "a"]).code(2);
    assert!(err_of(&two).contains("--as goes with one name"), "{}", err_of(&two));
    site.client(&["download", "x.txt", "--as", "../out"]).code(2);
    let pattern = site.client(&["download", "photos/**", "--as", "z"]).code(2);
    assert!(err_of(&pattern).contains("not with the pattern"), "{}", err_of(&pattern));
    for (to, why) in
        [("", "--to needs the name"), ("me/.peershare/x", "keeps that folder for itself")]
    {
        let refused = site.client(&["download", "x.txt", "--to", to]).code(2);
        assert!(err_of(&refused).contains(why), "{}", err_of(&refused));
    }
    let empty = site.path("empty");
    fs::create_dir(&empty).unwrap();
    site.client(&["download", "absent", "--to", empty.to_str().unwrap()]).code(4);
    assert!(
        fs::read_dir(&empty).unwrap().next().is_none(),
        "a folder that was there stays, as it was"
    );
}

#[test]
fn uploads_go_where_and_are_called_as_one_says() {
    let (site, _server) = served();
    site.put("me", "own.txt", b"own");
    site.put("me", "folder/f", b"f");
    site.put("away", "other/g", b"g");
    let away = site.path("away/other");
    site.client(&["upload", "own.txt", "a", "--as", "theirs.txt"]).success();
    site.client(&["upload", "own.txt", "folder", "a", "--to", "inbox/today"]).success();
    site.client(&["upload", "folder", "a", "--as", "renamed"]).success();
    site.client(&["upload", away.to_str().unwrap(), "a", "--to", "inbox", "--as", "that"])
        .success();
    for (name, bytes) in [
        ("theirs.txt", b"own".as_slice()),
        ("inbox/today/own.txt", b"own"),
        ("inbox/today/folder/f", b"f"),
        ("renamed/f", b"f"),
        ("inbox/that/g", b"g"),
    ] {
        assert_eq!(site.read("a", name).as_deref(), Some(bytes), "{name}");
    }
    let outside = site.client(&["upload", "own.txt", "a", "--to", "/data"]).code(2);
    assert!(err_of(&outside).contains("--to /data"), "{}", err_of(&outside));
    assert!(site.read("a", "own.txt").is_none() && site.read("a", "folder/f").is_none());
}

#[test]
fn what_is_named_is_left_out_too() {
    let (site, _server) = served();
    site.put("me", "own.txt", b"own");
    site.put("me", "new.txt", b"new");
    let some = site.client(&["download", "x.txt", "photos/", "a", "-x", "x.*"]).success();
    assert!(err_of(&some).contains("-x leaves out x.txt"), "{}", err_of(&some));
    assert!(site.read("me", "x.txt").is_none());
    assert_eq!(site.read("me", "photos/1.jpg").unwrap(), b"one");
    let away = site.path("me/own.txt");
    site.client(&["upload", away.to_str().unwrap(), "new.txt", "a", "-x", "own.txt"]).success();
    assert!(site.read("a", "own.txt").is_none());
    assert_eq!(site.read("a", "new.txt").unwrap(), b"new");
    site.put("me", "more/a.txt", b"a");
    for command in ["download x.txt -x x.txt", "upload new.txt a -x *.txt", "upload more a -x *"] {
        let none = site.client(&command.split(' ').collect::<Vec<_>>()).code(2);
        assert!(err_of(&none).contains("-x leaves out everything"), "{}", err_of(&none));
    }
}

#[test]
fn patterns_are_of_the_served_folder_or_of_where_one_stands() {
    let (site, _server) = served();
    site.put("me", "in.log", b"in");
    for name in ["near.dat", "sub/x.dat", "sub/deep/y.dat", "own.log"] {
        let path = site.path("").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    site.client(&["upload", "*.dat", "a"]).success();
    assert_eq!(site.read("a", "near.dat").unwrap(), b"near.dat");
    assert!(site.read("a", "sub/x.dat").is_none(), "* stays within a folder");
    site.client(&["upload", "./sub/**", "a", "--to", "t"]).success();
    assert_eq!(site.read("a", "t/deep/y.dat").unwrap(), b"sub/deep/y.dat");
    site.client(&["upload", "*.log", "a"]).success();
    assert!(site.read("a", "own.log").is_none(), "what is served goes first");
    site.client(&["upload", "./*.log", "a"]).success();
    assert_eq!(site.read("a", "own.log").unwrap(), b"own.log");
    let none = site.client(&["upload", "./no/*.log", "a"]).code(4);
    assert!(err_of(&none).contains("nothing here fits ./no/*.log"), "{}", err_of(&none));
    let none = site.client(&["upload", "near.dat", "b[7-9]"]).code(4);
    assert!(err_of(&none).contains("no peer is called so, either"), "{}", err_of(&none));
}

#[test]
fn what_nobody_has_is_no_peer_where_peers_are_named() {
    let (site, _server) = served();
    let both = site.client(&["filelist", "nosuch"]).code(2);
    assert!(err_of(&both).contains("unknown peer nosuch"), "{}", err_of(&both));
    let name = site.client(&["filelist", "--peers", "a", "nosuch"]).code(4);
    assert!(err_of(&name).contains("no peer has nosuch"), "{}", err_of(&name));
}

#[test]
fn what_comes_while_a_server_runs_has_an_id_too() {
    let (site, _server) = served();
    site.put("a", "later.bin", b"later");
    let id = || {
        let listed = out_of(&site.client(&["filelist", "later.bin"]).success()).to_owned();
        listed.trim_end().split('\t').nth(2).map(str::to_owned).filter(|id| id != "-")
    };
    let mut found = None;
    eventually("the server hashes what is new", || {
        found = id();
        found.is_some()
    });
    // What nobody has listed yet is looked for when it is asked for.
    site.put("a", "latest.bin", b"latest");
    site.put("me", "same.bin", b"latest");
    site.client(&["verify", "same.bin"]).success();
    let own = out_of(&site.client(&["files", "same.bin"]).success()).to_owned();
    let id = own.trim_end().split('\t').nth(2).unwrap();
    eventually("it is found by its id", || {
        let found = assert_cmd::Command::from_std(site.client_command())
            .args(["search", id])
            .output()
            .unwrap();
        String::from_utf8_lossy(&found.stdout).contains("latest.bin")
    });
}

#[test]
fn peers_may_be_left_out_where_they_are_asked_how_they_are() {
    let site = Site::new();
    site.list_peers(&[("a", 1), ("b", 2)]);
    for command in ["peers", "ping"] {
        let asked = site.client(&[command, "-x", "b"]).code(3);
        assert!(out_of(&asked).starts_with("a\t"), "{}", out_of(&asked));
        assert_eq!(out_of(&asked).lines().count(), 1);
        let nobody = site.client(&[command, "-x", "c"]).code(2);
        assert!(err_of(&nobody).contains("-x c: no peer is called so"), "{}", err_of(&nobody));
    }
}

#[test]
fn a_search_finds_names_that_look_like_patterns() {
    let (site, _server) = served();
    site.put("a", "film [x].mkv", b"1");
    site.put("a", "x", b"2");
    let found = out_of(&site.client(&["search", "[x]"]).success());
    assert!(found.contains("film [x].mkv\t") && found.lines().count() == 2, "{found}");
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let (site, _server) = served();
    site.put("me", "up/1", b"1");
    site.put("me", "photos/1.jpg", b"one");
    let planned = site.client(&["download", "photos/", "--dry-run"]).success();
    let expected = "would download photos/: 1 file, 3 B; 1 file there already\n";
    assert_eq!(out_of(&planned), expected);
    let planned = site.client(&["download", "x.txt", "--dry-run"]).success();
    assert_eq!(out_of(&planned), "would download x.txt, 1 B, from a\n");
    let planned = site.client(&["upload", "up", "a", "--dry-run"]).success();
    assert_eq!(out_of(&planned), "a: would upload up/: 1 file, 1 B\n");
    let planned = site.client(&["upload", "up", "a", "--dry-run", "--to", "in", "--as", "here"]);
    let expected = "a: would upload in/here/ (from up/): 1 file, 1 B\n";
    assert_eq!(out_of(&planned.success()), expected);
    let planned = site.client(&["upload", "up/1", "--as", "one.txt", "--dry-run"]).success();
    assert_eq!(out_of(&planned), "a: would upload one.txt (from up/1), 1 B\n");
    let planned = site.client(&["upload", "photos", "--dry-run"]).success();
    let same = "a: would upload photos/: 0 files, 0 B; 1 file there already\n";
    assert_eq!(out_of(&planned), same);
    let planned = site.client(&["upload", "up/1", "--as", "x.txt", "--dry-run"]).success();
    assert!(out_of(&planned).contains("of the same length; the upload would"), "{planned:?}");
    site.put("me", "longer", b"longer");
    let planned = site.client(&["upload", "longer", "--as", "x.txt", "--dry-run"]).code(5);
    assert!(out_of(&planned).contains("--replace overwrites it"), "{planned:?}");
    site.client(&["upload", "longer", "--as", "x.txt", "--dry-run", "--replace"]).success();
    site.client(&["download", "gone.txt", "--dry-run"]).code(4);
    site.put("me", "photos/deep/2.jpg", b"another");
    site.client(&["download", "photos/", "--dry-run"]).code(7);
    site.client(&["download", "photos/deep/2.jpg", "--dry-run"]).code(5);
    site.client(&["download", "photos/", "--dry-run", "--replace"]).success();
    site.client(&["download", "photos/deep/2.jpg", "--dry-run", "--replace"]).success();
    assert_eq!(site.read("me", "photos/deep/2.jpg").unwrap(), b"another");
    assert!(site.read("me", "x.txt").is_none() && site.read("a", "up/1").is_none());
}

#[test]
fn a_peer_that_is_down_is_tried_again_or_waited_for() {
    let (site, server) = served();
    let port = server.port;
    drop(server);
    let failed = site.client(&["download", "x.txt", "--retries", "1"]).code(3);
    assert!(err_of(&failed).contains("trying again, 1 of 1"), "{}", err_of(&failed));
    let mut client = Running::start(site.client_command().args(["download", "x.txt", "--wait"]));
    client.wait_for("waiting until these are up: a");
    let mut server = site.server_command("a");
    let server = Running::start(server.args(["--listen", &format!("127.0.0.1:{port}")]));
    server.wait_for("listens on");
    assert!(client.ends().success());
    assert_eq!(site.read("me", "x.txt").unwrap(), b"x");
}
