"""`hf_hub_download` and its kin out of a provider, with sockets to anywhere else forbidden."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from model_servers.hub import Hub, HubModel, hub_of
from model_servers.programs import Place, address, everything_in
from model_servers.web import Answer, WebServer, folder_answer


@pytest.fixture
def place(tmp_path: Path) -> Place:
    pytest.importorskip("huggingface_hub")
    return Place(tmp_path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_of() as served:
        yield served


DOWNLOADS = """
with HubInterception(provider, base, cache):
    import huggingface_hub as hub
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RemoteEntryNotFoundError
    path = Path(hub.hf_hub_download("owner/name", "config.json"))
    answer["content"] = path.read_text()
    answer["inside"] = path.is_relative_to(cache)
    answer["link"] = str(path.resolve().read_bytes() == path.read_bytes())
    answer["sub"] = Path(hub.hf_hub_download("owner/name", "sub/labels.txt")).read_text()
    answer["exists"] = [hub.file_exists("owner/name", name) for name in ("config.json", "nope")]
    try:
        hub.hf_hub_download("owner/name", "nope.json")
    except RemoteEntryNotFoundError as exc:
        answer["absent"] = type(exc).__name__
    local = cache.parent / "local"
    answer["local_dir"] = Path(hub.hf_hub_download("owner/name", "config.json", local_dir=local)).read_text()
    forced = Path(hub.hf_hub_download("owner/name", "config.json", force_download=True))
    answer["forced"] = forced.read_text()
    url = hub.hf_hub_url("owner/name", "config.json")
    response = hub.get_session().get(url, headers={"Range": "bytes=1-3"})
    answer["range"] = [response.status_code, response.text]
    asks = (lambda: hub.whoami("token"), lambda: hub.dataset_info("a/b"), lambda: list(hub.list_models()))
    for ask in asks:
        try:
            ask()
        except HfHubHTTPError:
            answer.setdefault("refused", []).append(True)
    answer["snapshot"] = sorted(p.name for p in Path(hub.snapshot_download("owner/name")).rglob("*"))
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    files = {"config.json": '{"a": 1}', "sub/labels.txt": "a\nb", "model.safetensors": "weights"}
    for name, content in files.items():
        path = folder / "owner" / "name" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_downloads(place: Place, models: Path) -> None:
    answer = place.run(str(models), DOWNLOADS)
    assert answer == {
        "content": '{"a": 1}',
        "inside": True,
        "link": "True",
        "sub": "a\nb",
        "exists": [True, False],
        "absent": "RemoteEntryNotFoundError",
        "local_dir": '{"a": 1}',
        "forced": '{"a": 1}',
        "range": [206, '"a"'],
        "refused": [True] * 3,
        "snapshot": ["config.json", "labels.txt", "model.safetensors", "sub"],
    }
    assert everything_in(place.home) == []
    # The provider's own files are as they were.
    assert (models / "owner" / "name" / "config.json").read_text() == '{"a": 1}'


def test_downloads_from_a_place_that_cannot_list(place: Place, models: Path) -> None:
    server = WebServer(folder_answer(models))
    try:
        answer = place.run(server.url, DOWNLOADS, (address(server.url),))
    finally:
        server.close()
    assert answer["sub"] == "a\nb"
    assert answer["absent"] == "RemoteEntryNotFoundError"
    # What no rule names is not known to be there, but for what has been asked for.
    assert answer["snapshot"] == ["config.json", "labels.txt", "model.safetensors", "sub"]


def test_no_second_copy_of_the_bytes(place: Place, models: Path) -> None:
    server = WebServer(folder_answer(models))
    try:
        program = """
        with HubInterception(provider, base, cache):
            import huggingface_hub as hub
            answer["path"] = hub.hf_hub_download("owner/name", "model.safetensors")
        """
        for _ in range(2):
            path = Path(place.run(server.url, program, (address(server.url),))["path"])
            assert path.read_text() == "weights"
        assert path.is_symlink()
        copies = [p for p in place.cache.rglob("*") if p.is_file() and not p.is_symlink()]
        contents = {p.stat().st_ino for p in copies if p.read_bytes() == b"weights"}
        assert len(contents) == 1
        assert len([r for r in server.asked("GET") if r.target.endswith("model.safetensors")]) == 1
    finally:
        server.close()


