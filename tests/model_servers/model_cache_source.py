"""The source under test, and how tests take a file from it."""

from model_files.model_cache import ModelCacheSource
from model_files.settings import ModelCacheSettings, ProviderSettings
from model_files.source import RemoteStat

FILE = "modelcache://demo/m/folder/a.bin"


def source(target: str, stall_s: float = 10.0) -> ModelCacheSource:
    return ModelCacheSource(ProviderSettings(modelcache=ModelCacheSettings(target), stall_s=stall_s))


def take(source: ModelCacheSource, uri: str = FILE) -> bytes:
    with source.fetch(source.locate(uri)) as transfer:
        pieces = list(transfer.chunks)
    assert transfer.offset == 0
    assert all(pieces)
    assert transfer.stat == RemoteStat(size=sum(map(len, pieces)))
    return b"".join(pieces)
