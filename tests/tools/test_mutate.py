"""Mutation audit, on a toy module and on the list itself."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("mutate", ROOT / "tools" / "mutate.py")
mutate = importlib.util.module_from_spec(spec)
sys.modules["mutate"] = mutate
spec.loader.exec_module(mutate)

TOY = "def double(x):\n    return 2 * x\n\n\ndef half(x):\n    return x / 2\n"


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    return tmp_path


def bug(name="wrong factor", file="toy.py", old="2 * x", new="3 * x", tests=("double",)):
    return mutate.Mutation(name, file, old, new, tests)


def checks(tree):
    """Return a runner of the named checks of the toy in a fresh interpreter."""

    def run(tests):
        code = "import toy\n" + "".join(f"assert toy.{test}(4) == {test}\n" for test in tests)
        code = code.replace("== double", "== 8").replace("== half", "== 2")
        command = [sys.executable, "-B", "-c", code]
        done = subprocess.run(command, cwd=tree, capture_output=True, check=False)
        return "failed" if done.returncode else "passed"

    return run


@pytest.mark.parametrize(
    ("changes", "ran", "verdict", "detail"),
    [
        ({}, None, "killed", ""),
        ({"tests": ("half",)}, None, "survived", ""),
        ({"old": "4 * x"}, None, "broken", "toy.py has the old text 0 times, not once"),
        ({"old": "return "}, None, "broken", "toy.py has the old text 2 times, not once"),
        ({"file": "gone.py"}, None, "broken", "gone.py"),
        ({}, "does not compile", "broken", "does not compile"),
        ({}, "took too long", "killed", "took too long"),
    ],
)
def test_verdict_on_a_planted_bug(tree, changes, ran, verdict, detail):
    lines = []
    run = (lambda _: ran) if ran else checks(tree)
    (found,) = mutate.try_all(tree, [bug(**changes)], run, lines.append)
    assert found.verdict == verdict
    assert detail in found.detail
    assert len(lines) == 1
    assert (tree / "toy.py").read_text() == TOY


def test_interrupted_audit_restores_the_tree(tree):
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mutate.try_all(tree, [bug()], interrupted, print)
    assert (tree / "toy.py").read_text() == TOY


def test_exit_status_is_0_only_if_all_are_killed(capsys):
    killed = mutate.Outcome(bug(), "killed")
    survived = mutate.Outcome(bug("survivor"), "survived")
    broken = mutate.Outcome(bug("lost"), "broken", "the old text is gone")
    assert mutate.report([killed]) == 0
    assert mutate.report([killed, survived]) == 1
    assert mutate.report([broken]) == 1
    assert mutate.report([]) == 1
    out = capsys.readouterr().out
    assert "1 of 2 bugs are caught\n  survived: survivor\n" in out
    assert "  broken: lost the old text is gone\n" in out


def test_names_must_be_unique(tmp_path):
    entry = '[[mutation]]\nname = "a"\nfile = "f"\nold = "x"\nnew = "y"\ntests = ["t"]\n'
    path = tmp_path / "list.toml"
    path.write_text(entry)
    assert mutate.read_list(path) == [mutate.Mutation("a", "f", "x", "y", ("t",))]
    path.write_text(entry * 2)
    with pytest.raises(ValueError, match="two mutations are called 'a'"):
        mutate.read_list(path)


@pytest.mark.parametrize("mutation", mutate.read_list(mutate.LIST), ids=lambda found: found.name)
def test_listed_bug_fits_the_code(mutation):
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    assert mutation.new != mutation.old
    for test in mutation.tests:
        assert list(ROOT.glob(test)), test
