//! The golden packets of tests/vectors: what is written is theirs byte for byte, what is read is theirs too,
//! wherever a read may cut it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::image::RegionPicture;
use super::{
    answer_from_json, batch_from_json, Answer, Code, Decoder, Error, Image, InferOptions, InferResult,
    Message, Picture, PixelFormat,
};

/// The rows of a file; none, said aloud, where the crate is not in its repository.
fn rows(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let Ok(text) = std::fs::read(folder.join(name)) else {
        assert!(std::env::var_os("INFERPIPE_CI").is_none_or(|ci| ci != "1"), "no {name}");
        eprintln!("skipped: there is no {name} in {}", folder.display());
        return Vec::new();
    };
    serde_json::from_slice(&text).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn number<T: TryFrom<u64>>(value: &Value) -> T {
    T::try_from(value.as_u64().unwrap()).ok().unwrap()
}

fn format(picture: &Value) -> PixelFormat {
    PixelFormat::from_number(number(&picture["format"])).unwrap()
}

fn picture(value: &Value) -> Picture {
    Picture::raw(hex(&value["data"]), number(&value["width"]), number(&value["height"]), format(value))
}

fn message(value: &Value) -> Message {
    let model = || number(&value["model"]);
    match value["type"].as_str().unwrap() {
        "COMMAND" => Message::Command(Bytes::from(value["body"].as_str().unwrap().to_owned())),
        "INFER_JPEG" => Message::Infer { model: model(), image: Image::encoded(hex(&value["data"])) },
        "INFER_RAW" => {
            let Picture { width, height, format, data } = picture(&value["picture"]);
            Message::Infer { model: model(), image: Image::raw(data, width, height, format) }
        }
        "INFER_CACHED" => Message::Infer { model: model(), image: Image::frame(number(&value["frame_id"])) },
        "INFER_SHARED" => Message::Infer { model: model(), image: Image::in_region(region_picture(value)) },
        "INFER_BATCH" => {
            let pictures = value["pictures"].as_array().unwrap().iter().map(picture).collect();
            Message::Batch { model: model(), pictures }
        }
        "CACHE_FRAME" => {
            Message::CacheFrame { frame_id: number(&value["frame_id"]), picture: picture(&value["picture"]) }
        }
        "TASK" => Message::Task {
            model: model(),
            params: Bytes::from(value["params"].as_str().unwrap().to_owned()),
            attachments: value["attachments"].as_array().unwrap().iter().map(|one| hex(one).into()).collect(),
        },
        "STREAM_DATA" => {
            let (stream_id, mut data) = (number(&value["stream_id"]), Bytes::from(hex(&value["data"])));
            let head = data.split_to(data.len() / 2); // wherever the caller has cut it
            Message::StreamData { stream_id, head, data }
        }
        "STREAM_END" => Message::StreamEnd { stream_id: number(&value["stream_id"]) },
        other => panic!("unknown type {other}"),
    }
}

fn region_picture(value: &Value) -> RegionPicture {
    let picture = &value["picture"];
    RegionPicture {
        region_id: number(&value["region_id"]),
        offset: value["offset"].as_u64().unwrap(),
        width: number(&picture["width"]),
        height: number(&picture["height"]),
        format: format(picture),
        size: number(&picture["size"]),
        lease: Arc::new(()),
    }
}

fn options(value: &Value) -> Vec<u8> {
    match value.get("options") {
        Some(options) => serde_json::from_value::<InferOptions>(options.clone()).unwrap().to_json().unwrap(),
        None => Vec::new(),
    }
}

#[test]
fn requests_are_written_byte_for_byte() {
    let mut written = 0;
    for row in rows("requests.json").iter().chain(&rows("reserved.json")) {
        if row["encodes"] == false {
            continue;
        }
        let (name, wanted) = (row["name"].as_str().unwrap(), &row["message"]);
        let packet = message(wanted).encode(number(&wanted["request_id"]), &options(wanted)).unwrap();
        assert_eq!(packet.parts.concat(), hex(&row["hex"]), "{name}");
        if let Some(bytes) = wanted.get("payload_bytes") {
            assert_eq!(packet.payload_bytes as u64, bytes.as_u64().unwrap(), "{name}");
        }
        written += 1;
    }
    assert!(written == 0 || written > 40, "{written} rows");
}

#[test]
fn pixels_of_a_packet_are_the_callers_own() {
    let pixels = Bytes::from(vec![7; 6]);
    let image = Image::raw(pixels.clone(), 2, 1, PixelFormat::Rgb);
    let packet = Message::Infer { model: 0, image }.encode(1, b"").unwrap();
    assert_eq!(packet.parts.last().unwrap().as_ptr(), pixels.as_ptr());
    let pictures = vec![Picture::raw(pixels.clone(), 2, 1, PixelFormat::Rgb); 2];
    let packet = Message::Batch { model: 0, pictures }.encode(1, b"").unwrap();
    let own = packet.parts.iter().filter(|part| part.as_ptr() == pixels.as_ptr()).count();
    assert_eq!(own, 2);
}

fn decode(pieces: &[&[u8]]) -> Result<Vec<Answer>, String> {
    let mut decoder = Decoder::default();
    let mut answers = Vec::new();
    for piece in pieces {
        decoder.room().extend_from_slice(piece);
        while let Some(answer) = decoder.next()? {
            answers.push(answer);
        }
    }
    decoder.finish().map(|()| answers)
}

#[test]
fn answers_are_read_wherever_they_are_cut() {
    for row in rows("responses.json") {
        let (name, bytes) = (row["name"].as_str().unwrap(), hex(&row["hex"]));
        let body = Bytes::from(row["body"].as_str().unwrap().to_owned());
        let wanted = Answer { id: number(&row["request_id"]), body };
        for cut in 0..=bytes.len() {
            let answers = decode(&[&bytes[..cut], &bytes[cut..]]);
            assert_eq!(answers, Ok(vec![wanted.clone()]), "{name}, cut at {cut}");
        }
    }
}

#[test]
fn all_answers_are_read_one_byte_at_a_time() {
    let rows = rows("responses.json");
    let bytes: Vec<u8> = rows.iter().flat_map(|row| hex(&row["hex"])).collect();
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(&pieces).unwrap().len(), rows.len());
}

