#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &str| hub_proxy::fuzzing::paths(raw));
