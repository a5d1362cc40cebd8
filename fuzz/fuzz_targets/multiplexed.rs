#![no_main]

use libfuzzer_sys::fuzz_target;

// The first byte says whether it is a websocket and has a body; then lines: the address, and the fields with name and
// value parted by the first colon.
fuzz_target!(|bytes: &[u8]| {
    let Some((flags, bytes)) = bytes.split_first() else { return };
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let uri = std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], &line[colon + 1..]))
    });
    hub_proxy::fuzzing::multiplexed(uri, flags & 1 == 0, flags & 2 == 0, fields);
});
