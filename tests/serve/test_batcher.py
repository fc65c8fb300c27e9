"""Queue and batcher: order, shares, deadlines, cancellation, and the results of the library."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from engine_demo import Clip
from engine_sounds import RATE, sound
from mms_engine import Audio, Job, Recognizer, RecognizerOptions, WindowOptions, read_audio
from mms_engine.serve.batcher import Batcher
from mms_engine.serve.errors import ApiError
from mms_engine.serve.queue import Clock, FairQueue, QueuedJob

FAR = 1e9


def queued(
    recognizer: Recognizer,
    seconds: float,
    client: str = "one",
    due: float = 0.0,
    deadline: float = FAR,
    language: str = "eng",
) -> QueuedJob:
    audio = Audio(sound(seconds), RATE)
    return QueuedJob(recognizer.continuous().prepare(Job(audio, language)), client, due, deadline)


def filled(*jobs: QueuedJob) -> FairQueue:
    queue = FairQueue()
    for job in jobs:
        queue.add(job)
    return queue


def test_a_clients_jobs_go_in_the_order_in_which_they_are_due(recognizer) -> None:
    late, soon, middle = (queued(recognizer, 1, due=due) for due in (9.0, 1.0, 5.0))
    assert list(filled(late, soon, middle)) == [soon, middle, late]


def test_equal_deadlines_keep_the_order_of_arrival(recognizer) -> None:
    jobs = [queued(recognizer, 1) for _ in range(5)]
    assert list(filled(*jobs)) == jobs


def test_clients_take_turns_however_many_jobs_one_has(recognizer) -> None:
    many = [queued(recognizer, 2, "many", due=1.0) for _ in range(10)]
    few = [queued(recognizer, 2, "few", due=5.0) for _ in range(2)]
    order = [job.client for job in filled(*many, *few)]
    assert order[:4] == ["many", "few", "many", "few"]


def test_turns_are_by_audio_and_not_by_jobs(recognizer) -> None:
    long = [queued(recognizer, 8, "long") for _ in range(3)]
    short = [queued(recognizer, 2, "short", due=1.0) for _ in range(8)]
    order = [job.client for job in filled(*long, *short)]
    assert order[:6] == ["long", "short", "short", "short", "short", "long"]


def test_client_that_was_served_waits_for_others(recognizer) -> None:
    first, other = queued(recognizer, 4, "first"), queued(recognizer, 4, "other", due=9.0)
    queue = filled(first, other)
    queue.charge(first, 2.0)
    assert list(queue) == [other, first]
    assert queue.seconds == pytest.approx(6.0)


def test_client_that_returns_has_no_credit_for_its_pause(recognizer) -> None:
    steady = queued(recognizer, 30, "steady")
    queue = filled(steady)
    queue.charge(steady, 20.0)
    back = [queued(recognizer, 4, "back", due=1.0) for _ in range(3)]
    for job in back:
        queue.add(job)
    assert [job.client for job in queue] == ["steady", "back", "back", "back"]


def test_speed_is_measured_by_time() -> None:
    clock = Clock()
    clock.count(10.0, 1.0)
    assert clock.speed == 10.0
    for _ in range(200):
        clock.count(20.0, 1.0)
        clock.count(5.0, 1.0)
    assert clock.speed == pytest.approx(8.0, rel=0.1)  # 25 s of audio cost as 1/20 + 1/5 a second
    clock.count(0.0, 1.0)
    assert clock.speed == pytest.approx(8.0, rel=0.1)


@pytest.fixture
def batcher(recognizer: Recognizer) -> Iterator[Batcher]:
    started = Batcher(recognizer.continuous())
    started.start("eng", RATE)
    yield started
    started.close()


def submit(batcher: Batcher, recognizer: Recognizer, clip: Clip, **options: object) -> QueuedJob:
    settings = {"client": "one", "due": 0.0, "deadline": FAR, **options}
    job = QueuedJob(batcher.prepare(Job(clip.path, clip.language)), **settings)
    batcher.submit(job)
    return job


def test_results_are_those_of_the_library(batcher, recognizer, clips) -> None:
    jobs = [
        submit(batcher, recognizer, clip, client=str(number % 3))
        for number, clip in enumerate(clips * 2)
    ]
    found = [job.future.result(60).unwrap() for job in jobs]
    wanted = [recognizer.transcribe(clip.path, clip.language) for clip in clips]
    assert found == wanted * 2
    assert batcher.counts.runs < len(jobs)  # several jobs ran at once
    assert batcher.waiting == 0


def test_hotwords_share_the_queue_and_not_the_results(batcher, recognizer, clip) -> None:
    plain = submit(batcher, recognizer, clip)
    hot = QueuedJob(batcher.prepare(Job(clip.path, "eng", hotwords=["first"])), "one", 0.0, FAR)
    batcher.submit(hot)
    assert plain.future.result(60).unwrap() == recognizer.transcribe(clip.path, "eng")
    assert "first" in hot.future.result(60).unwrap().text.split()


def test_audio_shorter_than_a_frame_has_a_result(batcher, recognizer) -> None:
    job = QueuedJob(
        batcher.prepare(Job(Audio(np.zeros(10, np.float32), RATE), "eng")), "one", 0.0, FAR
    )
    batcher.submit(job)
    assert job.future.result(10).unwrap().text == ""


def test_long_job_does_not_hold_up_a_short_one(demo_bundle, clip) -> None:
    options = RecognizerOptions(
        threads=1, windows=WindowOptions(seconds=4.0, context_seconds=1.0), batch_frames=300
    )
    with Recognizer.open(demo_bundle, options=options) as recognizer:
        long = QueuedJob(
            recognizer.continuous().prepare(Job(Audio(sound(120), RATE), "eng")), "a", 0.0, FAR
        )
        batcher = Batcher(recognizer.continuous())
        batcher.start("eng", RATE)
        ended: list[str] = []
        long.future.add_done_callback(lambda _: ended.append("long"))
        batcher.submit(long)
        while batcher.counts.runs == 0:
            time.sleep(0.001)
        short = submit(batcher, recognizer, clip, client="b", due=FAR)
        short.future.add_done_callback(lambda _: ended.append("short"))
        assert short.future.result(60).unwrap().text
        assert long.future.result(120).unwrap() == recognizer.transcribe(sound(120), "eng")
        batcher.close()
    assert ended == ["short", "long"]


def test_settled_text_grows_and_is_the_start_of_the_whole(demo_bundle, clips) -> None:
    options = RecognizerOptions(threads=1, windows=WindowOptions(seconds=4.0, context_seconds=1.0))
    english = [one for one in clips if one.language == "eng"]
    samples = np.concatenate([read_audio(clip.path).samples for clip in english * 3])
    with Recognizer.open(demo_bundle, options=options) as recognizer:
        batcher = Batcher(recognizer.continuous())
        batcher.start("eng", RATE)
        texts: list[str] = []
        job = QueuedJob(
            batcher.prepare(Job(Audio(samples, RATE), "eng")), "a", 0.0, FAR, texts.append
        )
        batcher.submit(job)
        whole = job.future.result(60).unwrap().text
        batcher.close()
    assert len(texts) > 1
    assert [whole.startswith(text) for text in texts] == [True] * len(texts)
    assert [len(text) for text in texts] == sorted(len(text) for text in texts)


def test_client_that_leaves_frees_its_place(batcher, recognizer, clip) -> None:
    first = queued(recognizer, 60)
    batcher.submit(first)
    left = [submit(batcher, recognizer, clip, due=FAR) for _ in range(5)]
    assert all(job.future.cancel() for job in left)
    last = submit(batcher, recognizer, clip, due=FAR)
    assert last.future.result(60).unwrap().text
    assert batcher.counts.cancelled == 5
    assert batcher.waiting <= 1


def test_job_is_dropped_at_its_deadline(batcher, recognizer, clip) -> None:
    job = submit(batcher, recognizer, clip, deadline=time.monotonic() - 1)
    with pytest.raises(ApiError) as raised:
        job.future.result(10)
    assert (raised.value.status, raised.value.code) == (503, "deadline_exceeded")
    assert batcher.counts.expired == 1


def test_close_ends_what_waits(recognizer, clip) -> None:
    batcher = Batcher(recognizer.continuous())
    batcher.start("eng", RATE)
    jobs = [queued(recognizer, 40) for _ in range(3)]
    for job in jobs:
        batcher.submit(job)
    batcher.close()
    for job in jobs:
        assert job.future.done()
    with pytest.raises(ApiError):
        batcher.submit(queued(recognizer, 1))
    assert "mms-batcher" not in [thread.name for thread in threading.enumerate()]


def test_wait_is_the_audio_that_waits_by_the_speed(recognizer) -> None:
    batcher = Batcher(recognizer.continuous())
    batcher.clock.count(20.0, 1.0)
    for _ in range(3):
        batcher.submit(queued(recognizer, 20))
    assert batcher.wait_seconds == pytest.approx(3.0, rel=0.01)
    batcher.close()


def test_job_that_fails_leaves_the_others_of_its_batch(demo_bundle, clips, tmp_path) -> None:
    import shutil

    broken = shutil.copytree(demo_bundle, tmp_path / "broken")
    adapter = broken / "adapters" / "fra.safetensors"
    content = bytearray(adapter.read_bytes())
    content[-1] ^= 1
    adapter.write_bytes(content)
    with Recognizer.open(broken, threads=1) as recognizer:
        batcher = Batcher(recognizer.continuous())
        batcher.start("eng", RATE)
        french = next(clip for clip in clips if clip.language == "fra")
        with pytest.raises(Exception, match="fra"):
            batcher.prepare(Job(french.path, "fra"))
        other = submit(batcher, recognizer, clips[0])
        assert other.future.result(60).unwrap().text
        batcher.close()