#[test]
fn an_answer_becomes_what_it_says() {
    for row in rows("responses.json") {
        let body = row["body"].as_str().unwrap().as_bytes();
        match row["name"].as_str().unwrap() {
            "detections" => {
                let found = InferResult::from_json(body).unwrap();
                assert_eq!(found.detections()[0].class_name.as_deref(), Some("Größe"));
                assert_eq!(found.detections()[0].bbox, [1.0, 2.0, 3.0, 4.0]);
                assert_eq!((found.inference_ms, found.frame_size.as_str()), (3.25, "4x2"));
                let again: Value = serde_json::to_value(&found).unwrap();
                assert_eq!(again["kind"], "detections");
                assert_eq!(again["detections"], serde_json::from_slice::<Value>(body).unwrap()["detections"]);
            }
            "batch of none" => assert!(batch_from_json(body).unwrap().is_empty()),
            "error" => {
                let error = InferResult::from_json(body).unwrap_err();
                assert_eq!(error.code(), Code::FrameNotCached);
                assert_eq!(error.answer().unwrap().text, "frame 305419896 not in cache");
            }
            "framing lost" => assert_eq!(code_of(body), Some(Code::BadRequest)),
            name => {
                assert_eq!(code_of(body), None, "{name}");
                let error = InferResult::from_json(body).unwrap_err();
                assert_eq!(error.code(), Code::ProtocolViolation, "{name} is no result");
            }
        }
    }
}

fn code_of(body: &[u8]) -> Option<Code> {
    answer_from_json::<Value>(body).err().map(|error| error.code())
}

