//! Finds `libpam`. Machines that run PAM have the library, most lack the link of the development package that linkers
//! look for; so a link of our own does. Without the library the program is built all the same, and says so when run.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where distributions keep it.
const FOLDERS: [&str; 9] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/lib64",
    "/usr/lib",
    "/lib",
    "/usr/local/lib",
];
/// What the crate for PAM links to.
const LIBRARIES: [&str; 2] = ["pam", "pam_misc"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(libpam)");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    if LIBRARIES.iter().all(|name| link(name, &out)) {
        println!("cargo::rustc-cfg=libpam");
        println!("cargo::rustc-link-search=native={}", out.display());
    } else {
        println!("cargo::warning=there is no libpam here: himalia-pam will answer every question with that");
    }
}

/// Whether there is a library of this name that the linker will find.
fn link(name: &str, out: &Path) -> bool {
    let found = FOLDERS
        .iter()
        .flat_map(|folder| [format!("{folder}/lib{name}.so"), format!("{folder}/lib{name}.so.0")])
        .find(|file| Path::new(file).exists());
    let Some(found) = found else { return false };
    let own = out.join(format!("lib{name}.so"));
    // Left over from an earlier build.
    let _ = std::fs::remove_file(&own);
    symlink(found, own).is_ok()
}