def test_a_new_content_is_seen_by_a_later_process(place: Place, models: Path) -> None:
    program = """
    with HubInterception(provider, base, cache):
        import huggingface_hub as hub
        answer["content"] = Path(hub.hf_hub_download("owner/name", "config.json")).read_text()
    """
    assert place.run(str(models), program)["content"] == '{"a": 1}'
    (models / "owner" / "name" / "config.json").write_text('{"a": 22}')
    assert place.run(str(models), program)["content"] == '{"a": 22}'


def test_what_the_provider_says_reaches_the_caller(place: Place) -> None:
    server = WebServer(lambda request: Answer(403))
    try:
        answer = place.run(
            server.url,
            """
            with HubInterception(provider, base, cache):
                import huggingface_hub as hub
                try:
                    hub.hf_hub_download("owner/name", "config.json")
                except Exception as exc:
                    answer["error"] = [type(exc).__name__, str(exc)]
            """,
            (address(server.url),),
        )
    finally:
        server.close()
    assert answer["error"][0] == "SourceFailedError"
    assert "403" in answer["error"][1]


def test_off_line_mode_of_the_environment_does_not_matter(place: Place, models: Path) -> None:
    program = """
    with HubInterception(provider, base, cache):
        import huggingface_hub as hub
        answer["content"] = Path(hub.hf_hub_download("owner/name", "config.json")).read_text()
        answer["off"] = hub.is_offline_mode()
    answer["off_again"] = hub.is_offline_mode()
    """
    answer = place.run(str(models), program, HF_HUB_OFFLINE="1")
    assert answer == {"content": '{"a": 1}', "off": False, "off_again": True}


def test_afterwards_the_library_is_as_it_was(place: Place, models: Path, hub: Hub) -> None:
    hub.models["owner/name"] = HubModel({"config.json": b"of the hub"})
    answer = place.run(
        str(models),
        """
        import huggingface_hub as hub
        from huggingface_hub import constants
        from huggingface_hub.utils import _http
        before = [dict(vars(constants)), _http._GLOBAL_CLIENT_FACTORY, _http._GLOBAL_ASYNC_CLIENT_FACTORY]
        def read():
            return Path(hub.hf_hub_download("owner/name", "config.json")).read_text()
        interception = HubInterception(provider, base, cache)
        answer["read"] = [read()]
        for _ in range(2):
            interception.install()
            interception.install()
            answer["read"].append(read())
            interception.uninstall()
            interception.uninstall()
            answer["read"].append(read())
        after = [dict(vars(constants)), _http._GLOBAL_CLIENT_FACTORY, _http._GLOBAL_ASYNC_CLIENT_FACTORY]
        answer["same"] = before == after
        """,
        (address(hub.url),),
        HF_ENDPOINT=hub.url,
    )
    assert answer == {"read": ["of the hub", *(['{"a": 1}', "of the hub"] * 2)], "same": True}


def test_the_hook_sees_what_would_go_to_a_hub(place: Place, models: Path) -> None:
    """Without the interception the same program ends: the other tests would notice a leak."""
    program = """
    import huggingface_hub as hub
    hub.hf_hub_download("owner/name", "config.json", etag_timeout=2)
    """
    with pytest.raises(AssertionError, match=r"a (look-up|socket)"):
        place.run(str(models), program)


def test_without_the_library(place: Place, models: Path) -> None:
    program = """
    sys.modules["huggingface_hub"] = None
    try:
        HubInterception(provider, base, cache).install()
    except Exception as exc:
        answer["error"] = [type(exc).__name__, str(exc)]
    """
    name, text = place.run(str(models), program)["error"]
    assert name == "SourceFailedError"
    assert "inferpipe[hub]" in text
