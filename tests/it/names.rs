//! What a name means that somebody types: the very name first, then what is nearly that.

use peershare::client::ExitStatus;

use super::lab::Lab;
use super::programs::Site;

#[test]
fn a_name_that_a_peer_has_is_that_name_and_no_pattern() {
    let lab = Lab::of(&["a"]);
    for name in [
        "x[1].txt",
        "x1.txt",
        "a[b",
        "c{d",
        "e*",
        "ef",
        "photos [2020]/a",
        "photos 2/b",
        "q?.d/f",
        "qx.d/f",
    ] {
        lab.put("a", name, name.as_bytes());
    }
    for (typed, comes) in [
        ("'x[1].txt'", "x[1].txt"),
        ("'a[b'", "a[b"),
        ("'c{d'", "c{d"),
        ("'e*'", "e*"),
        ("'photos [2020]/'", "photos [2020]/a"),
        ("'photos [2020]'", "photos [2020]/a"),
        ("'q?.d/'", "q?.d/f"),
    ] {
        lab.client().run(&format!("download {typed}")).succeeded();
        assert_eq!(lab.read("me", comes).as_deref(), Some(comes.as_bytes()), "{typed}");
    }
    for other in ["x1.txt", "ef", "photos 2/b", "qx.d/f"] {
        assert!(lab.read("me", other).is_none(), "{other} came too");
    }
    std::fs::create_dir_all(lab.folder("a").join("empty [1]")).unwrap();
    lab.client().run("download 'empty [1]/'").succeeded();
    assert!(lab.folder("me").join("empty [1]").is_dir());
    // Nobody has these very names, so they are patterns.
    lab.client().run("download 'x[0-9].txt'").succeeded();
    lab.client().run("download 'photos ?/'").succeeded();
    assert!(lab.read("me", "x1.txt").is_some() && lab.read("me", "photos 2/b").is_some());
    let listed = lab.client().run("filelist 'x[1].txt'").succeeded();
    assert!(listed.out.contains("x[1].txt") && !listed.out.contains("x1.txt"), "{listed:?}");
}

#[test]
fn what_is_given_away_is_the_very_name_first_too() {
    let lab = Lab::of(&["a"]);
    for name in ["x[1].txt", "x1.txt", "photos [2020]/a", "photos 2/b"] {
        lab.put("me", name, name.as_bytes());
    }
    lab.client().run("upload 'x[1].txt'").succeeded();
    lab.client().run("upload 'photos [2020]/'").succeeded();
    assert!(lab.read("a", "x[1].txt").is_some() && lab.read("a", "photos [2020]/a").is_some());
    assert!(lab.read("a", "x1.txt").is_none() && lab.read("a", "photos 2/b").is_none());
}

#[test]
fn what_is_not_there_is_an_error_with_the_nearest_name() {
    let lab = Lab::of(&["a", "b"]);
    lab.put("a", "photos/x", b"x");
    lab.put("me", "fotos/y", b"y");
    std::fs::create_dir_all(lab.folder("me").join("empty")).unwrap();
    for (typed, says) in [
        ("download photoz/", "did you mean photos/?"),
        ("download photoz", "did you mean photos/?"),
        ("download 'nothing*'", "no peer has nothing*"),
        ("filelist 'nothing*'", "no peer has nothing*"),
        ("filelist photoz/", "did you mean photos/?"),
        ("upload fotoz/ a", "did you mean fotos/?"),
        ("upload '*.isoo' a", "nothing here fits *.isoo"),
    ] {
        let outcome = lab.client().run(typed).is(ExitStatus::NoSuchFile).tells(says);
        assert!(outcome.out.is_empty(), "{outcome:?}");
    }
    // One line for all that have it not.
    let outcome = lab.client().run("download zzz");
    assert_eq!(outcome.err.lines().count(), 1, "{outcome:?}");
    outcome.tells("asked: a, b");
    // An empty folder that is there is no mistake.
    lab.client().run("upload empty/ a").succeeded();
    lab.client().run("download empty/ a").succeeded();
}

