//! Seeds that are changed by chance, for a moment on every `cargo test`.
//!
//! With `PEERSHARE_FUZZ_SECONDS=600` each target runs for so long, one after the other;
//! `PEERSHARE_FUZZ_TARGET=frame` runs that one alone. An input that fails is printed as text that a
//! shell's `printf` takes; kept in `fuzz/seeds/<target>/`, it is tried by every run from then on.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use super::{TARGETS, Target};

/// Runs of each target where nobody says how long.
const RUNS: usize = 1500;

/// Longest input in bytes.
const LONGEST: usize = 4096;

/// What stands at lengths and counts more often than chance would have it.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Words of the formats, which are put in as a whole.
const WORDS: [&str; 24] = [
    "\"type\":",
    "\"chunk\":",
    "null",
    "[[[[",
    "{\"a\":",
    "-1",
    "18446744073709551616",
    "1e999",
    "\\u0000",
    "\\ud800",
    "../",
    "//",
    "\0",
    "**/",
    "{a,b}",
    "[!",
    "\u{202e}",
    "\u{200c}",
    "#",
    "\n\n",
    " chunk ",
    "$'\\U0010ffff'",
    "d1:ai1ee",
    "99999999:",
];

/// Numbers by chance, the same on every run (splitmix64).
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, choice: &'a [T]) -> &'a T {
        &choice[self.below(choice.len())]
    }
}

/// An input that is like one of the seeds.
fn changed(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = chance.of(seeds).clone();
    for _ in 0..=chance.below(4) {
        change(&mut bytes, seeds, chance);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    match chance.below(10) {
        // A bit, or a byte.
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = chance.number() as u8;
            }
        }
        // Cut off, or out of the middle.
        2 => bytes.truncate(at),
        3 => {
            let end = (at + chance.below(16)).min(bytes.len());
            bytes.drain(at..end);
        }
        // The end of another, or a piece of it in the middle.
        4 => {
            let other = chance.of(seeds);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[chance.below(other.len() + 1)..]);
        }
        5 => {
            let other = chance.of(seeds);
            let from = chance.below(other.len() + 1);
            let piece = &other[from..(from + chance.below(32)).min(other.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        // A number of up to eight bytes, most often at the beginning, where lengths are.
        6 => {
            let (number, size) = (*chance.of(&NUMBERS), 1 << chance.below(4));
            let at = if chance.below(2) == 0 { at } else { chance.below(5) * 4 };
            for (place, byte) in number.to_be_bytes()[8 - size..].iter().enumerate() {
                if let Some(old) = bytes.get_mut(at + place) {
                    *old = *byte;
                }
            }
        }
        7 => {
            let word = chance.of(&WORDS).repeat(1 + chance.below(3));
            bytes.splice(at..at, word.bytes());
        }
        // Another number where text has one.
        _ => {
            let digits = |byte: &u8| byte.is_ascii_digit();
            let Some(from) = bytes.iter().skip(at).position(digits) else { return };
            let from = at + from;
            let length = bytes[from..].iter().take_while(|byte| digits(byte)).count();
            let number = chance.of(&NUMBERS).to_string();
            bytes.splice(from..from + length, number.bytes());
        }
    }
}

#[track_caller]
fn tried(target: &Target, input: &[u8]) {
    let run = AssertUnwindSafe(|| (target.run)(input));
    if panic::catch_unwind(run).is_err() {
        panic!("the target {} fails on\n\n    {}\n", target.name, input.escape_ascii());
    }
}

/// Runs a target on all of its seeds, and then on changed ones; says how often.
fn run(target: &Target, seconds: Option<u64>) -> usize {
    let seeds = target.seeds();
    assert!(!seeds.is_empty(), "the target {} has no seeds", target.name);
    seeds.iter().for_each(|seed| tried(target, seed));
    // Long runs begin elsewhere each time.
    let begin = if seconds.is_some() { u64::from(std::process::id()) << 32 } else { 1 };
    let (mut chance, mut runs, start) = (Chance(begin), 0, Instant::now());
    let goes_on = |runs: usize| match seconds {
        None => runs < RUNS,
        Some(seconds) => start.elapsed() < Duration::from_secs(seconds),
    };
    while goes_on(runs) {
        for _ in 0..100 {
            tried(target, &changed(&seeds, &mut chance));
        }
        runs += 100;
    }
    runs + seeds.len()
}

#[test]
fn nothing_that_reads_foreign_bytes_fails() {
    let seconds = std::env::var("PEERSHARE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let only = std::env::var("PEERSHARE_FUZZ_TARGET").ok();
    if let Some(name) = &only {
        assert!(Target::of(name).is_some(), "there is no target {name}");
    }
    for target in
        TARGETS.iter().filter(|target| only.as_ref().is_none_or(|only| only == target.name))
    {
        let start = Instant::now();
        let runs = run(target, seconds);
        println!("{:<16} {runs:>12} runs in {:.1?}", target.name, start.elapsed());
    }
}

#[test]
fn every_target_is_there_once_and_for_libfuzzer_too() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len());
    let manifest = include_str!("../../fuzz/Cargo.toml");
    let name = |line: &'static str| line.strip_prefix("name = \"")?.strip_suffix('"');
    let programs = manifest.lines().filter_map(name);
    let apart = ["peershare-fuzz", "corpus"];
    let programs: BTreeSet<&str> = programs.filter(|name| !apart.contains(name)).collect();
    assert_eq!(programs, names, "fuzz/Cargo.toml has other targets");
}

/// Chance that never gets past the first check tries nothing.
#[test]
fn many_of_the_changed_seeds_are_still_read() {
    use super::messages::repaired;
    use crate::wire::{Request, Response, read_head};
    let seeds = Target::of("frame").unwrap().seeds();
    let mut chance = Chance(2);
    let is_read = |bytes: &Vec<u8>| {
        let bytes = repaired(bytes);
        read_head::<Request>(&mut &bytes[..]).is_ok()
            || read_head::<Response>(&mut &bytes[..]).is_ok()
    };
    let inputs: Vec<Vec<u8>> = (0..2000).map(|_| changed(&seeds, &mut chance)).collect();
    let read = inputs.iter().filter(|input| is_read(input)).count();
    assert!((200..1800).contains(&read), "{read} of 2000 are frames");
}
