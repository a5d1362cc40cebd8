#![no_main]

use libfuzzer_sys::fuzz_target;

// The first byte says whether the client is trusted and wants a websocket; then lines of name and value, parted by the first colon.
fuzz_target!(|bytes: &[u8]| {
    let Some((flags, bytes)) = bytes.split_first() else { return };
    let lines = bytes.split(|byte| *byte == b'\n');
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], &line[colon + 1..]))
    });
    hub_proxy::fuzzing::forwarded(fields, flags & 1 == 0, flags & 2 == 0);
});