#[test]
fn what_is_nearly_right_is_done_where_it_is_clear() {
    let lab = Lab::of(&["a"]);
    lab.put("a", "d/x", b"x");
    lab.put("a", "cafe\u{301}.txt", b"y");
    lab.put("a", "Shot 1.00\u{202f}PM.png", b"z");
    lab.client().run("download d").succeeded().prints("downloaded d/");
    lab.client().run("download ./d//x").succeeded().prints("d/x is already here");
    lab.client().run("download caf\u{e9}.txt").succeeded();
    assert!(lab.read("me", "cafe\u{301}.txt").is_some());
    let outcome = lab.client().run("download 'Shot 1.00 PM.png'").is(ExitStatus::NoSuchFile);
    outcome.tells("did you mean Shot 1.00\u{202f}PM.png?");
    lab.client().run("download d/x/").is(ExitStatus::NoSuchFile).tells("did you mean d/x?");
    lab.client().run("filelist d").succeeded().prints("d/x");
    lab.client().run("filelist ./d/x a").succeeded().prints("d/x");
}

#[test]
fn a_word_after_filelist_that_no_peer_is_called_by_is_a_file() {
    let lab = Lab::of(&["a", "b"]);
    lab.put("a", "same.txt", b"x");
    lab.put("b", "other.txt", b"x");
    let listed = lab.client().run("filelist same.txt").succeeded();
    assert!(listed.out.starts_with("same.txt\t") && !listed.out.contains("other"), "{listed:?}");
    lab.client()
        .run("filelist other.txt a")
        .is(ExitStatus::NoSuchFile)
        .tells("no peer has other.txt");
}

#[test]
fn of_two_files_that_may_be_meant_none_is_guessed() {
    let site = Site::new();
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    site.put("me", "report.txt", b"of the served folder");
    site.put("", "report.txt", b"where the user stands");
    let refused = site.client(&["upload", "report.txt"]).code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    let served = site.path("me").canonicalize().unwrap().join("report.txt");
    assert!(said.contains("./report.txt") && said.contains(served.to_str().unwrap()), "{said}");
    assert!(site.read("a", "report.txt").is_none());
    let given = site.client(&["upload", "./report.txt"]).code(0);
    assert!(String::from_utf8_lossy(&given.get_output().stdout).contains("(from ./report.txt)"));
    assert_eq!(site.read("a", "report.txt").unwrap(), b"where the user stands");
    site.client(&["upload", served.to_str().unwrap(), "--replace"]).code(0);
    assert_eq!(site.read("a", "report.txt").unwrap(), b"of the served folder");
    // The same content twice is no question.
    site.put("", "report.txt", b"of the served folder");
    site.client(&["upload", "report.txt"]).code(0);
}

#[test]
fn a_folder_is_called_by_its_own_name_however_it_is_reached() {
    let site = Site::new();
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    site.put("trip", "x", b"x");
    let settings = site.path("peer_settings.txt");
    for typed in [".", "../trip", "../trip/."] {
        let mut client = assert_cmd::Command::new(env!("CARGO_BIN_EXE_client"));
        client
            .arg("--peer-settings")
            .arg(&settings)
            .args(["upload", typed])
            .current_dir(site.path("trip"));
        let done = client.timeout(super::lab::DEADLINE).assert().code(0);
        let said = String::from_utf8_lossy(&done.get_output().stdout).into_owned();
        assert!(said.contains("uploaded trip/ (from "), "{said}");
    }
    assert_eq!(site.read("a", "trip/x").unwrap(), b"x");
}

#[test]
fn a_file_that_the_system_makes_up_while_it_is_read_is_not_given_away_as_empty() {
    let site = Site::new();
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    let refused = site.client(&["upload", "/proc/version"]);
    let output = refused.get_output();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("copy it to an ordinary file first"));
    assert!(site.read("a", "version").is_none());
}
