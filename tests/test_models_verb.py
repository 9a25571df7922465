"""``fastrefocus models``: the list, and downloads from a server on this machine."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fastrefocus import cli
from fastrefocus.depth.networks.card import Published
from fastrefocus.depth.networks.download import download_model
from fastrefocus.depth.networks.model_cards import CARDS
from fastrefocus.errors import ModelError

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = "0" * 64


@pytest.fixture
def server():
    """Serves CONTENT as /model.onnx; /moved leads there, /short breaks off. ``asked`` are the paths asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/model.onnx")
                self.end_headers()
            elif self.path in ("/model.onnx", "/short"):
                self.send_response(200)
                self.send_header("Content-Length", str(len(CONTENT)))
                self.end_headers()
                self.wfile.write(CONTENT if self.path == "/model.onnx" else CONTENT[:100])
            else:
                self.send_error(404)

        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        asked: list

        def handle_error(self, request, address):
            pass

    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def get(url, target, *options):
    return cli.main(["models", "--get", url, str(target), *options])


@pytest.mark.parametrize("page", ["model.onnx", "moved"])
def test_a_file_is_downloaded(server, tmp_path, capfd, page):
    target = tmp_path / "mine.onnx"
    assert get(f"{server.url}/{page}", target, "--sha256", SHA256.upper()) == 0
    assert target.read_bytes() == CONTENT
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_a_download_has_the_permissions_of_any_file(server, tmp_path):
    (tmp_path / "new.onnx").touch()
    (tmp_path / "private.onnx").touch(mode=0o600)
    for name in ("new", "private", "mine"):
        assert get(f"{server.url}/model.onnx", tmp_path / f"{name}.onnx", "--sha256", SHA256, "--force") == 0
    modes = [(tmp_path / f"{name}.onnx").stat().st_mode & 0o777 for name in ("new", "private", "mine")]
    (tmp_path / "any").touch()
    assert modes == [(tmp_path / "any").stat().st_mode & 0o777, 0o600, modes[0]]


def test_a_card_whose_file_is_known(server, tmp_path, monkeypatch):
    known = Published(url=f"{server.url}/model.onnx", sha256=SHA256)
    monkeypatch.setitem(CARDS, "midas-small", replace(CARDS["midas-small"], published=known))
    assert get("MiDaS-small", tmp_path / "mine.onnx") == 0
    assert (tmp_path / "mine.onnx").read_bytes() == CONTENT


def test_a_file_that_is_there_already_is_not_fetched_again(server, tmp_path):
    target = tmp_path / "mine.onnx"
    target.write_bytes(CONTENT)
    assert get(f"{server.url}/model.onnx", target, "--sha256", SHA256) == 0
    assert server.asked == []


def test_another_file_stays_unless_forced(server, tmp_path, capfd):
    target = tmp_path / "mine.onnx"
    target.write_bytes(b"precious")
    assert get(f"{server.url}/model.onnx", target, "--sha256", SHA256) == 1
    assert "exists and is another file; --force" in capfd.readouterr().err
    assert target.read_bytes() == b"precious"
    assert server.asked == []
    assert get(f"{server.url}/model.onnx", target, "--sha256", OTHER, "--force") == 1
    assert target.read_bytes() == b"precious"
    assert get(f"{server.url}/model.onnx", target, "--sha256", SHA256, "--force") == 0
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("page", "sha256", "message"),
    [
        ("model.onnx", OTHER, "is not the file wanted, and was not kept"),
        ("none.onnx", SHA256, "404"),
        ("short", SHA256, ""),
    ],
)
def test_nothing_is_left_of_a_download_that_fails(server, tmp_path, capfd, page, sha256, message):
    assert get(f"{server.url}/{page}", tmp_path / "mine.onnx", "--sha256", sha256) == 1
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_server(tmp_path, capfd):
    assert get("http://127.0.0.1:9/model.onnx", tmp_path / "mine.onnx", "--sha256", SHA256) == 1
    assert "127.0.0.1" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_folder(server, tmp_path):
    with pytest.raises(IsADirectoryError, match="it is a directory"):
        download_model(f"{server.url}/model.onnx", tmp_path, SHA256)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        download_model(f"{server.url}/model.onnx", tmp_path / "none" / "mine.onnx", SHA256)
    (tmp_path / "other.onnx").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"exists and is another file$"):  # of no option, to callers in Python
        download_model(f"{server.url}/model.onnx", tmp_path / "other.onnx", SHA256)
    with pytest.raises(ModelError):
        download_model(f"{server.url}/model.onnx", tmp_path / "mine.onnx", OTHER)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out.onnx"], "are for --get"),
        (["--sha256", SHA256], "are for --get"),
        (["--get", "midas-small"], "--get needs OUT"),
        (["--get", "http://127.0.0.1:9/x", "out.onnx"], "--get URL needs --sha256"),
        (["--get", "fastdepth", "out.onnx"], "no file of fastdepth is known.*dwofk/fast-depth"),
        (["--get", "builtin", "out.onnx"], "nothing to download for builtin: it is in the package"),
        (["--get", "plain", "out.onnx"], "nothing to download for plain: it is any file"),
        (["--get", "midas", "out.onnx"], "takes a card of .*midas-small"),
        (["--get", "midas-small", "out.onnx", "--sha256", SHA256], "without --sha256"),
        (["--get", "ftp://127.0.0.1/x", "out.onnx", "--sha256", SHA256], "or a URL, got 'ftp"),
    ],
)
def test_usage(arguments, message, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["models", *arguments]) == 2
    assert re.search(message, capfd.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_sha256_has_64_digits(capfd):
    with pytest.raises(SystemExit) as stop:
        cli.main(["models", "--get", "http://127.0.0.1:9/x", "out.onnx", "--sha256", "abc"])
    assert stop.value.code == 2
    assert "64 hexadecimal digits" in capfd.readouterr().err


def test_the_list(capfd):
    assert cli.main(["models"]) == 0
    text = capfd.readouterr().out
    head, *lines = text.splitlines()
    assert head.split() == ["CARD", "OUTPUT", "SIZE", "LICENCE", "SOURCE"]
    assert [line.split()[0] for line in lines[: len(CARDS)]] == list(CARDS)
    assert "--get CARD OUT knows files of midas-small, depth-anything-v2, metric3d-v2" in text
    assert cli.main(["models", "--json"]) == 0
    cards = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [card["card"] for card in cards] == list(CARDS)
    assert {card["card"]: card["output"] for card in cards}["depth-pro"] == "metric (m)"


def test_what_is_known_of_the_cards():
    for card in CARDS.values():
        known = card.published
        assert known.licence
        assert known.size
        assert known.source
        assert (known.url is None) == (known.sha256 is None)
        if known.url is not None:
            assert known.url.startswith("https://")
            assert len(bytes.fromhex(known.sha256)) == 32


def test_pooch_is_imported_for_downloads_only():
    code = (
        "import sys; from fastrefocus import cli; cli.main(['models']); import fastrefocus.depth.networks.download\n"
        "print('pooch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_without_pooch(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert get("http://127.0.0.1:9/x", tmp_path / "mine.onnx", "--sha256", SHA256) == 1
    assert "pip install 'fastrefocus[download]'" in capfd.readouterr().err
