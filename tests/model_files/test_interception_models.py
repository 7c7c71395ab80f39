"""`from_pretrained` out of a provider, with sockets to anywhere else forbidden."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from model_servers.hub import TOKEN, Hub, hub_of
from model_servers.model_cache import serving as model_cache_serving
from model_servers.programs import Place, address, everything_in
from model_servers.web import WebServer, folder_answer

pytestmark = pytest.mark.timeout(120, func_only=True)  # not for the build of the server


@pytest.fixture
def place(tmp_path: Path) -> Place:
    pytest.importorskip("transformers")
    return Place(tmp_path)


@pytest.fixture
def checkpoints(shared_data: Path) -> Path:
    return shared_data / "checkpoints"


@pytest.fixture
def web(checkpoints: Path) -> Iterator[WebServer]:
    """Serve the checkpoints from a place that cannot list them."""
    server = WebServer(folder_answer(checkpoints))
    yield server
    server.close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_of() as served:
        yield served


LOAD = """
with HubInterception(provider, base, cache):
    import tokenizers
    from transformers import AutoConfig, AutoTokenizer
    for name in ("stories260K", "tiny_bert", "tiny-random-clip", "caikit-T5ForConditionalGeneration"):
        config = AutoConfig.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
        answer[name] = [config.model_type, tokenizer("Once upon a time")["input_ids"]]
    answer["tokenizers"] = tokenizers.Tokenizer.from_pretrained("stories260K").encode("Once upon a time").ids
"""
LOAD_FROM_FOLDERS = """
import tokenizers
from transformers import AutoConfig, AutoTokenizer
for name in ("stories260K", "tiny_bert", "tiny-random-clip", "caikit-T5ForConditionalGeneration"):
    config = AutoConfig.from_pretrained(f"{base}/{name}")
    tokenizer = AutoTokenizer.from_pretrained(f"{base}/{name}")
    answer[name] = [config.model_type, tokenizer("Once upon a time")["input_ids"]]
tokenizer = tokenizers.Tokenizer.from_file(f"{base}/stories260K/tokenizer.json")
answer["tokenizers"] = tokenizer.encode("Once upon a time").ids
"""


def test_configurations_and_tokenizers(place: Place, checkpoints: Path, web: WebServer) -> None:
    expected = place.run(str(checkpoints), LOAD_FROM_FOLDERS)
    assert place.run(str(checkpoints), LOAD) == expected
    assert place.run(web.url, LOAD, (address(web.url),)) == expected
    # Nothing was written beside the cache, and weights that nobody asked for stayed where they are.
    assert everything_in(place.home) == []
    assert not [request for request in web.asked("GET") if request.target.endswith((".safetensors", ".bin"))]


def test_a_hub_of_our_own_behind_it(place: Place, checkpoints: Path, hub: Hub) -> None:
    hub.add_folder("owner/stories", checkpoints / "stories260K")
    hub.models["owner/stories"].private = True
    loaded = place.run(
        "hf://",
        """
        with HubInterception(provider, base, cache):
            from transformers import AutoTokenizer
            answer["ids"] = AutoTokenizer.from_pretrained("owner/stories")("Once upon a time")["input_ids"]
        """,
        (address(hub.url), address(hub.cdn.url)),
        OWN_HUB=hub.url,
        HF_TOKEN=TOKEN,
    )
    assert loaded["ids"]
    assert {request.headers["user-agent"].split("/")[0] for request in hub.server.requests} == {
        "inferpipe-model-files"
    }


def test_shards_of_a_place_that_cannot_list(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "owner" / "sharded"
    folder.mkdir(parents=True)
    shards = {f"model-0000{n}-of-00002.safetensors": f"shard {n}" for n in (1, 2)}
    index = {"metadata": {"total_size": 2}, "weight_map": {name: name for name in shards}}
    for name, content in {
        **shards,
        "config.json": "{}",
        "model.safetensors.index.json": json.dumps(index),
    }.items():
        (folder / name).write_text(content)
    server = WebServer(folder_answer(tmp_path / "models"))
    try:
        answer = place.run(
            server.url,
            """
            with HubInterception(provider, base, cache):
                from transformers.utils import cached_file
                from transformers.utils.hub import get_checkpoint_shard_files
                index = cached_file("owner/sharded", "model.safetensors.index.json")
                files, _ = get_checkpoint_shard_files("owner/sharded", index)
                answer["shards"] = {Path(file).name: Path(file).read_text() for file in files}
            """,
            (address(server.url),),
        )
    finally:
        server.close()
    assert answer["shards"] == shards


def test_a_model_that_is_not_there(place: Place, checkpoints: Path) -> None:
    answer = place.run(
        str(checkpoints),
        """
        with HubInterception(provider, base, cache):
            from transformers import AutoConfig
            try:
                AutoConfig.from_pretrained("owner/nope")
            except OSError as exc:
                answer["error"] = str(exc)
        """,
    )
    assert "owner/nope is not a local folder and is not a valid model identifier" in answer["error"]


@pytest.mark.parametrize("imported", ["before", "inside"])
def test_code_that_a_model_brings_along_is_copied_into_the_cache_alone(
    place: Place, tmp_path: Path, imported: str
) -> None:
    folder = tmp_path / "models" / "owner" / "own"
    folder.mkdir(parents=True)
    code = "from transformers import PretrainedConfig\nclass Own(PretrainedConfig):\n    model_type = 'own'\n"
    (folder / "own.py").write_text(code)
    (folder / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}')
    program = """
    if os.environ["IMPORTED"] == "before":
        import transformers.dynamic_module_utils
    with HubInterception(provider, base, cache):
        from transformers import AutoConfig
        answer["kind"] = type(AutoConfig.from_pretrained("owner/own", trust_remote_code=True)).__name__
    answer["variable"] = os.environ.get("HF_MODULES_CACHE")
    """
    answer = place.run(str(tmp_path / "models"), program, IMPORTED=imported)
    assert answer == {"kind": "Own", "variable": None}
    assert everything_in(place.home) == []
    assert any(name.startswith("hub/modules/") for name in everything_in(place.cache))


@pytest.fixture
def model_cache(checkpoints: Path, tmp_path: Path) -> Iterator[str]:
    """Run the reference ModelCache server over two checkpoints; yields its address."""
    pytest.importorskip("grpc")
    for name in ("stories260K", "tiny_bert"):
        shutil.copytree(checkpoints / name, tmp_path / "models" / "demo" / name)
    with model_cache_serving(tmp_path / "models") as server:
        yield server.target


LOAD_FROM_MODEL_CACHE = """
with HubInterception(provider, base, cache):
    import tokenizers
    from transformers import AutoConfig, AutoTokenizer
    for name in ("demo/stories260K", "demo/tiny_bert"):
        config = AutoConfig.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
        answer[name.partition("/")[2]] = [config.model_type, tokenizer("Once upon a time")["input_ids"]]
