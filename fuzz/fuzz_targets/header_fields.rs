#![no_main]

use libfuzzer_sys::fuzz_target;

// Lines of name and value, parted by the first colon.
fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|byte| *byte == b'\n');
    hub_proxy::fuzzing::header_fields(lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], &line[colon + 1..]))
    }));
});
