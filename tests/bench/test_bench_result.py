import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.bench_samples import make_result
from mms_bench.errors import BenchError
from mms_bench.run.result import load, save, summarise


def test_saved_result_is_loaded_again(tmp_path):
    result = make_result()
    save(result, tmp_path / "deep" / "result.json")
    assert load(tmp_path / "deep" / "result.json") == result


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "is not a result of this release of mms-bench"),
        ("{}", "is not a result of this release of mms-bench"),
        ('{"schema": 99}', r"Invalid enum value 99 - at `\$.schema`"),
        ('{"schema": 2, "suite": 3}', r"Expected `str`, got `int` - at `\$.suite`"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(BenchError, match=message):
        load(path)
    with pytest.raises(BenchError, match=r"cannot read .*none.json: No such file"):
        load(tmp_path / "none.json")


def test_rows_are_found_by_case_and_implementation():
    result = make_result()
    assert result.find("clip/ours-fp32").summary.median == 8.1
    assert result.find("batch/ours-fp32") is None
    assert result.ratio(result.rows[1], "clip/transformers") == pytest.approx(10.2 / 8.1)
    assert result.ratio(result.rows[1], "clip/openvino") is None


def test_known_order_statistics():
    summary = summarise([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (summary.count, summary.median) == (5, 3.0)
    assert summary.p10 == pytest.approx(1.4)
    assert summary.p90 == pytest.approx(4.6)
    assert summary.iqr == pytest.approx(2.0)
    with pytest.raises(ValueError, match="no samples"):
        summarise([])


@given(st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=50), st.randoms())
def test_order_of_the_samples_does_not_matter(samples, random):
    summary = summarise(samples)
    assert min(samples) <= summary.p10 <= summary.median <= summary.p90 <= max(samples)
    assert summary.median == pytest.approx(float(np.median(samples)))
    random.shuffle(samples)
    assert summarise(samples) == summary
