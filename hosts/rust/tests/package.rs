//! What is published: the library, its examples, and nothing else.

use std::path::Path;
use std::process::Command;

/// Beside the sources of the library and the examples.
const FILES: [&str; 5] = ["Cargo.lock", "Cargo.toml", "Cargo.toml.orig", "README.md", "LICENSE"];

fn listed() -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
}

#[test]
fn the_package_has_the_sources_and_nothing_else() {
    for file in listed() {
        let source = file.ends_with(".rs") && (file.starts_with("src/") || file.starts_with("examples/"));
        // cargo's own record of the commit that it was made from
        let known = FILES.contains(&file.as_str()) || file == ".cargo_vcs_info.json";
        assert!(source || known, "{file} is in the package");
    }
}

#[test]
fn the_package_has_all_that_it_needs() {
    let listed = listed();
    let sources = ["src", "examples"].map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    let mut wanted = ["Cargo.toml", "README.md", "LICENSE"].map(String::from).to_vec();
    for folder in sources {
        wanted.extend(rust_files(&folder));
    }
    for file in wanted {
        assert!(listed.contains(&file), "{file} is not in the package");
    }
}

/// Every Rust file below a folder, as named from the package's root.
fn rust_files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            files.push(name.to_str().unwrap().replace('\\', "/"));
        }
    }
    files
}
