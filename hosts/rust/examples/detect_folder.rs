//! Detects objects in every picture of a folder and of the folders in it.
//!
//! ```sh
//! cargo run --release --example detect_folder -- MODEL FOLDER [COMMAND…]
//! ```
//!
//! COMMAND starts the worker, by default `python3 -m worker`. On a terminal stdout is a table, else one line
//! of JSON a picture. A picture that cannot be read is told and does not stop the others; the exit
//! status is 1 then.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, error, fs};

use futures_util::{stream, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use inferpipe::{Config, Detection, Image, InferResult, Worker};
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

const USAGE: &str = "usage: detect_folder MODEL FOLDER [COMMAND…]";
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Enough to keep the worker busy while files are read.
const IN_FLIGHT: usize = 16;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Detect, print, and return how many pictures have failed.
async fn run() -> Result<usize> {
    let mut arguments = env::args().skip(1);
    let (model, folder) = arguments.next().zip(arguments.next()).ok_or(USAGE)?;
    let command: Vec<String> = arguments.collect();
    let pictures = pictures_in(Path::new(&folder))?;

    let mut config = Config::default().model(model).set("batch_mode", "adaptive");
    if !command.is_empty() {
        config = config.command(command);
    }
    let worker = Worker::spawn(config).await?;
    if let Some(reason) = worker.ready().and_then(|ready| ready.slots.first()?.error.clone()) {
        return Err(reason.into());
    }

    let bar = progress_bar(pictures.len());
    let print = if io::stdout().is_terminal() { print_row } else { print_json };
    let mut failed = 0;
    let open = |path: PathBuf| async { (detect(&worker, &path).await, path) };
    let mut answers = stream::iter(pictures).map(open).buffered(IN_FLIGHT); // in their order
    while let Some((answer, path)) = answers.next().await {
        failed += usize::from(answer.is_err());
        bar.suspend(|| print(&path, &answer));
        bar.inc(1);
    }
    drop(answers);
    bar.finish_and_clear();
    worker.close().await?;
    Ok(failed)
}

async fn detect(worker: &Worker, path: &Path) -> Result<InferResult> {
    let file = tokio::fs::read(path).await?;
    Ok(worker.infer(0, Image::encoded(file)).await?)
}

/// Every picture below a folder, in the order of the names.
fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    entries.sort();
    let mut pictures = Vec::new();
    for path in entries {
        if path.is_dir() && !path.is_symlink() {
            pictures.extend(pictures_in(&path)?);
        } else if is_picture(&path) {
            pictures.push(path);
        }
    }
    Ok(pictures)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// Drawn on stderr, where that is a terminal.
fn progress_bar(pictures: usize) -> ProgressBar {
    let template = "{wide_bar} {pos}/{len} pictures, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template is fixed, and right");
    ProgressBar::new(pictures as u64).with_style(style)
}

fn print_json(path: &Path, answer: &Result<InferResult>) {
    let picture = path.display().to_string();
    let line = match answer {
        Ok(result) => json!({ "picture": picture, "detections": result.detections() }),
        Err(error) => json!({ "picture": picture, "error": error.to_string() }),
    };
    println!("{line}");
}

fn print_row(path: &Path, answer: &Result<InferResult>) {
    let found = match answer {
        Ok(result) if result.detections().is_empty() => "-".into(),
        Ok(result) => result.detections().iter().map(label).collect::<Vec<_>>().join(", "),
        Err(error) => format!("failed: {error}"),
    };
    println!("{:40}  {found}", path.display());
}

fn label(object: &Detection) -> String {
    match (&object.class_name, object.class_id) {
        (Some(name), _) => format!("{name} {:.2}", object.score),
        (None, Some(id)) => format!("class {id} {:.2}", object.score),
        (None, None) => format!("{:.2}", object.score),
    }
}
