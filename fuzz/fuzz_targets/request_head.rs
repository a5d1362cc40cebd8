#![no_main]

use libfuzzer_sys::fuzz_target;

use hub_proxy::fuzzing::{Asked, Framed, request_head};

// Two bytes for options and framing; then lines: target, key and path, and the fields with name and value parted by the
// first colon.
fuzz_target!(|bytes: &[u8]| {
    let Some(([flags, framed], bytes)) = bytes.split_first_chunk() else { return };
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let (target, key, path) = (text(), text(), text());
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], &line[colon + 1..]))
    });
    request_head(Asked { flags: *flags, target, key, path, framed: Framed::of(*framed) }, fields);
});
