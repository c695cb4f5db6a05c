"""Compiling the kernels, and what happens where that or loading them fails."""

import os
import shutil
import tempfile

import pytest

from rlnas_core.kernels import build

needs_compiler = pytest.mark.skipif(build.library() is None, reason="there is no C++ compiler")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache for builds of a single short function."""
    code = tmp_path / "kernels.cpp"
    code.write_text('extern "C" int answer() { return 42; }')
    monkeypatch.setattr(build, "_CODE", code)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "cache/rlnas_core"


def library():
    """The kernels as a new process finds them."""
    return build.library.__wrapped__()


@pytest.mark.parametrize("compiler", ["no-such-compiler -O3", '"g++', " "])
def test_a_compiler_that_does_not_exist_leaves_the_work_to_torch(cache, monkeypatch, compiler):
    monkeypatch.setenv("CXX", compiler)
    assert library() is None


@needs_compiler
def test_a_compiler_can_have_words_before_it(cache, tmp_path, monkeypatch):
    before = tmp_path / "ccache"
    before.write_text('#!/bin/sh\nexec "$@"\n')
    before.chmod(0o755)
    monkeypatch.setenv("CXX", f"{before} {shutil.which('c++') or shutil.which('g++')}")
    assert library().answer() == 42


@needs_compiler
@pytest.mark.parametrize("content", [b"", b"no library", "half"])
def test_a_damaged_build_is_compiled_again(cache, content):
    assert library().answer() == 42
    [built] = cache.iterdir()
    sound = built.read_bytes()
    built.unlink()  # this process has it loaded
    built.write_bytes(sound[: len(sound) // 2] if content == "half" else content)
    assert library().answer() == 42
    assert built.read_bytes() == sound


@needs_compiler
def test_a_build_that_can_not_be_loaded_is_compiled_again_once(cache, monkeypatch):
    assert library().answer() == 42
    loads = []

    def refuse(path):
        loads.append(path)
        raise OSError("cannot map")

    monkeypatch.setattr(build.ctypes, "CDLL", refuse)
    assert library() is None
    own = cache.parents[1] / f"rlnas_core-{os.getuid()}"
    assert [os.path.dirname(path) for path in loads] == [str(cache), str(cache), str(own)]


@needs_compiler
def test_a_compilation_that_failed_once_is_not_kept_as_one_for_a_single_thread(cache, tmp_path, monkeypatch):
    if not build._openmp(build._compiler()):
        pytest.skip("the C++ compiler has no OpenMP")
    once = tmp_path / "c++"
    once.write_text(
        f'#!/bin/sh\ncase "$*" in *fopenmp*) mkdir {tmp_path}/ran && exit 1;; esac\n'
        f'exec {shutil.which("c++") or shutil.which("g++")} "$@"\n'
    )
    once.chmod(0o755)
    monkeypatch.setenv("CXX", str(once))
    assert library().answer() == 42
    alone = set(cache.iterdir())
    assert library().answer() == 42
    assert len(alone) == 1
    assert len(set(cache.iterdir()) - alone) == 1


@needs_compiler
def test_without_a_cache_a_temporary_directory_of_the_user_is_used(cache, monkeypatch):
    cache.parent.write_text("no directory")
    own = cache.parents[1] / f"rlnas_core-{os.getuid()}"
    assert library().answer() == 42
    assert own.stat().st_mode & 0o777 == 0o700
    assert len(list(own.iterdir())) == 1


@needs_compiler
@pytest.mark.parametrize("harm", ["writable by others", "a link", "of another user"])
def test_a_temporary_directory_that_others_could_write_to_is_not_used(cache, tmp_path, harm):
    cache.parent.write_text("no directory")
    own = tmp_path / f"rlnas_core-{os.getuid()}"
    if harm == "a link":
        (tmp_path / "other").mkdir()
        own.symlink_to(tmp_path / "other")
    else:
        own.mkdir(mode=0o700)
    if harm == "writable by others":
        own.chmod(0o777)
    if harm == "of another user":
        if os.geteuid() != 0:
            pytest.skip("only root can give a directory to another user")
        os.chown(own, 12345, 12345)
    assert library() is None
    assert list(own.iterdir()) == []
