"""What the hub's library asks, and what a provider's files answer: without the library."""

from pathlib import Path

import pytest

from model_files.base import ModelFiles, ModelRef
from model_files.companions import Companion
from model_files.errors import MissingFileError, SourceFailedError, SourceUnavailableError
from model_files.hub_questions import Kind, Question, read_question
from model_files.hub_repository import (
    FRESH_S,
    MAX_HELD,
    Repositories,
    Repository,
    entries_in,
    identity_of,
)
from model_files.local import LocalFiles
from model_files.progress import UNWATCHED, Watch

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("target", "question"),
    [
        ("/o/n/resolve/main/config.json", Question(Kind.FILE, "o/n", "main", "config.json")),
        ("/n/resolve/main/config.json", Question(Kind.FILE, "n", "main", "config.json")),
        ("/o/n/resolve/refs%2Fpr%2F1/a/b%20c", Question(Kind.FILE, "o/n", "refs/pr/1", "a/b c")),
        ("/api/models/o/n", Question(Kind.MODEL, "o/n")),
        ("/api/models/n", Question(Kind.MODEL, "n")),
        ("/api/models/o/n/revision/v1", Question(Kind.MODEL, "o/n", "v1")),
        ("/api/models/n/revision/v1", Question(Kind.MODEL, "n", "v1")),
        ("/api/models/o/n/tree/main", Question(Kind.TREE, "o/n", "main")),
        ("/api/models/n/tree/main/a/b", Question(Kind.TREE, "n", "main", "a/b")),
        ("/api/models/o/n/commits/main", Question(Kind.OTHER)),
        ("/api/models/o/n/discussions", Question(Kind.OTHER)),
        ("/api/datasets/o/n", Question(Kind.OTHER)),
        ("/datasets/o/n/resolve/main/a", Question(Kind.OTHER)),
        ("/api/whoami-v2", Question(Kind.OTHER)),
        ("/", Question(Kind.OTHER)),
        ("", Question(Kind.OTHER)),
    ],
)
def test_what_is_asked(target: str, question: Question) -> None:
    assert read_question("GET", target, {}) == question
    assert read_question("HEAD", target, {}) == question
    assert read_question("POST", target, {}).kind is Kind.OTHER


def test_all_below_a_folder() -> None:
    assert read_question("GET", "/api/models/o/n/tree/main", {"recursive": "True"}).recursive
    assert not read_question("GET", "/api/models/o/n/tree/main", {"recursive": "False"}).recursive


def test_entries_of_a_folder() -> None:
    names = ("a", "b/c", "b/d/e", "bc")
    assert entries_in(names, "", recursive=False) == (["a", "bc"], ["b"])
    assert entries_in(names, "", recursive=True) == (["a", "b/c", "b/d/e", "bc"], ["b", "b/d"])
    assert entries_in(names, "b", recursive=False) == (["b/c"], ["b/d"])
    assert entries_in(names, "nope", recursive=True) == ([], [])


class CollectorDouble:
    """A double of a provider that lays files of a folder, and lists them where it is told to."""

    def __init__(self, root: Path, *, lists: bool = False) -> None:
        self.root = root
        self.lists = lists
        self.collected: list[str] = []
        self.error: Exception | None = None
        self.listing_error: Exception | None = None

    def get_file(self, model_id: str, file_path: str) -> bytes:
        raise NotImplementedError

    def local_files(self, ref: ModelRef) -> ModelFiles:
        raise NotImplementedError

    def list_files(self, model_id: str) -> tuple[str, ...] | None:
        if self.listing_error is not None:
            raise self.listing_error
        return tuple(path.name for path in self.root.iterdir()) if self.lists else None

    def collect(
        self, model_id: str, paths: tuple[Companion, ...], watch: Watch = UNWATCHED
    ) -> tuple[ModelFiles, frozenset[str]]:
        wanted = paths[-1]
        self.collected.append(f"{model_id}/{wanted.path}")
        if self.error is not None:
            raise self.error
        if not (self.root / wanted.path).exists():
            raise MissingFileError(wanted.path)
        return ModelFiles(self.root, model_id), frozenset({wanted.path})

    def has_file(self, model_id: str, file_path: str) -> bool:
        return (self.root / file_path).exists()


@pytest.fixture
def provider(tmp_path: Path) -> CollectorDouble:
    (tmp_path / "config.json").write_bytes(b"{}")
    return CollectorDouble(tmp_path)


def test_what_is_asked_once_is_not_asked_again(provider: CollectorDouble) -> None:
    repository = Repository(provider, "double://o/n")
    for _ in range(2):
        assert repository.path("config.json") == provider.root / "config.json"
        assert repository.path("nope.json") is None
    assert provider.collected == ["double://o/n/config.json", "double://o/n/nope.json"]
    assert repository.size("config.json") == 2
    assert repository.size("nope.json") == repository.size("never-asked") == 0


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a//b", "a\\b", ""])
def test_names_that_are_not_allowed_are_absent_and_not_asked_for(
    provider: CollectorDouble, name: str
) -> None:
    assert Repository(provider, "double://o/n").path(name) is None
    assert provider.collected == []


