"""Words that look like the URL of a store are one, or are refused: never a prefix of keys, with nothing to be said."""

from __future__ import annotations

import pytest

COMMANDS = (["ls"], ["export"], ["log"], ["watch"], ["stat"], ["gc"], ["doctor"], ["import"])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "url",
    ["foo://x", "http://bucket", "ftp://u@h/x", "S4://demo", "s3:/demo", "s3:demo", "file:x", "FILE:x", "git+ssh://x"],
)
def test_a_url_of_something_else_is_refused(mps3, url, tmp_path, monkeypatch, command, request):
    monkeypatch.setenv("MPS3_URL", f"file://{tmp_path}/store")
    mps3("put", "k", "1")
    found = mps3(*command, url)
    assert found.code in (2, 3) and not found.out and found.err.count("\n") == 1, found


@pytest.mark.parametrize("arguments", [["put", "foo://x", "7"], ["delete", "foo://x", "k"], ["get", "foo://x", "k"], ["history", "foo://x", "k"], ["restore", "foo://x", "--to", "0s", "--yes"], ["put", "s3://demo"], ["put", "foo://x"], ["increment", "s3://demo"], ["increment", "foo://x"], ["patch", "s3://demo"]])  # fmt: skip
def test_nothing_is_written_to_a_store_that_was_not_meant(mps3, url, arguments):
    mps3("put", "k", "1")
    found = mps3(*arguments)
    assert found.code == 2 and not found.out and found.err.count("\n") == 1, found
    assert mps3("export").lines == [{"key": "k", "value": 1}]


def test_a_scheme_is_one_in_capitals_too(mps3, url, tmp_path):
    mps3("put", "k", "1")
    (tmp_path / "other").mkdir()
    assert mps3("ls", f"FILE://{tmp_path}/other").out == ""
    assert mps3("put", f"File://{tmp_path}/other", "k", "2").code == 0
    assert mps3("get", f"file://{tmp_path}/other", "k").lines == [2] and mps3("get", "k").lines == [1]


def test_keys_that_look_like_a_url(mps3, url):
    assert mps3("put", "--url", url, "http://example.org/a", "1").code == 0
    assert mps3("ls", "--url", url, "http://").lines[0]["key"] == "http://example.org/a"
    assert mps3("get", "http://example.org/a").lines == [1]
    assert mps3("delete", "http://example.org/a").code == 0


def test_an_endpoint_with_credentials_is_refused(mps3, monkeypatch):
    for endpoint in ("http://u:a/PASSWORD@host", "http://u:PASSWORD@host", "nonsense", "http://", "ftp://host"):
        for arguments in (["ls", f"s3://b?endpoint_url={endpoint}"], ["ls", "s3://b", "--endpoint-url", endpoint]):
            found = mps3(*arguments)
            assert found.code == 3 and "endpoint" in found.err and "PASSWORD" not in found.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ls", "az://container"], 3, "which account?"),
        (["ls", "az://container?account_key=c2VjcmV0"], 3, "unknown in a store's URL: account_key"),
        (["ls", "gs://bucket", "--region", "x"], 2, "are for stores on S3"),
        (
            ["ls", "gs://bucket", "--endpoint-url", "http://127.0.0.1:1"],
            5,
            "GetObject of gs://bucket/manifest.json failed",
        ),
        (["ls", "gs://"], 3, "the URL names no bucket"),
        (["ls", "gs:/bucket"], 3, "the URL names no bucket"),
    ],
)
def test_stores_of_google_and_azure(mps3, monkeypatch, arguments, code, message):
    pytest.importorskip("obstore", reason="the package obstore is not installed")
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "token-of-the-test")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    found = mps3(*arguments)
    assert (found.code, found.out) == (code, "") and message in found.err, found
    assert "c2VjcmV0" not in found.err
