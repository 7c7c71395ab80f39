import sys
import threading
from collections import OrderedDict
from subprocess import run

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from frame_cache.base import PreparedKey
from frame_cache.errors import FrameTooLargeError
from frame_cache.memory import FrameCache
from preprocess.errors import DecodeError
from preprocess.frame import Frame, Pixels, Prepared, Transform
from preprocess.options import ColorSpace, DecodeOptions, PrepareOptions
from protocol.pixel_format import PixelFormat

PLAIN = DecodeOptions()
TURNED = DecodeOptions(exif=True)
GEOMETRY = Transform(10, 10, (0, 0, 10, 10), 1.0, 1.0, 0.0, 0.0, 10, 10)
TIMEOUT = 30.0


def frame(nbytes=100, pixel_format=PixelFormat.ENCODED, mark=0):
    return Frame(memoryview(bytes([mark]) * nbytes), 0, 0, pixel_format)


def key(generation=1, **differences):
    values = {"options": PrepareOptions(64, 64), "decode": PLAIN, "roi": None} | differences
    return PreparedKey(generation, **values)


def tensor(nbytes=100):
    return Prepared(np.zeros(nbytes, np.uint8), GEOMETRY)


class Decoder:
    """Makes pixels of 200 bytes, counts, and fails or waits when told to."""

    def __init__(self):
        self.calls = []
        self.error = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, of, options):
        self.calls.append((of, options))
        assert self.may_go_on.wait(TIMEOUT)
        if self.error:
            raise self.error
        return Pixels(np.full((10, 20), of.data[0], np.uint8), PixelFormat.GRAY)


@pytest.fixture
def decoder():
    return Decoder()


@pytest.fixture
def cache(decoder):
    return FrameCache(1000, decoder)


# Frames


def test_a_frame_is_found_until_it_is_removed(cache):
    entry = cache.put(7, frame(100))
    assert cache.get(7) is entry
    assert (len(cache), cache.used_bytes) == (1, 100)
    cache.remove(7)
    assert cache.get(7) is None
    assert (len(cache), cache.used_bytes) == (0, 0)


def test_an_id_that_is_not_there(cache):
    assert cache.get(7) is None
    cache.remove(7)


def test_the_least_recently_used_frame_goes_first(cache):
    for frame_id in range(3):
        cache.put(frame_id, frame(300))
    cache.get(0)
    cache.put(3, frame(300))
    assert [frame_id for frame_id in range(4) if cache.get(frame_id)] == [0, 2, 3]


def test_a_frame_as_large_as_the_budget_takes_all_of_it(cache):
    cache.put(1, frame(100))
    cache.put(2, frame(1000))
    assert (cache.get(1), cache.used_bytes) == (None, 1000)


def test_a_frame_over_the_budget_is_refused_and_leaves_its_id_empty(cache):
    cache.put(1, frame(100))
    cache.put(2, frame(100))
    with pytest.raises(FrameTooLargeError, match="1001"):
        cache.put(1, frame(1001))
    assert cache.get(1) is None
    assert cache.get(2) is not None
    assert cache.used_bytes == 100


def test_a_newer_frame_takes_the_place_of_an_older_one(cache):
    older = cache.put(1, frame(100))
    older.pixels(PLAIN)
    newer = cache.put(1, frame(50, mark=9))
    assert cache.get(1) is newer
    assert cache.used_bytes == 50


# Decoded pixels


def test_a_frame_is_decoded_once_for_each_variant(cache, decoder):
    entry = cache.put(1, frame())
    assert entry.pixels(PLAIN) is entry.pixels(PLAIN)
    assert entry.pixels(TURNED) is entry.pixels(TURNED)
    assert [options for _, options in decoder.calls] == [PLAIN, TURNED]
    assert cache.used_bytes == 100 + 200 + 200


@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.I420])
def test_yuv_counts_as_decoded(pixel_format, cache, decoder):
    entry = cache.put(1, frame(pixel_format=pixel_format))
    entry.pixels(PLAIN)
    entry.pixels(DecodeOptions(color_space=ColorSpace.BT709))
    assert cache.used_bytes == 100 + 200 + 200


def test_views_of_raw_pixels_do_not_count(cache):
    entry = cache.put(1, frame(pixel_format=PixelFormat.RGB))
    entry.pixels(PLAIN)
    assert cache.used_bytes == 100


