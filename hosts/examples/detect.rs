//! A host in Rust with nothing but std: a thread sends the pictures, the answers are printed as they come.
//! std reads no JSON, so they stay text. A key can be looked for in it: quotes inside strings are escaped.
use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::{collections::BTreeMap, env, error::Error, fs, thread};

const COMMAND: &[u8] = &[0x00];
const INFER_JPEG: &[u8] = &[0x01, 0]; // by model 0

fn send(to: &mut impl Write, id: u32, kind: &[u8], body: &[u8]) -> io::Result<()> {
    let length = (4 + kind.len() + body.len()) as u32;
    to.write_all(&[&length.to_le_bytes(), &id.to_le_bytes(), kind, body].concat())
}

fn receive(from: &mut impl Read) -> Result<(u32, String), Box<dyn Error>> {
    let (mut length, mut id) = ([0; 4], [0; 4]);
    from.read_exact(&mut length)?;
    from.read_exact(&mut id)?;
    let mut json = vec![0; u32::from_le_bytes(length) as usize - 4];
    from.read_exact(&mut json)?;
    Ok((u32::from_le_bytes(id), String::from_utf8(json)?))
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let usage = "usage: detect PYTHON MODEL PICTURE…";
    let mut arguments = env::args().skip(1);
    let python = arguments.next().ok_or(usage)?;
    let mut open: BTreeMap<u32, String> = (0..).zip(arguments).collect(); // request id → its file
    let mut pictures = open.clone();
    let model = pictures.remove(&0).ok_or(usage)?;

    let mut worker = Command::new(python)
        .args(["-m", "worker"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut requests = worker.stdin.take().expect("a pipe");
    let mut answers = worker.stdout.take().expect("a pipe");
    let path = model.replace('\\', r"\\").replace('"', r#"\""#); // for JSON
    let config = format!(r#"{{"protocol":3,"runtime":"auto","models":[{{"path":"{path}"}}]}}"#);
    send(&mut requests, 0, COMMAND, config.as_bytes())?;
    thread::spawn(move || {
        for (id, path) in pictures {
            fs::read(&path)
                .and_then(|picture| send(&mut requests, id, INFER_JPEG, &picture))
                .unwrap_or_else(|error| eprintln!("{path}: {error}"));
        }
    }); // with it `requests` closes: the worker answers what is in flight, and ends
    let mut failed = false;
    while let Ok((id, json)) = receive(&mut answers) {
        println!("{}: {json}", open.remove(&id).ok_or("not asked")?);
        failed |= json.contains(r#""error":""#); // a model that serves has null there
    }
    worker.wait()?;
    for path in open.values() {
        eprintln!("{path}: no answer");
    }
    Ok(ExitCode::from(u8::from(failed || !open.is_empty())))
}