def test_a_listing_saves_questions(provider: CollectorDouble) -> None:
    provider.lists = True
    repository = Repository(provider, "double://o/n")
    assert repository.path("nope.json") is None
    assert provider.collected == []
    assert repository.names() == ("config.json",)


def test_names_by_rules_have_the_weights_and_leave_them_where_they_are(provider: CollectorDouble) -> None:
    (provider.root / "model.safetensors").write_bytes(b"weights")
    repository = Repository(provider, "double://o/n")
    assert repository.names() == ("config.json", "model.safetensors")
    assert "double://o/n/model.safetensors" not in provider.collected


def test_names_of_shards_are_known_by_their_index(provider: CollectorDouble) -> None:
    (provider.root / "model.safetensors.index.json").write_bytes(b'{"weight_map": {"a": "s1", "b": "s2"}}')
    names = Repository(provider, "double://o/n").names()
    assert names == ("config.json", "model.safetensors.index.json", "s1", "s2")


def test_weights_of_pytorch_are_listed_where_there_are_no_others(provider: CollectorDouble) -> None:
    (provider.root / "pytorch_model.bin").write_bytes(b"weights")
    assert Repository(provider, "double://o/n").names() == ("config.json", "pytorch_model.bin")
    assert "double://o/n/pytorch_model.bin" not in provider.collected


def test_a_place_that_does_not_let_us_list(provider: CollectorDouble) -> None:
    provider.listing_error = SourceFailedError("listing is denied")
    assert Repository(provider, "double://o/n").path("config.json") is not None
    provider.listing_error = SourceUnavailableError("nobody is there")
    with pytest.raises(SourceUnavailableError):
        Repository(provider, "double://o/n").path("config.json")


def test_a_failure_is_not_remembered(provider: CollectorDouble) -> None:
    repository = Repository(provider, "double://o/n")
    provider.error = SourceFailedError("refused")
    with pytest.raises(SourceFailedError):
        repository.path("config.json")
    provider.error = None
    assert repository.path("config.json") is not None


def test_a_local_folder(tmp_path: Path) -> None:
    (tmp_path / "o" / "n" / "sub").mkdir(parents=True)
    (tmp_path / "o" / "n" / "config.json").write_bytes(b"{}")
    repository = Repositories(LocalFiles(), str(tmp_path)).get("o/n", "main").repository
    assert repository.path("config.json") == tmp_path / "o" / "n" / "config.json"
    assert repository.path("sub") is None
    assert repository.names() == ("config.json",)
    with pytest.raises(MissingFileError):
        Repositories(LocalFiles(), str(tmp_path)).get("o/nope", "main").repository.path("config.json")


def test_one_load_sees_one_state_and_a_later_one_the_new(provider: CollectorDouble) -> None:
    now = [0.0]
    repositories = Repositories(provider, "double://", clock=lambda: now[0])
    first = repositories.get("o/n", "main")
    assert len(first.commit) == 40
    now[0] = FRESH_S
    assert repositories.get("o/n", "main") is first
    now[0] = FRESH_S + 1
    # Whoever was told a commit still gets that state.
    assert repositories.get("o/n", first.commit) is first
    second = repositories.get("o/n", "main")
    assert second.commit != first.commit
    assert repositories.get("o/n", first.commit) is first
    assert repositories.get("o/n", "main") is second


def test_a_commit_of_the_place_itself_keeps_its_name(provider: CollectorDouble) -> None:
    assert Repositories(provider, "double://").get("o/n", COMMIT).commit == COMMIT


def test_revisions_are_for_places_that_have_such(provider: CollectorDouble) -> None:
    for base, expected in (
        ("hf://", "hf://o/n@v1/config.json"),
        ("s3://b/models", "s3://b/models/o/n/config.json"),
    ):
        Repositories(provider, base).get("o/n", "v1").repository.path("config.json")
        assert provider.collected[-1] == expected
    Repositories(provider, "hf://").get("o/n", "main").repository.path("config.json")
    assert provider.collected[-1] == "hf://o/n/config.json"


def test_only_so_many_models_are_held(provider: CollectorDouble) -> None:
    repositories = Repositories(provider, "double://")
    first = repositories.get("o/first", "main")
    for n in range(MAX_HELD):
        repositories.get(f"o/{n}", "main")
    again = repositories.get("o/first", first.commit)
    assert again.commit == first.commit
    assert again.repository is not first.repository


def test_the_identity_of_a_file_changes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"a")
    before = identity_of(path)
    assert identity_of(path) == before
    assert len(before) == 64
    path.write_bytes(b"ab")
    assert identity_of(path) != before
