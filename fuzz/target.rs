//! One target: that of `peershare::fuzzing::TARGETS` that is called as this program is.

#![no_main]

use std::sync::OnceLock;

use peershare::fuzzing::Target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    let name = env!("CARGO_BIN_NAME");
    let target = TARGET.get_or_init(|| Target::of(name).expect("a target of that name"));
    (target.run)(bytes);
});
