//! Which names a client may ask for. Pure: nothing here touches a disk.
//!
//! The rules are stricter than the disk's own and the same on every system, so that what one
//! machine refuses no other serves. That a name leads out of the root by a link is found by
//! [`crate::files`], when it is opened.

use std::fmt;
use std::path::PathBuf;

/// The longest name, in bytes, that is looked at.
const MAX_NAME: usize = 1024;
/// The longest segment, in bytes: what common file systems hold.
const MAX_SEGMENT: usize = 255;
/// A model id is `owner/name` or `name`.
const MAX_MODEL_SEGMENTS: usize = 2;
/// How many characters of a refused name are repeated in the answer.
const MAX_ECHO: usize = 80;

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// Longer than [`MAX_NAME`].
    #[error("it is longer than {MAX_NAME} bytes")]
    TooLong,
    /// A NUL, which ends a name early for some systems.
    #[error("it has a NUL character")]
    Nul,
    /// A backslash, which parts folders on Windows.
    #[error("it has a backslash; folders are parted by \"/\"")]
    Backslash,
    /// Begins with `/`.
    #[error("it begins with \"/\"; names are relative")]
    Absolute,
    /// More than [`MAX_MODEL_SEGMENTS`].
    #[error("it has more than {MAX_MODEL_SEGMENTS} segments; a model is \"owner/name\" or \"name\"")]
    TooManySegments,
    /// `a//b` or `a/`.
    #[error("it has an empty segment")]
    EmptySegment,
    /// `.` or `..`.
    #[error("it has a segment \".\" or \"..\"")]
    Dots,
    /// `C:`, or any colon on Windows, where it also names streams within a file.
    #[error("it has a drive letter")]
    Drive,
    /// Longer than [`MAX_SEGMENT`].
    #[error("it has a segment longer than {MAX_SEGMENT} bytes")]
    LongSegment,
}

/// A test and the flaw that it finds.
type Rule = (fn(&str) -> bool, Flaw);

/// Rules for a whole name, in the order in which they are looked at.
const NAME_RULES: &[Rule] = &[
    (str::is_empty, Flaw::Empty),
    (|name| name.len() > MAX_NAME, Flaw::TooLong),
    (|name| name.contains('\0'), Flaw::Nul),
    (|name| name.contains('\\'), Flaw::Backslash),
    (|name| name.starts_with('/'), Flaw::Absolute),
];

/// Rules for what stands between slashes.
const SEGMENT_RULES: &[Rule] = &[
    (str::is_empty, Flaw::EmptySegment),
    (|segment| matches!(segment, "." | ".."), Flaw::Dots),
    (has_drive, Flaw::Drive),
    (|segment| segment.len() > MAX_SEGMENT, Flaw::LongSegment),
];

/// A field of the request whose name is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {} is refused: {flaw}", Echo(name))]
pub struct PathError {
    /// The field's name in the contract.
    field: &'static str,
    /// What was asked.
    name: String,
    /// Why it is not served.
    flaw: Flaw,
}

/// A file's name, checked: relative, below the root by its words alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPath {
    /// `owner/name` or `name`.
    model: String,
    /// The file within the model.
    file: String,
}

impl ModelPath {
    /// Checks both names of a request.
    ///
    /// # Errors
    ///
    /// The first flaw found, with its field.
    pub fn new(model_id: String, file_path: String) -> Result<Self, PathError> {
        let model = accept("model_id", model_id, model_flaw)?;
        let file = accept("file_path", file_path, name_flaw)?;
        Ok(Self { model, file })
    }

    /// The model, as it was asked.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The file within the model, as it was asked.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where the file is, relative to the root.
    pub fn relative(&self) -> PathBuf {
        [self.model(), self.file()].iter().collect()
    }
}

/// Shows a name quoted, escaped, and cut where it is long.
struct Echo<'a>(&'a str);

impl fmt::Display for Echo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_ECHO) {
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// A client's name as log lines and answers show it: one line, quoted, of a bounded length.
pub fn echo(name: &str) -> impl fmt::Display + '_ {
    Echo(name)
}

/// The name itself, or the error that its flaw is.
fn accept(field: &'static str, name: String, flaw: fn(&str) -> Option<Flaw>) -> Result<String, PathError> {
    match flaw(&name) {
        None => Ok(name),
        Some(flaw) => Err(PathError { field, name, flaw }),
    }
}

