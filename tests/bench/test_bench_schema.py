import json

import pytest

from bench.bench_samples import make_result
from mms_bench.errors import BenchError
from mms_bench.schema import load, save


def test_what_is_saved_is_loaded(tmp_path):
    result = make_result()
    save(result, tmp_path / "deep" / "result.json")
    assert load(tmp_path / "deep" / "result.json") == result


def test_the_file_has_the_fields_of_the_plan(tmp_path):
    save(make_result(), tmp_path / "result.json")
    document = json.loads((tmp_path / "result.json").read_text())
    assert {"schema", "suite", "created", "git", "command", "machine", "versions", "cases"} <= set(
        document
    )
    assert {"cpu", "cores", "memory", "gpu", "driver", "cuda", "load_before"} <= set(
        document["machine"]
    )
    assert document["rows"][0]["samples"] == [10.0, 10.4, 10.2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "is not a result of mms-bench"),
        ("{}", "is not a result of mms-bench"),
        ('{"schema": 99}', "has schema 99, this release reads 1: measure again"),
        ('{"schema": 1, "suite": 3}', r"Expected `str`, got `int` - at `\$.suite`"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(BenchError, match=message):
        load(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(BenchError, match=r"cannot read .*none.json: No such file"):
        load(tmp_path / "none.json")


def test_rows_are_found_by_heat():
    result = make_result()
    assert result.find("clip", "ours-fp32").summary.median == 8.1
    assert result.find("clip", "ours-fp32", heat=2) is None
    assert result.find("batch", "ours-fp32") is None
