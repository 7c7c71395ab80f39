//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::*;

use crate::listen::{parse_address, Address};

/// What `--help` prints.
const HELP: &str = "\
Hands out the files of models over gRPC (ml.ModelManagementService), streamed from a folder.

Usage: model-cache --root FOLDER [OPTIONS]

  --root FOLDER        what to serve, laid out as owner/name/file or name/file
  --listen ADDRESS     HOST:PORT or unix:/path; port 0 takes a free one
                       [default: 127.0.0.1:50052]
  --chunk-bytes N      bytes of file in one message, 1024 to 4000000 [default: 262144]
  --max-streams N      files handed out at once, 1 to 65535; a call above that is answered
                       UNAVAILABLE [default: 128]
  --tls-cert FILE      PEM certificate chain; needs --tls-key and a TCP address
  --tls-key FILE       PEM private key
  --grace SECONDS      how long open streams may go on after SIGTERM or SIGINT; a second
                       signal cuts them [default: 10]
  -h, --help           print this
  -V, --version        print the version

Prints 'listening on ADDRESS' to stdout once clients can connect, and a line for each call
to stderr. There is no authentication: whoever can connect can read everything in FOLDER.
";

/// Where existing clients look.
const DEFAULT_LISTEN: &str = "127.0.0.1:50052";
/// The range of `--chunk-bytes`: clients take messages of up to 4 MiB, headers included.
const CHUNK_BYTES: std::ops::RangeInclusive<usize> = 1024..=4_000_000;
/// The range of `--max-streams`.
const MAX_STREAMS: std::ops::RangeInclusive<usize> = 1..=65_535;
/// The longest `--grace`, in seconds: a day.
const MAX_GRACE: f64 = 86_400.0;

/// What the program is asked to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Serve.
    Serve(Options),
    /// Print a text and end.
    Print(String),
}

/// How to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The served folder.
    pub root: PathBuf,
    /// Where clients connect.
    pub listen: Address,
    /// The most bytes of file in one message.
    pub chunk_bytes: usize,
    /// The most streams at once.
    pub max_streams: usize,
    /// Certificate and key, for TLS.
    pub tls: Option<TlsFiles>,
    /// How long open streams may go on after a signal.
    pub grace: Duration,
}

/// The files that TLS needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// What is wrong with a command line.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// An unknown option, or one without its value.
    #[error(transparent)]
    Syntax(#[from] lexopt::Error),
    /// Nothing to serve.
    #[error("--root is missing")]
    NoRoot,
    /// A value that an option does not take.
    #[error("{option}: {reason}")]
    Value {
        /// The option.
        option: &'static str,
        /// A sentence.
        reason: String,
    },
    /// A certificate without a key, or a key without a certificate.
    #[error("--tls-cert and --tls-key need each other")]
    HalfTls,
    /// TLS where it is of no use.
    #[cfg(unix)]
    #[error("TLS needs a TCP address")]
    TlsOverUnix,
}

/// Reads a command line, the program's name first.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut parser = lexopt::Parser::from_iter(args);
    let mut given = Given::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("root") => given.root = Some(parser.value()?.into()),
            Long("listen") => given.listen = Some(parser.value()?.string()?),
            Long("chunk-bytes") => given.chunk_bytes = Some(parser.value()?.string()?),
            Long("max-streams") => given.max_streams = Some(parser.value()?.string()?),
            Long("tls-cert") => given.tls_cert = Some(parser.value()?.into()),
            Long("tls-key") => given.tls_key = Some(parser.value()?.into()),
            Long("grace") => given.grace = Some(parser.value()?.string()?),
            Short('h') | Long("help") => return Ok(Command::Print(HELP.to_owned())),
            Short('V') | Long("version") => return Ok(Command::Print(version())),
            _ => return Err(arg.unexpected().into()),
        }
    }
    given.options().map(Command::Serve)
}

/// The options as they were written.
#[derive(Debug, Default)]
struct Given {
    root: Option<PathBuf>,
    listen: Option<String>,
    chunk_bytes: Option<String>,
    max_streams: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    grace: Option<String>,
}

impl Given {
    /// Checks them, and fills in what was left out.
    fn options(self) -> Result<Options, ArgsError> {
        let listen = self.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
        let options = Options {
            root: self.root.ok_or(ArgsError::NoRoot)?,
            listen: parse_address(listen).map_err(|reason| value("--listen", reason))?,
            chunk_bytes: whole("--chunk-bytes", self.chunk_bytes, 262_144, &CHUNK_BYTES)?,
            max_streams: whole("--max-streams", self.max_streams, 128, &MAX_STREAMS)?,
            tls: both(self.tls_cert, self.tls_key)?,
            grace: grace(self.grace.as_deref().unwrap_or("10"))?,
        };
        match (&options.tls, &options.listen) {
            (None, _) | (Some(_), Address::Tcp(_)) => Ok(options),
            #[cfg(unix)]
            (Some(_), Address::Unix(_)) => Err(ArgsError::TlsOverUnix),
        }
    }
}