/// The first flaw of a model id.
fn model_flaw(name: &str) -> Option<Flaw> {
    let too_many = name.split('/').count() > MAX_MODEL_SEGMENTS;
    name_flaw(name).or(too_many.then_some(Flaw::TooManySegments))
}

/// The first flaw of a name.
fn name_flaw(name: &str) -> Option<Flaw> {
    first(NAME_RULES, name).or_else(|| name.split('/').find_map(|segment| first(SEGMENT_RULES, segment)))
}

/// The first rule's flaw that a text has.
fn first(rules: &[Rule], text: &str) -> Option<Flaw> {
    let broken = rules.iter().find(|(breaks, _)| breaks(text));
    broken.map(|(_, flaw)| *flaw)
}

/// Whether a segment has a drive letter (`C:`), or on Windows any colon.
fn has_drive(segment: &str) -> bool {
    let mut characters = segment.chars();
    let drive = characters.next().is_some_and(|c| c.is_ascii_alphabetic()) && characters.next() == Some(':');
    drive || (cfg!(windows) && segment.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_are_accepted() {
        let cases = [
            ("demo", "model.onnx", "demo/model.onnx"),
            ("owner/name", "model.onnx", "owner/name/model.onnx"),
            ("owner/name", "onnx/fp16/m.onnx", "owner/name/onnx/fp16/m.onnx"),
            ("owner/name", ".gitattributes", "owner/name/.gitattributes"),
            ("owner/a..b", "...", "owner/a..b/..."),
            ("o w n e r/ß", "模型.onnx", "o w n e r/ß/模型.onnx"),
            // Nothing is decoded: this is a file of that very name.
            ("owner/name", "%2e%2e%2fsecret", "owner/name/%2e%2e%2fsecret"),
            ("owner/name", "~/x", "owner/name/~/x"),
        ];
        for (model, file, relative) in cases {
            let path = ModelPath::new(model.to_owned(), file.to_owned()).unwrap();
            assert_eq!(path.relative(), PathBuf::from(relative));
            assert_eq!((path.model(), path.file()), (model, file));
        }
    }

    #[test]
    fn every_flaw_is_found_in_both_names() {
        let long_segment = "s".repeat(256);
        let long_name = "a/".repeat(600) + "a";
        let cases = [
            ("", Flaw::Empty),
            ("/", Flaw::Absolute),
            ("/etc/passwd", Flaw::Absolute),
            ("//server/share", Flaw::Absolute),
            ("..", Flaw::Dots),
            (".", Flaw::Dots),
            ("../x", Flaw::Dots),
            ("x/..", Flaw::Dots),
            ("./x", Flaw::Dots),
            ("..\\x", Flaw::Backslash),
            ("x\\y", Flaw::Backslash),
            ("\\\\server\\share", Flaw::Backslash),
            ("C:", Flaw::Drive),
            ("c:/windows", Flaw::Drive),
            ("x/C:", Flaw::Drive),
            ("C:x", Flaw::Drive),
            ("C:\\x", Flaw::Backslash),
            ("x\0", Flaw::Nul),
            ("\0", Flaw::Nul),
            ("x//y", Flaw::EmptySegment),
            ("x/", Flaw::EmptySegment),
            (&long_segment, Flaw::LongSegment),
            (&long_name, Flaw::TooLong),
        ];
        for (name, flaw) in cases {
            assert_eq!(name_flaw(name), Some(flaw), "file_path {name:?}");
            assert_eq!(model_flaw(name), Some(flaw), "model_id {name:?}");
        }
    }

    #[test]
    fn a_model_has_two_segments_at_most_and_a_file_any_number() {
        assert_eq!(model_flaw("a/b/c"), Some(Flaw::TooManySegments));
        assert_eq!(name_flaw("a/b/c/d/e"), None);
    }

    #[test]
    fn the_text_names_the_field_the_value_and_the_reason() {
        let error = ModelPath::new("demo".to_owned(), "a/../b\n".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), r#"file_path "a/../b\n" is refused: it has a segment "." or "..""#);
    }

    #[test]
    fn a_long_name_is_cut_in_the_text() {
        let error = ModelPath::new("ß".repeat(2000), "x".to_owned()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("…"), "{text}");
        assert!(text.chars().count() < 160, "{text}");
    }
}
