"""The hook in tests/conftest.py that makes skips fail in CI."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = """
    import pytest

    @pytest.mark.skip(reason="the file is not here")
    def test_marked(): ...

    def test_called():
        pytest.skip("the tool is not here")

    @pytest.fixture
    def absent():
        pytest.skip("no fixture")

    def test_fixture(absent): ...

    @pytest.mark.skipif(True, reason="needs a GPU")
    def test_gpu(): ...

    @pytest.mark.xfail(reason="known", strict=True)
    def test_known():
        raise ValueError

    def test_good(): ...
"""


@pytest.mark.parametrize(
    ("ci", "expected"),
    [
        ("true", {"passed": 1, "failed": 1, "errors": 2, "skipped": 1, "xfailed": 1}),
        ("", {"passed": 1, "skipped": 4, "xfailed": 1}),
    ],
)
def test_a_skip_fails_in_ci_only(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, expected: dict[str, int]
) -> None:
    monkeypatch.setenv("CI", ci)
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(TESTS)
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(**expected)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if ci else pytest.ExitCode.OK)


@pytest.mark.parametrize(("reason", "ok"), [("no server here", False), ("no GPU here", True)])
def test_a_file_that_skips_itself_fails_in_ci(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, reason: str, ok: bool
) -> None:
    monkeypatch.setenv("CI", "true")
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(f"import pytest\n\npytest.skip({reason!r}, allow_module_level=True)\n")
    result = pytester.runpytest("-p", "no:cacheprovider", "-rs")
    result.assert_outcomes(**({"skipped": 1} if ok else {"errors": 1}))
    result.stdout.fnmatch_lines([f"*{reason}*"])