/// The program's name and version.
fn version() -> String {
    concat!("model-cache ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
}

/// An error about an option's value.
fn value(option: &'static str, reason: String) -> ArgsError {
    ArgsError::Value { option, reason }
}

/// A whole number within a range.
fn whole(
    option: &'static str,
    text: Option<String>,
    default: usize,
    range: &std::ops::RangeInclusive<usize>,
) -> Result<usize, ArgsError> {
    let Some(text) = text else {
        return Ok(default);
    };
    let number = usize::from_str(&text).ok();
    number.filter(|it| range.contains(it)).ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        value(option, format!("{text:?} is not a whole number from {low} to {high}"))
    })
}

/// Seconds, with a fraction where wanted.
fn grace(text: &str) -> Result<Duration, ArgsError> {
    let seconds = f64::from_str(text).ok();
    let seconds = seconds.filter(|it| (0.0..=MAX_GRACE).contains(it));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| value("--grace", format!("{text:?} is not a number of seconds from 0 to {MAX_GRACE}")))
}

/// Both files, or neither.
fn both(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, ArgsError> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        _ => Err(ArgsError::HalfTls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses what stands behind the program's name.
    fn parse_words(words: &[&str]) -> Result<Command, ArgsError> {
        parse(std::iter::once("model-cache").chain(words.iter().copied()).map(Into::into))
    }

    /// The options of a command line that serves.
    fn options(words: &[&str]) -> Options {
        match parse_words(words).unwrap() {
            Command::Serve(options) => options,
            Command::Print(text) => panic!("printed {text}"),
        }
    }

    #[test]
    fn defaults_are_what_clients_expect() {
        let expected = Options {
            root: "/m".into(),
            listen: Address::Tcp("127.0.0.1:50052".to_owned()),
            chunk_bytes: 262_144,
            max_streams: 128,
            tls: None,
            grace: Duration::from_secs(10),
        };
        assert_eq!(options(&["--root", "/m"]), expected);
        assert_eq!(options(&["--root=/m"]), expected);
    }

    #[test]
    fn every_option_is_read() {
        let given = options(&[
            "--root=/m",
            "--listen=[::1]:0",
            "--chunk-bytes=1024",
            "--max-streams=1",
            "--tls-cert=c.pem",
            "--tls-key=k.pem",
            "--grace=0.5",
        ]);
        let tls = TlsFiles { cert: "c.pem".into(), key: "k.pem".into() };
        assert_eq!(given.listen, Address::Tcp("[::1]:0".to_owned()));
        assert_eq!((given.chunk_bytes, given.max_streams), (1024, 1));
        assert_eq!((given.tls, given.grace), (Some(tls), Duration::from_millis(500)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases: &[(&[&str], &str)] = &[
            (&[], "--root is missing"),
            (&["--root"], "missing argument for option '--root'"),
            (&["--root=/m", "--port=1"], "invalid option '--port'"),
            (&["--root=/m", "x"], "unexpected argument \"x\""),
            (&["--root=/m", "--listen=x"], "--listen: \"x\" is neither HOST:PORT nor unix:/path"),
            (
                &["--root=/m", "--chunk-bytes=1023"],
                "--chunk-bytes: \"1023\" is not a whole number from 1024 to 4000000",
            ),
            (
                &["--root=/m", "--chunk-bytes=4194304"],
                "--chunk-bytes: \"4194304\" is not a whole number from 1024 to 4000000",
            ),
            (&["--root=/m", "--max-streams=0"], "--max-streams: \"0\" is not a whole number from 1 to 65535"),
            (&["--root=/m", "--grace=-1"], "--grace: \"-1\" is not a number of seconds from 0 to 86400"),
            (&["--root=/m", "--grace=NaN"], "--grace: \"NaN\" is not a number of seconds from 0 to 86400"),
            (&["--root=/m", "--tls-cert=c"], "--tls-cert and --tls-key need each other"),
            (&["--root=/m", "--tls-key=k"], "--tls-cert and --tls-key need each other"),
        ];
        for (words, text) in cases {
            assert_eq!(parse_words(words).unwrap_err().to_string(), *text, "{words:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn tls_is_for_tcp() {
        let words = ["--root=/m", "--listen=unix:/s", "--tls-cert=c", "--tls-key=k"];
        assert!(matches!(parse_words(&words), Err(ArgsError::TlsOverUnix)));
    }

    #[test]
    fn help_names_every_option() {
        let Ok(Command::Print(help)) = parse_words(&["--help"]) else {
            panic!("no help");
        };
        for option in ["root", "listen", "chunk-bytes", "max-streams", "tls-cert", "tls-key", "grace"] {
            assert!(help.contains(&format!("--{option} ")), "{option}");
        }
    }
}
