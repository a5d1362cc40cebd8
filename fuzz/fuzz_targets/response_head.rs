#![no_main]

use libfuzzer_sys::fuzz_target;

// Three bytes for options and status; then lines: the location, and the fields with name and value parted by the first
// colon.
fuzz_target!(|bytes: &[u8]| {
    let Some(([flags, high, low], bytes)) = bytes.split_first_chunk() else { return };
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let location = lines.next().unwrap_or_default();
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], &line[colon + 1..]))
    });
    hub_proxy::fuzzing::response_head(*flags, u16::from_be_bytes([*high, *low]) % 1000, location, fields);
});