"""


def test_the_rust_server(place: Place, checkpoints: Path, model_cache: str) -> None:
    expected = place.run(str(checkpoints), LOAD_FROM_FOLDERS)
    loaded = place.run("modelcache://", LOAD_FROM_MODEL_CACHE, OWN_MODEL_CACHE=model_cache)
    assert loaded == {name: expected[name] for name in ("stories260K", "tiny_bert")}
    assert everything_in(place.home) == []


GENERATE = """
with HubInterception(provider, base, cache):
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained("stories260K")
    model = AutoModelForCausalLM.from_pretrained("stories260K")
    prompt = tokenizer("Once upon a time, there was a little girl", return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**prompt, do_sample=False, max_new_tokens=80)
    answer["story"] = tokenizer.decode(ids[0], skip_special_tokens=True)
    bert = AutoModel.from_pretrained("tiny_bert")
    pickled = AutoModel.from_pretrained("caikit-BertForSequenceClassification")
    answer["hidden"] = [bert.config.hidden_size, pickled.config.model_type]
"""
STORY = (
    " named Lily. She loved to play outside in the park. One day, she saw a big, red ball."
    " She wanted to play with it, but it was too high."
)


def check_generated(answer: Mapping[str, Any]) -> None:
    """Compare with what ../shared/data/MANIFEST.md says."""
    assert answer["story"].startswith("Once upon a time, there was a little girl" + STORY)
    assert answer["hidden"] == [32, "bert"]


def test_whole_models_from_a_folder(place: Place, checkpoints: Path) -> None:
    pytest.importorskip("torch")
    check_generated(place.run(str(checkpoints), GENERATE))


def test_whole_models_from_a_place_that_cannot_list(place: Place, web: WebServer) -> None:
    pytest.importorskip("torch")
    check_generated(place.run(web.url, GENERATE, (address(web.url),)))
    assert everything_in(place.home) == []


def test_whole_models_from_the_rust_server(place: Place, model_cache: str) -> None:
    pytest.importorskip("torch")
    program = GENERATE.replace('"stories260K"', '"demo/stories260K"').replace(
        '"tiny_bert"', '"demo/tiny_bert"'
    )
    program = program.replace('"caikit-BertForSequenceClassification"', '"demo/tiny_bert"')
    check_generated(place.run("modelcache://", program, OWN_MODEL_CACHE=model_cache))