def test_whoever_asks_during_decoding_waits_for_it(cache, decoder):
    entry = cache.put(1, frame())
    decoder.may_go_on.clear()
    results = []
    threads = [threading.Thread(target=lambda: results.append(entry.pixels(PLAIN))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert cache.get(1) is entry  # the cache itself does not wait
    decoder.may_go_on.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert len(decoder.calls) == 1
    assert len(results) == 4
    assert len(set(map(id, results))) == 1


def test_a_failure_reaches_every_waiter_and_empties_the_id(cache, decoder):
    entry = cache.put(1, frame())
    decoder.may_go_on.clear()
    decoder.error = DecodeError("broken")
    failures = []

    def ask():
        try:
            entry.pixels(PLAIN)
        except DecodeError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    decoder.may_go_on.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert len(failures) == 4
    assert cache.get(1) is None
    assert cache.used_bytes == 0


@pytest.mark.parametrize("pixel_format", [PixelFormat.ENCODED, PixelFormat.RGB])
def test_a_late_failure_leaves_a_newer_frame_alone(pixel_format, cache, decoder):
    older = cache.put(1, frame(pixel_format=pixel_format))
    newer = cache.put(1, frame())
    decoder.error = DecodeError("broken")
    with pytest.raises(DecodeError):
        older.pixels(PLAIN)
    assert cache.get(1) is newer


def test_pixels_that_do_not_fit_beside_their_frame_are_made_but_not_kept(decoder):
    cache = FrameCache(250, decoder)
    entry = cache.put(1, frame(100))
    assert entry.pixels(PLAIN).array.nbytes == 200
    assert cache.get(1) is entry
    assert cache.used_bytes == 100


# Tensors


def test_a_tensor_is_made_once_for_each_key(cache):
    entry = cache.put(1, frame())
    made = []

    def make():
        made.append(tensor())
        return made[-1]

    assert entry.prepared(key()) is None
    first = entry.prepare(key(), make)
    assert entry.prepare(key(), make) is first
    assert entry.prepared(key()) is first
    assert cache.used_bytes == 200
    assert len(made) == 1


OTHERS = [
    key(generation=2),
    key(options=PrepareOptions(64, 32)),
    key(decode=TURNED),
    key(roi=(0, 0, 5, 5)),
]


@pytest.mark.parametrize("other", OTHERS)
def test_whatever_differs_makes_another_tensor(other, cache):
    entry = cache.put(1, frame())
    entry.prepare(key(), tensor)
    assert entry.prepared(other) is None


def test_an_id_that_is_used_again_never_finds_an_older_picture_s_tensor(cache):
    older = cache.put(1, frame())
    of_older = older.prepare(key(), tensor)
    newer = cache.put(1, frame())
    assert newer.prepared(key()) is None
    assert older.prepare(key(), lambda: of_older) is of_older
    assert newer.prepared(key()) is None


def test_a_frame_that_is_gone_serves_those_who_hold_it_but_keeps_nothing(cache, decoder):
    entry = cache.put(1, frame())
    cache.remove(1)
    entry.pixels(PLAIN)
    entry.prepare(key(), tensor)
    assert entry.prepared(key()) is None
    assert len(decoder.calls) == 1
    assert cache.used_bytes == 0


def test_what_is_made_while_its_frame_goes_is_not_kept(cache):
    entry = cache.put(1, frame())

    def make():
        cache.put(1, frame(10))
        return tensor()

    entry.prepare(key(), make)
    assert cache.used_bytes == 10


def test_tensors_go_alone_and_before_frames_used_later(cache):
    first = cache.put(1, frame(100))
    first.prepare(key(), lambda: tensor(300))
    second = cache.put(2, frame(100))
    cache.get(1)
    second.prepare(key(), lambda: tensor(600))
    assert first.prepared(key()) is None
    assert cache.get(1) is first
    assert second.prepared(key()) is not None
    assert cache.used_bytes == 800


def test_a_tensor_in_use_outlives_a_frame_s_other_tensors(cache):
    entry = cache.put(1, frame(100))
    entry.prepare(key(1), lambda: tensor(300))
    entry.prepare(key(2), lambda: tensor(300))
    entry.prepared(key(1))
    entry.prepare(key(3), lambda: tensor(310))
    assert [generation for generation in (1, 2, 3) if entry.prepared(key(generation))] == [1, 3]


def test_a_frame_takes_its_tensors_along(cache):
    entry = cache.put(1, frame(100))
    entry.prepare(key(), lambda: tensor(300))
    cache.put(2, frame(900))
    assert cache.get(1) is None
    assert entry.prepared(key()) is None
    assert cache.used_bytes == 900


def test_a_tensor_that_could_not_be_made_is_tried_again(cache):
    entry = cache.put(1, frame())

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        entry.prepare(key(), fail)
    assert cache.get(1) is entry
    assert entry.prepare(key(), tensor) is entry.prepared(key())


# All at once


class CacheAgainstModel(RuleBasedStateMachine):
    """The cache beside a plain list of (frame id, key or None, bytes), least recently used first."""

    BUDGET = 1000
    ids = st.integers(0, 3)
    sizes = st.integers(1, 1100)
    generations = st.integers(0, 2)

    def __init__(self):
        super().__init__()
        self.cache = FrameCache(self.BUDGET, Decoder())
        self.model = OrderedDict()
        self.gone = []

    def drop(self, frame_id):
        for item in [item for item in self.model if item[0] == frame_id]:
            del self.model[item]

    def shrink(self):
        while sum(self.model.values()) > self.BUDGET:
            frame_id, generation = next(iter(self.model))
            if generation is None:
                self.drop(frame_id)
            else:
                del self.model[frame_id, generation]

    @rule(frame_id=ids, nbytes=sizes)
    def put(self, frame_id, nbytes):
        older = self.cache.get(frame_id)
        if older:
            self.gone.append(older)
        self.drop(frame_id)
        if nbytes > self.BUDGET:
            with pytest.raises(FrameTooLargeError):
                self.cache.put(frame_id, frame(nbytes))
            return
        self.cache.put(frame_id, frame(nbytes))
        self.model[frame_id, None] = nbytes
        self.shrink()

    @rule(frame_id=ids)
    def remove(self, frame_id):
        self.cache.remove(frame_id)
        self.drop(frame_id)

    @rule(frame_id=ids, generation=generations, nbytes=sizes)
    def prepare(self, frame_id, generation, nbytes):
        entry = self.cache.get(frame_id)
        assert (entry is not None) == ((frame_id, None) in self.model)
        if entry is None:
            return
        self.model.move_to_end((frame_id, None))
        kept = self.model.get((frame_id, generation))
        made = entry.prepare(key(generation), lambda: tensor(nbytes))
        assert made.tensor.nbytes == (kept or nbytes)
        if kept or self.model[frame_id, None] + nbytes <= self.BUDGET:
            self.model[frame_id, generation] = kept or nbytes
            self.model.move_to_end((frame_id, generation))
            self.shrink()

    @precondition(lambda self: self.gone)
    @rule(data=st.data(), generation=generations)
    def use_what_is_gone(self, data, generation):
        data.draw(st.sampled_from(self.gone)).prepare(key(generation), lambda: tensor(50))

    @invariant()
    def agrees(self):
        assert self.cache.used_bytes == sum(self.model.values()) <= self.BUDGET
        assert len(self.cache) == sum(generation is None for _, generation in self.model)


TestCacheAgainstModel = CacheAgainstModel.TestCase
TestCacheAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_threads_stay_under_the_budget_and_get_their_own_frame_s_pixels():
    cache = FrameCache(3000, Decoder())
    faults = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(400):
            frame_id, mark, generation = (int(number) for number in rng.integers(0, (6, 256, 3)))
            entry = cache.get(frame_id)
            if entry is None or rng.random() < 0.2:
                entry = cache.put(frame_id, frame(int(rng.integers(1, 900)), mark=mark))
            elif rng.random() < 0.1:
                cache.remove(frame_id)
            pixels = entry.pixels(PLAIN)
            made = entry.prepare(key(generation), lambda pixels=pixels: Prepared(pixels.array[:3], GEOMETRY))
            if pixels.array[0, 0] != entry.frame.data[0] or made.tensor[0, 0] != entry.frame.data[0]:
                faults.append("another frame's pixels")
            if cache.used_bytes > 3000:
                faults.append("over the budget")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert not faults
    for frame_id in range(6):
        cache.remove(frame_id)
    assert (len(cache), cache.used_bytes) == (0, 0)
    assert not cache._by_use
    assert not cache._holdings


def test_opencv_is_not_imported():
    modules = "frame_cache.memory, preprocess.image_header, preprocess.buffers, preprocess.letterbox"
    code = f"import sys, {modules}; print('cv2' in sys.modules)"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
