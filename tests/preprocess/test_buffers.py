import gc
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.buffers import ALIGNMENT, SMALLEST, BufferPool, _size_class

BIG = 1 << 20


def _address(memory):
    return np.frombuffer(memory, np.uint8).ctypes.data


HOLDERS = {
    "memoryview": lambda lease: lease,
    "slice": lambda lease: lease[100:200],
    "slice of a slice": lambda lease: lease[100:][50:60],
    "cast": lambda lease: lease.cast("I"),
    "read-only": lambda lease: lease.toreadonly(),
    "frombuffer": lambda lease: np.frombuffer(lease, np.uint8),
    "frombuffer of a slice": lambda lease: np.frombuffer(lease[64:], np.float32, 10),
    "asarray": np.asarray,
    "reshape": lambda lease: np.frombuffer(lease, np.uint8).reshape(64, -1)[3:5].T,
    "view": lambda lease: np.frombuffer(lease, np.uint8).view(np.int16)[::2],
    "memoryview of an array": lambda lease: memoryview(np.frombuffer(lease, np.uint8)[7:]),
    "array of a memoryview of an array": lambda lease: np.asarray(memoryview(np.frombuffer(lease, np.uint8))),
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS.keys())
def test_any_view_keeps_the_block_leased_and_its_end_returns_it_once(hold):
    pool = BufferPool(8 * BIG)
    lease = pool.lease(BIG)
    address = _address(lease)
    held = hold(lease)
    del lease
    assert pool.idle_bytes == 0
    other = pool.lease(BIG)
    assert _address(other) != address

    del held
    assert pool.idle_bytes == BIG
    again = pool.lease(BIG)
    assert _address(again) == address
    assert pool.idle_bytes == 0
    del other, again
    assert pool.idle_bytes == 2 * BIG


@pytest.mark.parametrize(
    "view",
    [lambda t: t, lambda t: t[0, 1], lambda t: t.reshape(-1)[5:].view(np.uint8), memoryview],
)
def test_views_of_a_tensor_keep_it_leased(view):
    pool = BufferPool(8 * BIG)
    tensor = pool.tensor((1, 3, 300, 300), np.float32)
    held = view(tensor)
    del tensor
    assert pool.idle_bytes == 0
    del held
    assert pool.idle_bytes >= 3 * 300 * 300 * 4


@pytest.mark.parametrize("nbytes", [0, 1, SMALLEST - 1, SMALLEST, SMALLEST + 1, 999_999, BIG])
def test_lease_is_writable_bytes_of_the_exact_length(nbytes):
    lease = BufferPool(BIG).lease(nbytes)
    assert (lease.nbytes, lease.format, lease.readonly, lease.contiguous) == (nbytes, "B", False, True)
    lease[:] = b"\x07" * nbytes


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3, 7, 5), (1, 3, 64, 64), (1, 224, 224, 3)])
def test_tensor_is_contiguous_aligned_and_writable(shape, dtype):
    pool = BufferPool(BIG)
    for _ in range(3):
        tensor = pool.tensor(shape, dtype)
        assert (tensor.shape, tensor.dtype) == (shape, np.dtype(dtype))
        assert tensor.flags.c_contiguous
        assert tensor.flags.writeable
        assert tensor.ctypes.data % ALIGNMENT == 0
        tensor.fill(1)


@given(st.integers(SMALLEST, 1 << 40))
def test_a_size_class_wastes_an_eighth_at_most(nbytes):
    size = _size_class(nbytes)
    assert nbytes <= size <= nbytes * 1.125
    assert _size_class(size) == size


def test_similar_sizes_share_blocks():
    pool = BufferPool(8 * BIG)
    lease = pool.lease(250_000)
    address = _address(lease)
    del lease
    assert _address(pool.lease(248_000)) == address


def test_small_leases_bypass_the_pool():
    pool = BufferPool(BIG)
    pool.lease(SMALLEST - 1)
    assert pool.idle_bytes == 0


def test_idle_memory_is_bounded_without_another_lease():
    pool = BufferPool(3 * BIG)
    leases = [pool.lease(BIG) for _ in range(10)]
    leases.clear()
    assert pool.idle_bytes == 3 * BIG


def test_the_size_that_was_used_longest_ago_is_dropped():
    pool = BufferPool(3 * BIG)
    for nbytes in (BIG, BIG // 2, BIG, 2 * BIG):  # BIG // 2 is the oldest when 2 * BIG comes back
        pool.lease(nbytes)
    assert pool.idle_bytes == 3 * BIG
    assert sorted(size for size, blocks in pool._idle.items() if blocks) == [BIG, 2 * BIG]


def test_a_size_without_idle_blocks_is_forgotten_in_its_turn():
    pool = BufferPool(BIG)
    pool.lease(BIG // 2)
    held = pool.lease(BIG // 2)
    pool.lease(2 * BIG)
    assert BIG // 2 not in pool._idle
    del held
    assert pool.idle_bytes == BIG // 2


def test_a_block_larger_than_the_bound_is_not_kept():
    pool = BufferPool(BIG)
    pool.lease(4 * BIG)
    assert pool.idle_bytes == 0


def test_the_garbage_collector_may_return_a_block_inside_the_pool():
    pool = BufferPool(8 * BIG)
    cycle = {"lease": pool.lease(BIG)}
    cycle["self"] = cycle
    del cycle
    with pool._lock:
        gc.collect()
        assert pool.idle_bytes == 0  # It could not be sorted in, and did not wait either.
    lease = pool.lease(BIG)
    assert pool.idle_bytes == 0
    del lease
    assert pool.idle_bytes == BIG


def test_threads_never_share_a_block_and_all_blocks_come_back():
    pool = BufferPool(64 * BIG)
    shared = []
    overlaps = []

    def use(mark):
        rng = np.random.default_rng(mark)
        for _ in range(300):
            tensor = pool.tensor((int(rng.integers(1, 4)), 20_000), np.uint8)
            tensor.fill(mark)
            shared.append(tensor[0])  # let go of by whichever thread pops it
            if not (tensor == mark).all():
                overlaps.append(mark)
            if len(shared) > 8:
                shared.pop(0)

    threads = [threading.Thread(target=use, args=(mark,)) for mark in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared.clear()
    assert not overlaps
    blocks = [id(block) for blocks in pool._idle.values() for block in blocks]
    assert len(blocks) == len(set(blocks))
    assert pool.idle_bytes == sum(block.nbytes for blocks in pool._idle.values() for block in blocks)
    assert not pool._returned
