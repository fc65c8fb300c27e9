"""Threads and processes that share a language model decode what one alone decodes."""

import multiprocessing
import threading

import pytest

import shared_decoders

SEEDS = range(0, 12, 2)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return shared_decoders.write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def expected(path):
    models = shared_decoders.load(path)
    found = {seed: shared_decoders.results(models, seed) for seed in SEEDS}
    assert len({str(found[seed]) for seed in SEEDS}) == len(SEEDS)
    return found


def test_threads_share_decoders_that_nobody_has_used(path, expected):
    models = shared_decoders.load(path)
    found = {}
    start = threading.Barrier(len(SEEDS))

    def work(seed):
        start.wait()
        found[seed] = shared_decoders.results(models, seed, threads=2)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in SEEDS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_with_models_of_their_own(method, path, expected):
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap(shared_decoders.in_child, [(seed, path) for seed in SEEDS])
    assert dict(zip(SEEDS, found, strict=True)) == expected


def test_forked_processes_go_on_with_the_models_of_their_parent(path, expected, monkeypatch):
    """No thread, lock or memory is left behind in the parent, also when it has used several."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    models = shared_decoders.load(path)
    assert shared_decoders.results(models, 0, threads=4) == expected[0]
    monkeypatch.setattr(shared_decoders, "inherited", models)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(shared_decoders.in_child, SEEDS)
    assert dict(zip(SEEDS, found, strict=True)) == expected
    assert shared_decoders.results(models, 2, threads=4) == expected[2]
