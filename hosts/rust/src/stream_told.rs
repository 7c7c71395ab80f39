//! Answers to the one who has opened a stream.

use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::protocol::{error_in, Error, InferResult, Result};
use crate::stream_event::{from_ms, EndReason, Frame, Started, StreamEvent};

/// An answer to the one who has opened a stream.
pub(crate) enum Told {
    /// The stream is open; so many bytes may be sent.
    Opened(u64),
    /// So many more bytes may be sent.
    Credit(u64),
    /// What concerns the user.
    Event(StreamEvent),
}

impl Told {
    /// # Errors
    /// The answer's own, if it is an error; `protocol_violation`.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self> {
        let head: Head = read(json)?;
        // An event that is not the last may tell of an error that the stream outlives.
        if head.error && (head.last || head.event.is_none()) {
            return Err(error_in(json));
        }
        let Some(name) = head.event else {
            return Err(Error::violation("an answer to a stream that is no event"));
        };
        Ok(Self::Event(match name.as_str() {
            "opened" => return read(json).map(|Opened { credit }| Self::Opened(credit)),
            "credit" => return read(json).map(|Credit { bytes }| Self::Credit(bytes)),
            "needsTail" => StreamEvent::NeedsTail,
            "started" => {
                let mut started: Box<Started> = read(json)?;
                started.more.remove("event");
                StreamEvent::Started(started)
            }
            "frame" => StreamEvent::Frame(Box::new(Frame::from_json(json)?)),
            "reconnecting" => {
                let Reconnecting { attempt, in_ms, reason, error } = read(json)?;
                StreamEvent::Reconnecting { attempt, delay: in_ms.unwrap_or_default(), reason, error }
            }
            "reconnected" => {
                let Reconnected { attempt } = read(json)?;
                StreamEvent::Reconnected { attempt }
            }
            "end" => {
                let End { frames, dropped, reason } = read(json)?;
                StreamEvent::End { frames, dropped, reason }
            }
            _ => StreamEvent::Other(read(json)?),
        }))
    }
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|error| Error::violation(format_args!("an event cannot be read: {error}")))
}

#[derive(Deserialize)]
struct Head {
    event: Option<String>,
    #[serde(default, rename = "final")]
    last: bool,
    #[serde(default, deserialize_with = "is_there")]
    error: bool,
}

fn is_there<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<bool, D::Error> {
    Option::<IgnoredAny>::deserialize(from).map(|value| value.is_some())
}

#[derive(Deserialize)]
struct Opened {
    #[serde(default)]
    credit: u64,
}

#[derive(Deserialize)]
struct Credit {
    bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reconnecting {
    attempt: u32,
    #[serde(default, deserialize_with = "from_ms")]
    in_ms: Option<Duration>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Reconnected {
    attempt: u32,
}

#[derive(Deserialize)]
struct End {
    #[serde(default)]
    frames: u64,
    #[serde(default)]
    dropped: u64,
    #[serde(default)]
    reason: EndReason,
}

impl Frame {
    fn from_json(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            frame_number: u64,
            #[serde(default)]
            timestamp_ms: f64,
            #[serde(default)]
            width: u32,
            #[serde(default)]
            height: u32,
            #[serde(default)]
            results: Vec<Box<RawValue>>,
        }
        let wire: Wire = read(json)?;
        let results =
            wire.results.iter().map(|result| InferResult::from_json(result.get().as_bytes())).collect();
        let Wire { frame_number: number, timestamp_ms, width, height, .. } = wire;
        Ok(Self { number, timestamp_ms, width, height, results })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Value};

    use super::*;
    use crate::protocol::Code;

    fn told(event: &Value) -> StreamEvent {
        match Told::from_json(event.to_string().as_bytes()).unwrap() {
            Told::Event(event) => event,
            Told::Opened(_) | Told::Credit(_) => panic!("{event} is the library's own affair"),
        }
    }

    #[test]
    fn what_a_stream_shows_may_be_unknown() {
        let event = json!({
            "event": "started", "codec": "h264", "container": "matroska,webm", "width": 64, "height": 48, "fps": null,
            "durationMs": 1500.5, "frames": null, "rotation": 90, "pixelAspect": "1:1", "hardware": null,
            "hardwareFallback": "no device", "layers": 2,
        });
        let StreamEvent::Started(started) = told(&event) else { panic!("no start") };
        assert_eq!((started.codec.as_deref(), started.width, started.fps), (Some("h264"), Some(64), None));
        assert_eq!((started.duration, started.rotation), (Some(Duration::from_micros(1_500_500)), Some(90)));
        assert_eq!(started.hardware_fallback.as_deref(), Some("no device"));
        assert_eq!(started.more.get("layers"), Some(&json!(2)));
    }

    #[test]
    fn a_frame_has_a_result_or_an_error_a_model() {
        let found = json!({"kind": "detections", "detections": [], "batchSize": 1});
        let failed = json!({"error": "no", "code": "deadline_exceeded"});
        let event = json!({
            "event": "frame", "frameNumber": 7, "timestampMs": 233.333, "width": 64, "height": 48,
            "results": [found, failed],
        });
        let StreamEvent::Frame(frame) = told(&event) else { panic!("no frame") };
        assert_eq!((frame.number, frame.timestamp_ms, frame.width, frame.height), (7, 233.333, 64, 48));
        assert!(frame.results[0].as_ref().unwrap().detections().is_empty());
        assert_eq!(frame.results[1].as_ref().unwrap_err().code(), Code::DeadlineExceeded);
    }

    #[test]
    fn an_error_that_the_stream_outlives_is_an_event() {
        let event = json!({
            "event": "reconnecting", "attempt": 2, "inMs": 400, "reason": "unreachable", "error": "refused",
        });
        let StreamEvent::Reconnecting { attempt, delay, reason, error } = told(&event) else {
            panic!("no event")
        };
        assert_eq!((attempt, delay), (2, Duration::from_millis(400)));
        assert_eq!((reason.as_str(), error.as_str()), ("unreachable", "refused"));
        let back = told(&json!({"event": "reconnected", "attempt": 2}));
        assert!(matches!(back, StreamEvent::Reconnected { attempt: 2 }));
        let last =
            json!({"error": "gone", "code": "provider_failed", "reason": "unreachable", "final": true});
        let error = Told::from_json(last.to_string().as_bytes()).err().unwrap();
        assert_eq!(
            (error.code(), &error.answer().unwrap().answer["reason"]),
            (Code::ProviderFailed, &json!("unreachable"))
        );
    }

    #[test]
    fn what_is_new_is_passed_on() {
        let event = json!({"event": "scene", "number": 3});
        assert!(matches!(told(&event), StreamEvent::Other(value) if value == event));
        let end = told(&json!({"event": "end", "final": true, "frames": 3, "dropped": 1, "reason": "bored"}));
        assert!(matches!(end, StreamEvent::End { frames: 3, dropped: 1, reason: EndReason::Unknown }));
        for (name, reason) in
            [("eof", EndReason::Eof), ("closed", EndReason::Closed), ("drained", EndReason::Drained)]
        {
            let end =
                told(&json!({"event": "end", "final": true, "frames": 0, "dropped": 0, "reason": name}));
            assert!(matches!(end, StreamEvent::End { reason: why, .. } if why == reason), "{name}");
        }
    }

    #[test]
    fn what_is_no_event_is_a_violation() {
        for json in [&b"{}"[..], b"{nonsense", br#"{"event":"frame"}"#] {
            let error = Told::from_json(json).err().unwrap();
            assert_eq!(error.code(), Code::ProtocolViolation);
        }
    }
}
