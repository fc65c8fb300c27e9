import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from click.testing import CliRunner

from bench.bench_samples import make_result
from mms_bench.cli import main
from mms_bench.run.result import save
from mms_engine.cuda.driver import cuda_driver
from tiny_models import make_tiny

COMMAND = (sys.executable, "-m", "mms_bench.cli")


@pytest.fixture
def invoke():
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("checkpoints") / "tiny")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from mms_bench.cli import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'transformers', 'onnxruntime', 'matplotlib', 'psutil'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--min-time" in done.stdout


def test_machine_is_described(invoke):
    assert re.match(r"Machine: .+, [1-9]\d* cores ", invoke("machine").stdout)


def test_report_prints_markdown_and_writes_page_chart_and_document(invoke, tmp_path):
    save(make_result(), tmp_path / "asr.json")
    (tmp_path / "doc.md").write_text("<!-- mms-bench: asr.json -->\n<!-- mms-bench: end -->\n")
    page, document = tmp_path / "page.html", tmp_path / "doc.md"
    words = ("--html", page, "--update", document, "--chart", tmp_path / "chart.svg")
    done = invoke("report", tmp_path / "asr.json", *words)
    assert done.exit_code == 0, done.output
    assert "| MMS Engine (fp32) | 8.1 s |" in done.stdout
    assert "<svg" not in done.stdout
    assert page.read_text().startswith("<!doctype html>")
    assert b"<svg" in (tmp_path / "chart.svg").read_bytes()
    assert "| MMS Engine (fp32) | 8.1 s |" in document.read_text()


def test_other_file_is_one_line_without_debug(invoke, tmp_path):
    path = tmp_path / "other.json"
    path.write_text("{}")
    done = invoke("report", path)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {path} is not a result of this release of mms-bench")
    assert done.stderr.count("\n") == 1
    assert type(invoke("--debug", "report", path).exception).__name__ == "BenchError"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("asr", "--peers", "whisper"), "asr has no peer 'whisper' on cpu; choose from transf"),
        (("asr", "--cases", "clip,tts"), "asr has no case 'tts'; choose from clip, batch, "),
        (("asr", "--languages", "eng,xyz"), "has no 'xyz': it has eng, "),
        (("asr", "--peers", "openvino", "--device", "cuda"), "has no peer 'openvino' on cuda"),
        (("ctc", "--device", "cuda"), "the suite ctc runs on CPUs only: leave out --device"),
    ],
)
def test_unknown_names_are_refused(invoke, tiny, words, message):
    done = invoke("run", *words, "--checkpoint", tiny)
    assert done.exit_code == 1
    assert message in done.stderr.splitlines()[-1]
    assert done.stdout == ""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_the_workers_too(tiny, tmp_path, number, status):
    command = (*COMMAND, "run", "asr", "--checkpoint", tiny, "--peers", "onnx", "--cases", "clip")
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        for line in process.stderr:
            if b"onnx: building" in line:
                break
        workers = wait_for_children(process.pid)
        process.send_signal(number)
        rest = process.stderr.read().decode()
        assert process.wait(30) == status
    assert "Traceback" not in rest
    assert workers, "there was a worker to end"
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == []


def wait_for_children(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        children = psutil.Process(pid).children(recursive=True)
        if children:
            return children
        time.sleep(0.02)
    return []


def test_cuda_without_a_gpu_is_one_line(invoke, tiny):
    if cuda_driver().devices:
        pytest.skip("there is a GPU")
    done = invoke("run", "asr", "--checkpoint", tiny, "--device", "cuda")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: nothing here can run on 'cuda': not ")
