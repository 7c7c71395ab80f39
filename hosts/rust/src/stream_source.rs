//! Where a stream's pictures come from, and how they are chosen and decoded.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::protocol::InferOptions;

/// Where a stream's pictures come from.
///
/// ```
/// # use inferpipe::StreamSource;
/// let second_part = StreamSource::File { path: "clip.mp4".into(), start_frame: 100, end_frame: None };
/// let door = StreamSource::url("rtsp://door.local/live");
/// # drop((second_part, door));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum StreamSource {
    /// The host sends a growing container file: MP4, MKV, WebM, MPEG-TS.
    Push,
    /// The host sends frames, each with a [`FrameHeader`](crate::FrameHeader).
    Packets,
    /// A video file that the worker can read.
    File {
        /// Relative to the worker's own folder.
        path: PathBuf,
        /// The first frame, from 0.
        start_frame: u64,
        /// The first frame that is left out; `None`: all to the end.
        #[serde(skip_serializing_if = "Option::is_none")]
        end_frame: Option<u64>,
    },
    /// A video behind an address: rtsp or rtsps (over TCP), http or https.
    Url {
        /// The address.
        url: String,
        /// Whether a lost connection is made again; `None`: RTSP's is, HTTP's is not.
        #[serde(skip_serializing_if = "Option::is_none")]
        reconnect: Option<bool>,
        /// How long the place may say nothing, 0.1 to 600 s; `None`: 10 s.
        #[serde(rename = "timeoutMs", skip_serializing_if = "Option::is_none", serialize_with = "as_ms")]
        timeout: Option<Duration>,
    },
    /// A camera of the worker's machine.
    Camera {
        /// From 0.
        index: u8,
        /// Pixels that are asked for; what the camera gives is in [`Started`](crate::Started).
        width: u32,
        /// The same.
        height: u32,
        /// Frames a second that are asked for.
        fps: f64,
    },
    /// The screen of the worker's machine.
    Screen {
        /// x, y, width, height in pixels of the virtual screen; `None`: all of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        region: Option<[i32; 4]>,
        /// Frames a second.
        fps: f64,
    },
}

impl StreamSource {
    /// All of a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File { path: path.into(), start_frame: 0, end_frame: None }
    }

    /// What is behind an address, with the worker's defaults.
    pub fn url(url: impl Into<String>) -> Self {
        Self::Url { url: url.into(), reconnect: None, timeout: None }
    }

    /// Whether it may have no end, and nothing is lost when it is opened again.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Url { .. } | Self::Camera { .. } | Self::Screen { .. })
    }

    /// A camera, with the worker's defaults: 640x480 at 30 frames a second.
    pub fn camera(index: u8) -> Self {
        Self::Camera { index, width: 640, height: 480, fps: 30.0 }
    }

    /// All of the screen, 30 times a second.
    pub fn screen() -> Self {
        Self::Screen { region: None, fps: 30.0 }
    }
}

/// What happens to a frame that comes before the models have room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DropPolicy {
    /// The oldest one that waits goes.
    Oldest,
    /// The source waits.
    None,
}

/// How a stream's frames are chosen and decoded, and what each one's inference does. `None` and `false` are the
/// worker's defaults.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamOptions {
    /// Most frames a second, by their timestamps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fps: Option<f64>,
    /// Only every n-th frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_nth: Option<u32>,
    /// Only frames that are decoded without others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keyframes_only: bool,
    /// By default live sources (RTSP, camera, screen) drop the oldest, and others wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<DropPolicy>,
    /// Whether pictures are turned upright, as the container says. By default they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate: Option<bool>,
    /// "none", "auto", or a device type as "cuda"; by default none. What is used is in
    /// [`Started`](crate::Started).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hwaccel: Option<String>,
    /// Decoder threads; by default as many as pay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// What each frame's inference does. `deadline_ms` counts from the frame's decoding. `cancel` and `timeout` are
    /// about the stream as a whole; `retries` says nothing: a stream ends with its worker.
    #[serde(flatten)]
    pub infer: InferOptions,
}

#[allow(clippy::ref_option)] // serde hands over a reference
fn as_ms<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64() * 1000.0).serialize(to)
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn sources_are_written_as_the_protocol_names_them() {
        let timeout = Some(Duration::from_millis(1500));
        let part = StreamSource::File { path: "a.mp4".into(), start_frame: 10, end_frame: Some(20) };
        let url = StreamSource::Url { url: "rtsp://a/b".into(), reconnect: Some(false), timeout };
        let region = StreamSource::Screen { region: Some([-8, 0, 64, 48]), fps: 5.0 };
        let cases = [
            (StreamSource::Push, json!({"type": "push"})),
            (StreamSource::Packets, json!({"type": "packets"})),
            (StreamSource::file("a.mp4"), json!({"type": "file", "path": "a.mp4", "startFrame": 0})),
            (part, json!({"type": "file", "path": "a.mp4", "startFrame": 10, "endFrame": 20})),
            (StreamSource::url("http://a/b"), json!({"type": "url", "url": "http://a/b"})),
            (url, json!({"type": "url", "url": "rtsp://a/b", "reconnect": false, "timeoutMs": 1500.0})),
            (
                StreamSource::camera(1),
                json!({"type": "camera", "index": 1, "width": 640, "height": 480, "fps": 30.0}),
            ),
            (StreamSource::screen(), json!({"type": "screen", "fps": 30.0})),
            (region, json!({"type": "screen", "region": [-8, 0, 64, 48], "fps": 5.0})),
        ];
        for (source, wanted) in cases {
            assert_eq!(to_value(&source).unwrap(), wanted);
        }
    }

    #[test]
    fn options_of_the_stream_and_of_its_frames_are_one_object() {
        assert_eq!(to_value(StreamOptions::default()).unwrap(), json!({}));
        let options = StreamOptions {
            max_fps: Some(5.0),
            every_nth: Some(2),
            keyframes_only: true,
            drop: Some(DropPolicy::None),
            rotate: Some(false),
            hwaccel: Some("auto".into()),
            threads: Some(1),
            infer: InferOptions { confidence: Some(0.5), retries: 3, ..InferOptions::default() },
        };
        let wanted = json!({
            "maxFps": 5.0, "everyNth": 2, "keyframesOnly": true, "drop": "none", "rotate": false, "hwaccel": "auto",
            "threads": 1, "confidence": 0.5,
        });
        assert_eq!(to_value(options).unwrap(), wanted);
    }
}
