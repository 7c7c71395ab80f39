"""Which files `from_pretrained` may want of a model, where a place lists them and where it cannot. Pure."""

import fnmatch
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from model_files.companions import Companion
from model_files.errors import SourceFailedError
from model_files.names import check_path

CONFIG = "config.json"
MODULES = "modules.json"
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PYTORCH = "pytorch_model.bin"
PYTORCH_INDEX = "pytorch_model.bin.index.json"

WEIGHTS = (SAFETENSORS, SAFETENSORS_INDEX, PYTORCH, PYTORCH_INDEX)
"""In the order of preference."""

ROOTS = (CONFIG, MODULES, "model_index.json", "adapter_config.json", "tokenizer.json")
"""One of them is in whatever `from_pretrained` can begin with."""

SMALL_FILES = (
    "generation_config.json",
    "adapter_config.json",
    # tokenizers
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "target.spm",
    "tekken.json",
    "normalizer.json",
    "chat_template.jinja",
    "chat_template.json",
    # processors
    "preprocessor_config.json",
    "processor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
    "audio_tokenizer_config.json",
    # sentence-transformers
    MODULES,
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
)
"""What a model may have beside its configuration and its weights."""

_OTHER_FORMATS = (
    *("*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data", "*.onnx.data", "*.tflite", "*.gguf", "*.ckpt"),
    *("*.mlmodel", "*.mlpackage/*", "*.mlmodelc/*", "*/openvino_model*", "openvino_model*"),
    *("consolidated*", "original/*", "runs/*"),
)
"""What `from_pretrained` does not read, and what is there a second time in another form."""
_TORCH_WEIGHTS = ("pytorch_model*.bin", "pytorch_model*.bin.index.json", "*.pt", "*.pth")
_WITHOUT_WEIGHTS = frozenset({"Pooling", "Normalize", "Transformer"})
_TRANSFORMER = "Transformer"


@dataclass(frozen=True, slots=True)
class Module:
    """One step of a sentence-transformers model."""

    kind: str
    """"Transformer", "Pooling", "Dense" …"""
    folder: str
    """"" is the model's own."""

    @property
    def is_transformer(self) -> bool:
        """Whether its folder is that of a whole model."""
        return self.kind == _TRANSFORMER

    @property
    def may_have_weights(self) -> bool:
        """Whether there may be weights in its folder, beside a configuration."""
        return self.kind not in _WITHOUT_WEIGHTS


def wanted_of(listing: Iterable[str]) -> tuple[Companion, ...]:
    """Return what a snapshot has of all that is in a model's folder.

    Raises:
        InvalidReferenceError: a name in the listing is not allowed.
    """
    names = [check_path(name) for name in listing]
    with_safetensors = {_folder(name) for name in names if name.endswith(".safetensors")}
    return tuple(
        Companion(name)
        for name in names
        if not _matches(name, _OTHER_FORMATS)
        and not (_folder(name) in with_safetensors and _matches(name.rpartition("/")[2], _TORCH_WEIGHTS))
    )


def modules_of(content: bytes) -> tuple[Module, ...]:
    """Read modules.json.

    Raises:
        SourceFailedError: it cannot be read as one.
        InvalidReferenceError: it names a folder outside the model's.
    """
    try:
        entries: Any = json.loads(content)
        found = [(str(entry["type"]).rpartition(".")[2], str(entry["path"]).strip("/")) for entry in entries]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise SourceFailedError(f"{MODULES} cannot be read: {exc}") from exc
    return tuple(Module(kind, check_path(folder) if folder else "") for kind, folder in found)


def inside(folder: str, name: str) -> str:
    """Return the path of a file in a model's subfolder, "" for the model's own."""
    return f"{folder}/{name}" if folder else name


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