#[test]
fn every_error_that_a_worker_has_is_known() {
    for row in rows("rejected.json") {
        let rejected = &row["rejected"];
        let answer = serde_json::json!({"error": rejected["error"], "code": rejected["code"]});
        let error = InferResult::from_json(answer.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.code().as_str(), rejected["code"].as_str().unwrap());
        assert_eq!(error.to_string(), format!("{}: {}", error.code(), rejected["error"].as_str().unwrap()));
    }
    let unknown = InferResult::from_json(br#"{"error":"x","code":"brand_new"}"#).unwrap_err();
    assert_eq!((unknown.code(), unknown.to_string().as_str()), (Code::Unknown, "brand_new: x"));
    let bare = InferResult::from_json(br#"{"error":"x"}"#).unwrap_err();
    assert_eq!(bare.code(), Code::Internal);
}

/// A small generator of numbers, so that a failure can be had again.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

#[test]
fn garbage_gives_answers_or_errors_and_nothing_else() {
    let rows = rows("responses.json");
    for seed in 1..3000 {
        let mut random = Random(seed);
        let mut bytes: Vec<u8> = match seed % 3 {
            0 => (0..random.next(200)).map(|_| u8::try_from(random.next(256)).unwrap()).collect(),
            _ => rows.iter().take(3).flat_map(|row| hex(&row["hex"])).collect(),
        };
        for _ in 0..random.next(8) {
            if !bytes.is_empty() {
                let at = random.next(bytes.len());
                bytes[at] = u8::try_from(random.next(256)).unwrap();
            }
        }
        bytes.truncate(random.next(bytes.len() + 1));
        let cut = random.next(bytes.len() + 1);
        let whole = decode(&[&bytes]);
        let pieces = decode(&[&bytes[..cut], &bytes[cut..]]);
        // What an error quotes depends on how much was there.
        assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok(), "seed {seed}, cut at {cut}");
        for answer in whole.iter().flatten() {
            for error in [
                InferResult::from_json(&answer.body).err(),
                batch_from_json(&answer.body).err(),
                answer_from_json::<Value>(&answer.body).err(),
            ] {
                assert!(matches!(error, None | Some(Error::Answer(_) | Error::ProtocolViolation(_))));
            }
        }
    }
}

#[test]
fn a_batch_has_an_error_in_the_place_of_an_item_that_failed() {
    let body = br#"{"results":[{"error":"broken","code":"decode_failed"},
        {"kind":"raw","tensors":{"o":{"shape":[2],"dtype":"uint8","data":"AQI="}},"batchSize":2,"frameSize":"4x2"}]}"#;
    let items = batch_from_json(body).unwrap();
    assert_eq!(items[0].as_ref().unwrap_err().code(), Code::DecodeFailed);
    let super::Output::Raw(raw) = &items[1].as_ref().unwrap().output else { panic!("{items:?}") };
    assert_eq!(&raw.tensors["o"].data[..], [1, 2]);
}

#[test]
fn kinds_are_told_apart() {
    let cases = [
        r#"{"kind":"classification","classes":[{"classId":1,"score":0.5}]}"#,
        r#"{"kind":"audio-classification","classes":[],"windows":[]}"#,
        r#"{"kind":"embedding","dim":2,"vector":[0.5,1.0]}"#,
        r#"{"kind":"embedding","dim":1,"vectors":["AACAPw=="]}"#,
        r#"{"kind":"text","text":"hi","score":0.5}"#,
        r#"{"kind":"transcript","text":"hi","language":"en","segments":[[0.0,1.5,"hi"]]}"#,
        r#"{"kind":"segmentation","mask":"AQI=","labels":["a"]}"#,
        r#"{"kind":"landmarks","subjects":[]}"#,
        r#"{"kind":"image","data":"AQI=","format":"png"}"#,
        r#"{"kind":"audio","data":"AQI=","rate":16000}"#,
        r#"{"kind":"scores","scores":[0.5]}"#,
        r#"{"kind":"tokens","tokens":[1,2]}"#,
        r#"{"kind":"raw","tensors":{}}"#,
        r#"{"kind":"hologram","depth":3}"#,
    ];
    for json in cases {
        let found = InferResult::from_json(json.as_bytes()).unwrap();
        let (wire, again): (Value, Value) =
            (serde_json::from_str(json).unwrap(), serde_json::to_value(&found.output).unwrap());
        assert_eq!(found.output.kind(), wire["kind"]);
        if found.output.kind() != "embedding" {
            assert_eq!(again, wire);
        }
    }
    let found = InferResult::from_json(cases[3].as_bytes()).unwrap();
    let super::Output::Embedding(embedding) = found.output else { panic!() };
    assert_eq!(embedding.vectors.unwrap()[0].0, [1.0]);
}
