//! The scripts' own tests, run where the build put the sources and their packages.

use std::process::Command;

#[test]
fn tests_of_the_scripts_pass() {
    let sources = concat!(env!("OUT_DIR"), "/frontend");
    let done = Command::new("node")
        .arg("test.mjs")
        .current_dir(sources)
        .output()
        .expect("the build needed node as well");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("pass 17"), "some tests did not run:\n{said}");
}
