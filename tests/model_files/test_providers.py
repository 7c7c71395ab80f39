"""Which provider a reference gets, what the defaults are, and what is said of a library that is missing."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from folder_source import FolderSource, register

from model_files import PROVIDERS, SOURCES, ModelRef, Providers, provider_for
from model_files.errors import MissingFileError, SourceFailedError, UnsupportedSchemeError
from model_files.extras import library
from model_files.fake import FakeModelFiles
from model_files.local import LocalFiles
from model_files.remote import RemoteFiles
from model_files.settings import ProviderSettings, default_cache_dir
from model_files.source import RemoteSource

HEAVY = ("filelock", "grpc", "google.protobuf", "huggingface_hub", "boto3", "botocore", "urllib3", "httpx")


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Register the double's scheme; returns the folder that it serves."""
    monkeypatch.syspath_prepend(str(register(tmp_path / "site")))
    folder = tmp_path / "served" / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "m.tflite").write_bytes(b"model")
    monkeypatch.setenv("DOUBLE_ROOT", str(tmp_path / "served"))
    return folder


def providers(tmp_path: Path, **settings: object) -> Providers:
    return Providers(ProviderSettings(cache_dir=tmp_path / "cache", **settings))


@pytest.mark.parametrize("scheme", SOURCES)
def test_every_scheme_of_the_table_has_its_source(tmp_path: Path, scheme: str) -> None:
    made = providers(tmp_path)
    provider = made.provider_for(f"{scheme}://x")
    assert isinstance(provider, RemoteFiles)
    assert made.provider_for(f"{scheme.upper()}://y") is provider
    source: RemoteSource = provider._source
    assert isinstance(source.revalidates, bool)
    assert made.is_remote(f"{scheme}://x")


def test_what_needs_no_cache(tmp_path: Path) -> None:
    made = providers(tmp_path)
    assert isinstance(made.provider_for("x"), LocalFiles)
    assert isinstance(made.provider_for("file:///x"), LocalFiles)
    assert isinstance(provider_for("fake:noop"), FakeModelFiles)
    assert not any(made.is_remote(uri) for uri in ("x", "file:///x", "fake:noop"))
    assert not (tmp_path / "cache").exists()


def test_importing_the_worker_and_making_providers_imports_no_heavy_library() -> None:
    script = (
        "import sys, worker.app, model_files\n"
        "providers = model_files.Providers()\n"
        "providers.resolve(model_files.ModelRef('models/shapes.onnx'))\n"
        f"print([name for name in {HEAVY!r} + ('model_files.store', 'model_files.remote')"
        " if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_another_distribution_adds_a_source(double: Path, tmp_path: Path) -> None:
    found = providers(tmp_path).resolve(ModelRef("double://owner/name/m.tflite"))
    assert found.path.read_bytes() == b"model"
    assert found.uri == "double://owner/name/m.tflite"


class Own:
    """A double of a provider that has no source and no cache."""

    def get_file(self, model_id: str, file_path: str) -> bytes:
        raise MissingFileError("none")

    def local_files(self, ref: ModelRef) -> object:
        raise MissingFileError(f"asked for {ref.uri}")


def test_another_distribution_adds_a_provider_but_replaces_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = register(tmp_path / "site")
    (info,) = site.glob("*.dist-info")
    entries = f"own = {__name__}:Own\nfile = nowhere:Nothing\ns3 = nowhere:Nothing\n"
    (info / "entry_points.txt").write_text("[inferpipe.model_files]\n" + entries)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    made = providers(tmp_path)
    with pytest.raises(MissingFileError, match="asked for own:x"):
        made.resolve(ModelRef("own:x"))
    assert isinstance(made.provider_for("file:///x"), LocalFiles)
    assert isinstance(made.provider_for("s3://x/y"), RemoteFiles)


def test_the_default_scheme(double: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = providers(tmp_path, default_scheme="double")
    assert made.resolve(ModelRef("owner/name/m.tflite")).path.read_bytes() == b"model"
    for local in ("./owner/name/m.tflite", "../owner/name/m.tflite", "/owner/name/m.tflite"):
        with pytest.raises(MissingFileError, match="no such file"):
            made.resolve(ModelRef(local))
    (tmp_path / "owner/name").mkdir(parents=True)
    (tmp_path / "owner/name/m.tflite").write_bytes(b"here")
    assert made.resolve(ModelRef("owner/name/m.tflite")).path.read_bytes() == b"here"
    with pytest.raises(MissingFileError):
        providers(tmp_path).resolve(ModelRef("owner/name/other.tflite"))
    with pytest.raises(UnsupportedSchemeError, match="'nowhere'"):
        providers(tmp_path, default_scheme="nowhere").resolve(ModelRef("owner/name/other.tflite"))


def test_a_digest_reaches_the_source(double: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"model").hexdigest()
    found = providers(tmp_path).resolve(ModelRef("double://owner/name/m.tflite", digest))
    assert found.path.exists()


def test_a_missing_library_is_named_with_its_extra() -> None:
    with pytest.raises(SourceFailedError, match=r"pip install 'inferpipe\[grpc\]'"):
        library("no_such_library.part", "grpc")


@pytest.mark.parametrize(
    ("reference", "module", "extra"),
    [
        ("modelcache://o/n/f", "filelock", "grpc"),
        ("modelcache://o/n/f", "grpc", "grpc"),
        ("hf://o/n/f", "filelock", "hub"),
        ("hf://o/n/f", "huggingface_hub", "hub"),
        ("https://127.0.0.1:1/f", "filelock", "http"),
        ("https://127.0.0.1:1/f", "urllib3", "http"),
        ("s3://b/f", "filelock", "s3"),
        ("s3://b/f", "boto3", "s3"),
    ],
)
def test_each_scheme_names_its_own_extra(
    reference: str, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SourceFailedError) as caught:
        providers(tmp_path).resolve(ModelRef(reference))
    assert str(caught.value).startswith(f"{module} is not installed")
    assert str(caught.value).endswith(f"pip install 'inferpipe[{extra}]'")


def test_a_library_that_is_there_and_broken_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library.py").write_text("import no_such_thing")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SourceFailedError, match="broken_library cannot be imported: No module named"):
        library("broken_library", "x")


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({"INFERPIPE_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "linux", "/c"),
        ({"XDG_CACHE_HOME": "/x"}, "linux", "/x/inferpipe"),
        ({"XDG_CACHE_HOME": "x"}, "linux", "~/.cache/inferpipe"),
        ({}, "linux", "~/.cache/inferpipe"),
        ({"XDG_CACHE_HOME": "/x"}, "darwin", "~/Library/Caches/inferpipe"),
        ({"LOCALAPPDATA": "/l"}, "win32", "/l/inferpipe/cache"),
        ({}, "win32", "~/AppData/Local/inferpipe/cache"),
    ],
)
def test_where_the_cache_lies(environment: dict[str, str], platform: str, expected: str) -> None:
    assert default_cache_dir(environment, platform) == Path(expected).expanduser()


def test_the_double_is_what_the_seam_asks_for() -> None:
    assert {*dir(FolderSource)} >= {name for name in dir(RemoteSource) if not name.startswith("_")} - {
        "revalidates"
    }
    assert not {*SOURCES} & {*PROVIDERS}
