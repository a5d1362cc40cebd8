#![no_main]

use libfuzzer_sys::fuzz_target;

// The first byte says in which pieces the rest arrives.
fuzz_target!(|bytes: &[u8]| {
    if let Some((piece, bytes)) = bytes.split_first() {
        hub_proxy::fuzzing::framing(bytes, usize::from(*piece));
    }
});
