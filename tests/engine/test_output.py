"""Files the user names: replaced whole or not at all, never an input, devices written through."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mms_engine.errors import OutputError
from mms_engine.formats.output import PARTIAL_SUFFIX, check_output, open_output

OLD, NEW = "an old transcript\n", "a new transcript\n"


def write(path: Path, text: str = NEW, **options: object) -> None:
    with open_output(path, **options) as stream:  # type: ignore[call-overload]
        stream.write(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "out.txt"
    path.write_text(OLD)
    return path


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_new_file_appears_whole_with_the_umask(tmp_path: Path, umask: None) -> None:
    target = tmp_path / "new" / "folder" / "out.txt"
    with open_output(target) as stream:
        stream.write(NEW)
        stream.flush()
        assert not target.exists()
    assert target.read_text() == NEW
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert names(target.parent) == ["out.txt"]


def test_old_file_stays_until_the_new_one_is_whole(old: Path, umask: None) -> None:
    old.chmod(0o604)
    os.utime(old, (0, 0))
    with open_output(old) as stream:
        stream.write(NEW)
        stream.flush()
        assert old.read_text() == OLD
    assert old.read_text() == NEW
    assert stat.S_IMODE(old.stat().st_mode) == 0o604
    assert old.stat().st_mtime > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_owner_is_kept(old: Path) -> None:
    os.chown(old, 1234, 1235)
    write(old)
    assert (old.stat().st_uid, old.stat().st_gid) == (1234, 1235)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_error_keeps_the_old_file_and_removes_the_new(old: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), open_output(old) as stream:
        stream.write(NEW)
        raise error
    assert old.read_text() == OLD
    assert names(old.parent) == ["out.txt"]


def test_kept_partial_file_has_what_was_written(old: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_output(old, keep=True) as stream:
        partial = Path(stream.name)
        stream.write(NEW)
        raise KeyboardInterrupt
    assert old.read_text() == OLD
    assert partial.read_text() == NEW
    assert names(old.parent) == sorted(["out.txt", partial.name])
    assert partial.name.startswith("out.txt.")


def test_kept_partial_file_without_content_is_removed(old: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_output(old, keep=True):
        raise KeyboardInterrupt
    assert names(old.parent) == ["out.txt"]


def test_two_writers_do_not_disturb_each_other(old: Path) -> None:
    with open_output(old) as first, open_output(old) as second:
        first.write("first")
        second.write("second")
    assert old.read_text() == "first"
    assert names(old.parent) == ["out.txt"]


def test_foreign_partial_files_stay(old: Path) -> None:
    foreign = old.with_name(f"out.txt{PARTIAL_SUFFIX}")
    foreign.write_text("foreign")
    write(old)
    assert foreign.read_text() == "foreign"


def test_symlink_is_followed_and_stays(old: Path) -> None:
    folder = old.parent / "links"
    folder.mkdir()
    chain, link = folder / "chain", folder / "link"
    link.symlink_to("../out.txt")
    chain.symlink_to(link)
    write(chain)
    assert chain.is_symlink()
    assert link.is_symlink()
    assert old.read_text() == NEW
    assert names(folder) == ["chain", "link"]


def test_dangling_symlink_makes_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "missing" / "out.txt")
    write(link)
    assert link.is_symlink()
    assert (tmp_path / "missing" / "out.txt").read_text() == NEW


def test_fifo_is_written_through(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()), daemon=True)
    reader.start()
    check_output(fifo)
    write(fifo)
    reader.join(10)
    assert read == [NEW]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert names(tmp_path) == ["fifo"]


def test_device_is_written_through(tmp_path: Path) -> None:
    null, full = tmp_path / "null", tmp_path / "full"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(full, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
        write(null, "")
    except OSError as error:
        pytest.skip(f"device nodes cannot be made or used here: {error.strerror}")
    write(null)
    with pytest.raises(OutputError, match=r"cannot write .*full: No space left on device; free"):
        write(full)
    assert stat.S_ISCHR(null.stat().st_mode)
    assert names(tmp_path) == ["full", "null"]


def test_socket_is_written_through(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        server.settimeout(10)
        write(tmp_path / "socket")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1 << 16).decode() == NEW
    assert names(tmp_path) == ["socket"]


@pytest.mark.parametrize("name", ["/dev/fd/1", "/proc/self/fd/1", "stdout", "link"])
def test_descriptor_is_written_at_its_place(tmp_path: Path, name: str) -> None:
    """The file behind a redirected stdout is neither replaced nor begun anew."""
    # Not /dev/stdout, which a fault would replace; it is a link like this one.
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    (tmp_path / "link").symlink_to("stdout")
    code = (
        "from mms_engine.formats.output import check_output, open_output\n"
        f"print('before', flush=True)\ncheck_output({name!r})\n"
        f"with open_output({name!r}) as stream:\n    stream.write('written\\n')\n"
        "print('after')"
    )
    target = tmp_path / "out.txt"
    with target.open("w") as out:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=out, check=True)
    assert target.read_text() == "before\nwritten\nafter\n"


def hard_link(source: Path) -> Path:
    link = source.with_name("hard link")
    link.hardlink_to(source)
    return link


def symbolic_link(source: Path) -> Path:
    link = source.with_name("symbolic link")
    link.symlink_to(source.name)
    return link


def other_spelling(source: Path) -> Path:
    return source.parent / ".." / source.parent.name / source.name


@pytest.mark.parametrize("alias", [lambda source: source, hard_link, symbolic_link, other_spelling])
@pytest.mark.parametrize("function", [check_output, write])
def test_input_is_refused_as_output(
    old: Path, alias: Callable[[Path], Path], function: Callable[..., None]
) -> None:
    path = alias(old)
    with pytest.raises(OutputError, match=r"it is the input .*; choose another output"):
        function(path, inputs=[old.parent / "missing.wav", old])
    with old.open() as opened, pytest.raises(OutputError, match="it is the input"):
        function(path, inputs=[opened.fileno()])
    assert old.read_text() == OLD


def loop(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a folder": (lambda folder: folder, "Is a directory; name a file in it"),
    "below a file": (lambda folder: folder / "out.txt" / "x", "Not a directory; one of its"),
    "deep below a file": (lambda folder: folder / "out.txt/x/y", "Not a directory; one of its"),
    "too long a name": (lambda folder: folder / ("x" * 256), "File name too long; choose a short"),
    "too long a name, new folder": (lambda folder: folder / "new" / ("ä" * 128), "name too long"),
    "too long a folder": (lambda folder: folder / ("x" * 256) / "y", "File name too long"),
    "a loop": (loop, "loop, choose another name"),
    "a folder that is not there": (lambda folder: folder / "new" / "..", "Is a directory"),
    "a closed descriptor": (lambda _: Path("/dev/fd/987"), "Bad file descriptor; choose another"),
}


@pytest.mark.parametrize(("path", "reason"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("function", [check_output, write])
def test_refused_before_anything_is_computed(
    old: Path,
    path: Callable[[Path], Path],
    reason: str,
    function: Callable[[Path], None],
) -> None:
    with pytest.raises(OutputError, match=r"^cannot write ") as caught:
        function(path(old.parent))
    assert reason in str(caught.value)
    assert old.read_text() == OLD
    assert set(names(old.parent)) <= {"out.txt", "loop"}


def test_read_descriptor_is_refused(old: Path) -> None:
    with old.open() as opened, pytest.raises(OutputError, match="not open for writing"):
        check_output(f"/dev/fd/{opened.fileno()}")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize("protected", ["file", "folder"])
def test_write_protection_is_respected(open_folder: Path, protected: str) -> None:
    folder, path = open_folder, open_folder / "out.txt"
    path.write_text(OLD)
    path.chmod(0o444 if protected == "file" else 0o666)
    code = (
        "import os; from mms_engine.formats.output import check_output\n"
        f"os.setgid(99); os.setuid(99); check_output({str(path)!r})"
    )
    folder.chmod(0o555 if protected == "folder" else 0o777)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = "Permission denied; choose" if protected == "file" else "no new files in"
    assert expected in result.stderr.splitlines()[-1]


def test_longest_name_is_written(tmp_path: Path) -> None:
    name = "ä" * 127  # 254 of 255 bytes
    write(tmp_path / name)
    assert names(tmp_path) == [name]


def test_name_that_is_not_utf_8_is_written(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    write(path, f"{path.name}\n")
    assert path.read_bytes() == b"caf\xe9.txt\n"


def test_full_disk_keeps_the_old_file(old: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from mms_engine.formats.output import open_output\n"
        f"with open_output({str(old)!r}) as stream:\n    stream.write('x' * 200_000)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = f"mms_engine.errors.OutputError: cannot write {old}: File too large; choose a file"
    assert expected in result.stderr.splitlines()[-1]
    assert "Exception ignored" not in result.stderr
    assert old.read_text() == OLD
    assert names(old.parent) == ["out.txt"]


def test_killed_writer_leaves_the_old_file_and_a_hidden_one(old: Path) -> None:
    code = (
        "import os, signal\nfrom mms_engine.formats.output import open_output\n"
        f"with open_output({str(old)!r}) as stream:\n"
        "    stream.write('x'); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False)
    assert result.returncode == -signal.SIGKILL
    hidden, target = names(old.parent)
    assert target == "out.txt"
    assert hidden.startswith(".out.txt.")
    assert hidden.endswith(PARTIAL_SUFFIX)
    assert old.read_text() == OLD


def test_abandoned_outputs_are_removed_unless_kept(old: Path) -> None:
    code = (
        "import os\nfrom mms_engine.formats.output import abandon_outputs, open_output\n"
        f"with open_output({str(old)!r}) as a, open_output({str(old)!r}, keep=True) as b:\n"
        "    a.write('a'); a.flush(); b.write('b'); b.flush(); abandon_outputs(); os._exit(3)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 3
    target, kept = names(old.parent)
    assert target == "out.txt"
    assert (old.parent / kept).read_text() == "b"
