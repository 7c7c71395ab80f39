//! The example as a user runs it, with the default model.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const MODEL: &str = "models/shapes.onnx";

/// Run `detect_folder`; `None` where no worker can run here.
fn detect(model: &str, folder: &Path) -> Option<Output> {
    let python = common::python()?;
    let mut program = Command::new(built());
    program.arg(model).arg(folder).arg(python).args(["-m", "worker"]);
    Some(program.current_dir(common::root()).output().unwrap())
}

/// The example as it stands, where this test was built and of what that was built of: little is left to build.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "--workspace", "--example", "detect_folder"]);
    cargo.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    cargo.arg("--target-dir").arg(profile.parent().unwrap());
    cargo.args(if cfg!(debug_assertions) { &[][..] } else { &["--release"] });
    assert!(cargo.status().unwrap().success());
    profile.join("examples/detect_folder").with_extension(std::env::consts::EXE_EXTENSION)
}

fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(lines: &[Value], folder: &Path) -> Vec<String> {
    let name = |line: &Value| {
        let path = PathBuf::from(line["picture"].as_str().unwrap());
        common::root().join(path).strip_prefix(folder).unwrap().display().to_string()
    };
    lines.iter().map(name).collect()
}

#[test]
fn the_scenes_are_detected_as_their_truth_says() {
    let scenes = common::root().join("models/scenes");
    let Some(output) = detect(MODEL, &scenes) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let truth: Value = serde_json::from_slice(&fs::read(scenes.join("truth.json")).unwrap()).unwrap();
    let lines = lines(&output);
    let names = names(&lines, &scenes);
    assert_eq!(names.len(), 8);
    assert!(names.is_sorted());
    let (mut drawn, mut found) = (0, 0);
    for (name, line) in names.iter().zip(&lines) {
        let truth = classes(&truth[name]);
        drawn += truth.len();
        found += in_both(truth, classes(&line["detections"]));
    }
    assert!(found * 100 >= drawn * 85, "the model has found {found} of {drawn} objects");
}

fn classes(objects: &Value) -> Vec<String> {
    objects
        .as_array()
        .unwrap()
        .iter()
        .map(|object| object["className"].as_str().unwrap().to_owned())
        .collect()
}

/// How many of the first are in the second too, each counted once.
fn in_both(first: Vec<String>, mut second: Vec<String>) -> usize {
    let taken =
        |name: &String| second.iter().position(|other| other == name).map(|place| second.remove(place));
    first.iter().filter_map(taken).count()
}

#[test]
fn a_broken_picture_is_told_and_does_not_stop_the_others() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("detect_folder");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("deep/er")).unwrap();
    let scene = common::root().join("models/scenes/scene-2-640x480.jpg");
    fs::copy(&scene, folder.join("deep/er/good.JPG")).unwrap();
    fs::write(folder.join("broken.png"), "no picture").unwrap();
    fs::write(folder.join("notes.txt"), "not looked at").unwrap();
    fs::copy(&scene, folder.join("last.jpeg")).unwrap();

    let Some(output) = detect(MODEL, &folder) else { return };
    assert_eq!(output.status.code(), Some(1));
    let lines = lines(&output);
    assert_eq!(names(&lines, &folder), ["broken.png", "deep/er/good.JPG", "last.jpeg"]);
    assert!(lines[0]["error"].as_str().unwrap().starts_with("decode_failed"), "{}", lines[0]);
    assert!(!lines[1]["detections"].as_array().unwrap().is_empty());
    assert_eq!(lines[1]["detections"], lines[2]["detections"]);
}

#[test]
fn a_model_that_is_not_there_is_told() {
    let Some(output) = detect("none.onnx", &common::root().join("models/scenes")) else { return };
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("none.onnx"));
}
