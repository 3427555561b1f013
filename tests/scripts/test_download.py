"""The download scripts as a user runs them, against a server on this machine that has good, broken and wrong files."""

import hashlib
import io
import json
import re
import resource
import signal
import socket
import subprocess
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts.downloading.addresses import ADDRESSES, WrongArgument, read_downloads

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
CONTENT = bytes(range(256)) * 2000      # 512,000 bytes: more than one read


def sha256(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
  """Serves `content[path]`, or what `faults[path]` make of it: one fault a request, in order, then the content.

  A fault is a status such as 503, or "cut" (half of what was asked for, then the connection closes), "hang" (half, then
  nothing), "silent" (nothing at all), "page" (a web page with status 200), or "chunked" (no length). `ranges` says
  whether parts can be asked for. `seen` lists (path, asked range) of the requests.
  """

  daemon_threads = True

  def __init__(self):
    super().__init__(("127.0.0.1", 0), Handler)
    self.content, self.faults, self.types, self.seen = {}, {}, {}, []
    self.ranges, self.open = True, threading.Event()

  def address(self, path: str) -> str:
    return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):

  def do_GET(self):
    path, server, asked = self.path[1:], self.server, self.headers.get("Range")
    server.seen.append((path, asked))
    content = server.content.get(path)
    faults = server.faults.get(path, [])
    fault = faults.pop(0) if faults else 404 if content is None else None
    if fault == "silent":
      server.open.wait()
      return
    if isinstance(fault, int):
      self.send_error(fault)
      return
    if fault == "page":
      content = b"<html><title>Sign in to the network</title></html>"
    start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges and fault != "page" else 0
    if start and start >= len(content):
      self.send_error(416)
      return
    self.send_response(206 if start else 200)
    if start:
      self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    if fault != "chunked":
      self.send_header("Content-Length", str(len(content) - start))
    self.send_header("Content-Type", server.types.get(path, "application/octet-stream"))
    self.send_header("ETag", f'"{sha256(content)[:8]}"')
    self.end_headers()
    body = content[start:]
    self.wfile.write(body[:len(body) // 2] if fault in ("cut", "hang") else body)
    if fault == "hang":
      self.wfile.flush()
      server.open.wait()

  def log_message(self, *_):
    pass


@pytest.fixture
def server(monkeypatch):
  monkeypatch.setenv("no_proxy", "*")
  with Server() as server:
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.open.set()
    server.shutdown()


@pytest.fixture
def folder(tmp_path) -> Path:
  return tmp_path / "pretrained"


def command(server: Server, folder: Path, files: dict, *flags: str, kind: str = "pretrained") -> list[str]:
  """The command that downloads `files`, entries of a list by name, with addresses that are paths on the server."""
  addresses = folder.parent / "addresses.json"
  addresses.write_text(json.dumps({kind: {"bases": [server.address("")], "files": files}}))
  return ["bash", str(SCRIPTS / f"download_{kind}.sh"), str(folder), f"--addresses={addresses}", "--timeout=0.5",
          "--retries=2", "--wait=0.01", *flags]


def download(server: Server, folder: Path, files: dict, *flags: str, **options) -> subprocess.CompletedProcess:
  return subprocess.run(command(server, folder, files, *flags, **options), capture_output=True, text=True, timeout=60)


def test_good_files_arrive_and_the_next_command_is_named(server, folder):
  server.content = {"a.bin": CONTENT, "b.txt": b"words\n"}
  done = download(server, folder, {"a.bin": {"addresses": ["a.bin"], "size": len(CONTENT), "sha256": sha256(CONTENT)},
                                   "below/b.txt": {"addresses": ["b.txt"]}})
  assert done.returncode == 0, done.stderr
  assert (folder / "a.bin").read_bytes() == CONTENT
  assert (folder / "below" / "b.txt").read_bytes() == b"words\n"
  assert sorted(path.name for path in folder.rglob("*")) == ["a.bin", "b.txt", "below"]    # no parts are left
  assert "scripts/build_concepts.py" in done.stdout and "input_pipeline.prepare" in done.stdout


def test_what_is_there_and_whole_is_not_asked_for_again(server, folder):
  server.content = {"a.bin": CONTENT}
  files = {"a.bin": {"addresses": ["a.bin"], "sha256": sha256(CONTENT)}}
  download(server, folder, files)
  server.seen.clear()
  done = download(server, folder, files)
  assert done.returncode == 0 and server.seen == []


def test_a_wrong_file_that_is_there_is_replaced_only_by_the_right_one(server, folder):
  folder.mkdir()
  (folder / "a.bin").write_bytes(b"another")
  files = {"a.bin": {"addresses": ["a.bin"], "size": len(CONTENT)}}
  done = download(server, folder, files)
  assert done.returncode == 1 and "it has 7 bytes, not 512,000" in done.stdout
  assert (folder / "a.bin").read_bytes() == b"another"
  server.content = {"a.bin": CONTENT}
  assert download(server, folder, files).returncode == 0
  assert (folder / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("there, what", [
    (b"", "it is empty"), (b"\n<HTML>404", "it is a web page"), (b"version https://git-lfs", "it is a Git LFS pointer")])
def test_a_page_or_nothing_in_place_of_a_file_of_unknown_hash_is_replaced(server, folder, there, what):
  folder.mkdir()
  (folder / "a.bin").write_bytes(there)
  server.content = {"a.bin": CONTENT}
  done = download(server, folder, {"a.bin": {"addresses": ["a.bin"]}})
  assert done.returncode == 0 and f"a.bin is there, but not as published ({what}): getting it again" in done.stdout
  assert (folder / "a.bin").read_bytes() == CONTENT


def test_a_file_of_unknown_hash_that_could_be_it_is_left_alone(server, folder):
  folder.mkdir()
  (folder / "a.bin").write_bytes(b"another")
  done = download(server, folder, {"a.bin": {"addresses": ["a.bin"]}})
  assert done.returncode == 0 and server.seen == [] and (folder / "a.bin").read_bytes() == b"another"


def test_a_dead_link_gives_way_to_the_mirror(server, folder):
  server.content = {"mirror.bin": CONTENT}
  done = download(server, folder, {"a.bin": {"addresses": ["gone.bin", "mirror.bin"]}})
  assert done.returncode == 0 and "404" in done.stdout
  assert [path for path, _ in server.seen] == ["gone.bin", "mirror.bin"]      # a 404 is not tried again


def test_bases_are_tried_in_order(server, folder, tmp_path):
  server.content = {"second/a.bin": CONTENT}
  line = command(server, folder, {"a.bin": {"addresses": ["a.bin"]}})
  kinds = json.loads((tmp_path / "addresses.json").read_text())
  kinds["pretrained"]["bases"] = [server.address("first/"), server.address("second/")]
  (tmp_path / "addresses.json").write_text(json.dumps(kinds))
  assert subprocess.run(line, capture_output=True, timeout=60).returncode == 0
  assert [path for path, _ in server.seen] == ["first/a.bin", "second/a.bin"]


def test_all_files_are_attempted_and_the_failed_ones_are_listed_with_addresses_and_reasons(server, folder):
  server.content = {"b.bin": CONTENT}
  done = download(server, folder, {"a.bin": {"addresses": ["gone.bin", "gone too.bin"], "hint": "Ask its authors."},
                                   "b.bin": {"addresses": ["b.bin"]}})
  assert done.returncode == 1
  assert (folder / "b.bin").exists() and not (folder / "a.bin").exists()
  assert "1 of 2 files" in done.stderr and str(folder / "a.bin") in done.stderr
  assert f"{server.address('gone.bin')}: 404" in done.stderr and server.address("gone too.bin") in done.stderr
  assert "Ask its authors." in done.stderr and "--addresses=" in done.stderr
  assert "Traceback" not in done.stderr


def test_a_server_in_trouble_is_asked_again(server, folder):
  server.content, server.faults = {"a.bin": CONTENT}, {"a.bin": [500, 429]}
  assert download(server, folder, {"a.bin": {"addresses": ["a.bin"]}}).returncode == 0
  assert len(server.seen) == 3


def test_a_broken_connection_is_resumed_where_it_broke(server, folder):
  server.content, server.faults = {"a.bin": CONTENT}, {"a.bin": ["cut", "hang"]}
  done = download(server, folder, {"a.bin": {"addresses": ["a.bin"]}})
  assert done.returncode == 0, done.stderr
  assert (folder / "a.bin").read_bytes() == CONTENT
  assert [asked for _, asked in server.seen] == [None, "bytes=256000-", "bytes=384000-"]


def test_a_connection_that_keeps_breaking_is_given_up_and_its_part_serves_the_next_call(server, folder):
  server.content, server.faults = {"a.bin": CONTENT}, {"a.bin": ["cut", 503, 503, 503]}
  files = {"a.bin": {"addresses": ["a.bin"]}}
  done = download(server, folder, files)
  assert done.returncode == 1 and "503" in done.stderr and not (folder / "a.bin").exists()
  server.seen.clear()
  assert download(server, folder, files).returncode == 0
  assert server.seen == [("a.bin", "bytes=256000-")]
  assert (folder / "a.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_is_read_from_the_beginning(server, folder):
  server.content, server.faults, server.ranges = {"a.bin": CONTENT}, {"a.bin": ["cut"]}, False
  assert download(server, folder, {"a.bin": {"addresses": ["a.bin"]}}).returncode == 0
  assert (folder / "a.bin").read_bytes() == CONTENT


def test_parts_of_two_versions_are_not_joined(server, folder):
  server.content, server.faults = {"a.bin": CONTENT}, {"a.bin": ["cut", 503, 503, 503]}
  files = {"a.bin": {"addresses": ["a.bin"]}}
  download(server, folder, files)
  server.content["a.bin"] = CONTENT[::-1]      # as long as before
  done = download(server, folder, files)
  assert done.returncode == 0, done.stderr
  assert (folder / "a.bin").read_bytes() == CONTENT[::-1]


def test_a_part_that_the_disk_spoiled_is_found_and_begun_anew(server, folder):
  server.content, server.faults = {"a.bin": CONTENT}, {"a.bin": ["cut", 503, 503, 503]}
  files = {"a.bin": {"addresses": ["a.bin"], "sha256": sha256(CONTENT)}}
  download(server, folder, files)
  (folder / "a.bin.part").write_bytes(bytes(256_000))
  assert download(server, folder, files).returncode == 0
  assert (folder / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("cut", [0, 1])
def test_files_without_a_length_arrive(server, folder, cut):
  server.content, server.faults = {"a.bin": CONTENT}, {"a.bin": ["cut"] * cut + ["chunked"]}
  assert download(server, folder, {"a.bin": {"addresses": ["a.bin"]}}).returncode == 0
  assert (folder / "a.bin").read_bytes() == CONTENT


def test_another_hash_is_refused_and_the_mirror_tried(server, folder):
  server.content = {"wrong.bin": b"x" * len(CONTENT), "a.bin": CONTENT}
  known = {"size": len(CONTENT), "sha256": sha256(CONTENT)}
  done = download(server, folder, {"a.bin": {"addresses": ["wrong.bin", "a.bin"], **known},
                                   "b.bin": {"addresses": ["wrong.bin"], **known}})
  assert done.returncode == 1
  assert (folder / "a.bin").read_bytes() == CONTENT
  assert sha256(b"x" * len(CONTENT)) in done.stderr and sha256(CONTENT) in done.stderr
  assert [path.name for path in folder.iterdir()] == ["a.bin"]


def test_another_size_is_refused_before_it_is_downloaded(server, folder):
  server.content = {"a.bin": CONTENT}
  done = download(server, folder, {"a.bin": {"addresses": ["a.bin"], "size": 7}})
  assert done.returncode == 1 and "512,000 bytes, expected 7" in done.stderr
  assert list(folder.iterdir()) == []


@pytest.mark.parametrize("served, kind, what", [
    (b"not what it seems", "text/html; charset=utf-8", "a web page"),
    (b"\n<!DOCTYPE html><p>Moved", "application/octet-stream", "a web page"),
    (b"<?xml version='1.0'?><Error/>", "application/octet-stream", "an XML document"),
    (b"version https://git-lfs.github.com/spec/v1\n", "text/plain", "a Git LFS pointer"),
    (b"", "text/plain", "an empty file"),
])
def test_a_page_in_place_of_the_file_is_refused(server, folder, served, kind, what):
  server.content, server.types = {"a.bin": served}, {"a.bin": kind}
  done = download(server, folder, {"a.bin": {"addresses": ["a.bin"]}})
  assert done.returncode == 1 and what in done.stderr and list(folder.iterdir()) == []


def test_a_page_served_while_resuming_leaves_the_part_alone(server, folder):
  server.content, server.faults = {"a.bin": CONTENT}, {"a.bin": ["cut", "page"]}
  done = download(server, folder, {"a.bin": {"addresses": ["a.bin"]}})
  assert done.returncode == 1 and (folder / "a.bin.part").read_bytes() == CONTENT[:256_000]


def test_a_host_that_gives_no_answer_is_left_alone_afterwards(server, folder):
  server.faults = {"a.bin": ["silent"] * 9}
  with socket.socket() as closed:
    closed.bind(("127.0.0.1", 0))     # nothing listens here
    other = f"http://127.0.0.1:{closed.getsockname()[1]}/a.bin"
    done = download(server, folder, {"a.bin": {"addresses": ["a.bin", other]}, "b.bin": {"addresses": ["b.bin"]}})
  assert done.returncode == 1
  assert "nothing came for 0.5 s (in 3 tries)" in done.stderr and "Connection refused" in done.stderr
  assert f"{server.address('b.bin')}: not tried" in done.stderr
  assert [path for path, _ in server.seen] == ["a.bin"] * 3


def tar_of(name: str, content: bytes) -> bytes:
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w:gz") as archive:
    for member, inside in {name: content, "../outside": b"evil"}.items():
      information = tarfile.TarInfo(member)
      information.size = len(inside)
      archive.addfile(information, io.BytesIO(inside))
  return file.getvalue()


def zip_of(name: str, content: bytes) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(name, content)
    archive.writestr("../outside", b"evil")
  return file.getvalue()


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_one_file_of_an_archive_is_unpacked_and_nothing_else(server, folder, make):
  server.content = {"words": make("dict/data.noun", b"00001740 03 n 01 entity")}
  source = {"address": "words", "member": "dict/data.noun", "sha256": sha256(server.content["words"])}
  done = download(server, folder, {"wordnet/data.noun": {"addresses": [source]}})
  assert done.returncode == 0, done.stderr
  assert (folder / "wordnet" / "data.noun").read_bytes() == b"00001740 03 n 01 entity"
  assert sorted(path.name for path in folder.parent.rglob("*")) == [
      "addresses.json", "data.noun", folder.name, "wordnet"]


@pytest.mark.parametrize("archive", [
    tar_of("other", b""), zip_of("other", b""), tar_of("noun", CONTENT)[:-300], b"x" * 99])
def test_an_archive_that_is_broken_or_lacks_the_file_gives_way_to_the_mirror(server, folder, archive):
  server.content = {"bad": archive, "good": zip_of("noun", b"entity")}
  done = download(server, folder, {"noun": {"addresses": [{"address": "bad", "member": "noun"},
                                                          {"address": "good", "member": "noun"}]}})
  assert done.returncode == 0, done.stderr
  assert "no noun can be read from that archive" in done.stdout
  assert [path.name for path in folder.iterdir()] == ["noun"]
  assert (folder / "noun").read_bytes() == b"entity"


def test_a_file_that_the_system_has_is_not_downloaded(server, folder, tmp_path):
  (tmp_path / "data.noun").write_bytes(b"entity")
  done = download(server, folder, {"wordnet/data.noun": {"addresses": ["a"], "installed": str(tmp_path / "data.noun")}})
  assert done.returncode == 0 and f"{tmp_path / 'data.noun'} is there" in done.stdout and server.seen == []


def test_the_size_of_bit_is_chosen_by_name(server, folder):
  server.content = {"BiT-M-R101x3.npz": CONTENT}
  files = {"{bit}.npz": {"addresses": ["{bit}.npz"]}}
  assert download(server, folder, files, "--bit=BiT-M-R101x3").returncode == 0
  assert (folder / "BiT-M-R101x3.npz").exists()
  done = download(server, folder, files, "--bit=R101")
  assert done.returncode == 2 and "BiT-M-R101x1" in done.stderr


def test_interrupting_keeps_the_part(server, folder):
  server.content, server.faults = {"a.bin": CONTENT}, {"a.bin": ["hang"]}
  process = subprocess.Popen(command(server, folder, {"a.bin": {"addresses": ["a.bin"]}}, "--timeout=30"),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
  part = folder / "a.bin.part"
  deadline = time.monotonic() + 20
  while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
    time.sleep(0.01)
  process.send_signal(signal.SIGINT)
  message = process.communicate(timeout=20)[1]
  assert process.returncode == 130 and "goes on from there" in message and "Traceback" not in message
  kept = part.stat().st_size
  server.seen.clear()
  assert download(server, folder, {"a.bin": {"addresses": ["a.bin"]}}).returncode == 0
  assert server.seen == [("a.bin", f"bytes={kept}-")]


def test_two_downloads_into_one_folder_are_refused(server, folder):
  server.content, server.faults = {"a.bin": CONTENT}, {"a.bin": ["hang"]}
  files = {"a.bin": {"addresses": ["a.bin"]}}
  with subprocess.Popen(command(server, folder, files, "--timeout=30"), stdout=subprocess.DEVNULL) as process:
    deadline = time.monotonic() + 20
    while not server.seen and time.monotonic() < deadline:
      time.sleep(0.01)
    done = download(server, folder, files)
    process.kill()
  assert done.returncode == 2 and "Another download" in done.stderr


def test_a_disk_that_takes_no_more_ends_the_download_with_a_message(server, folder):
  server.content = {"a.bin": CONTENT}
  done = subprocess.run(command(server, folder, {"a.bin": {"addresses": ["a.bin"]}}), capture_output=True, text=True,
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)), timeout=60)
  assert done.returncode == 1 and "a.bin.part: File too large" in done.stderr and "Make room" in done.stderr
  assert not (folder / "a.bin").exists() and "Traceback" not in done.stderr


@pytest.mark.parametrize("flags, message", [
    (["--bit=BiT-S"], "invalid choice"), (["--size=3"], "unrecognized arguments"),
    (["--timeout=0"], "number of seconds above 0, got '0'"),
    (["--retries=many"], "--retries"), (["--addresses=/nowhere.json"], "Cannot read /nowhere.json"),
    (["/dev/null"], "Cannot write to /dev/null"),
])
def test_wrong_arguments_end_with_status_2(tmp_path, flags, message):
  folder = [] if flags[0].startswith("/") else [str(tmp_path / "new")]
  done = subprocess.run(["bash", SCRIPTS / "download_pretrained.sh", *folder, *flags], capture_output=True, text=True,
                        timeout=60)
  assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("text, message", [
    ('{"pretrained": {\n"files": }}', ":2: not valid JSON"),
    ('{"files": {}}', "no 'pretrained'"),
    ('{"pretrained": {"files": {"a": {"addresses": []}}}}', "a: 'addresses' is []"),
    ('{"pretrained": {"files": {"a": {"addresses": "http://h/a"}}}}', "expected a list"),
    ('{"pretrained": {"files": {"a": {"addresses": ["h/a"]}}}}', "'h/a' is no address"),
    ('{"pretrained": {"files": {"a": {"addresses": ["file:///etc/passwd"]}}}}', "is no address"),
    ('{"pretrained": {"files": {"../a": {"addresses": ["http://h/a"]}}}}', "../a: expected a path below the folder"),
    ('{"pretrained": {"files": {"a": {"addresses": ["http://h/a"], "sha": "0"}}}}', "a: a field is missing or unknown"),
    ('{"pretrained": {"files": {"a": {"addresses": ["http://h/a"], "sha256": "0"}}}}', "a: 'sha256' is '0'"),
    ('{"pretrained": {"files": {"a": {"addresses": ["http://h/a"], "size": "0"}}}}', "a: 'size' is '0'"),
])
def test_a_wrong_list_is_refused_with_what_is_wrong(tmp_path, text, message):
  (tmp_path / "list.json").write_text(text)
  with pytest.raises(WrongArgument, match=re.escape(message)):
    read_downloads(tmp_path / "list.json", "pretrained")


def test_the_published_list_has_what_preparing_needs():
  pretrained = {download.path: download for download in read_downloads(ADDRESSES, "pretrained")}
  assert set(pretrained) == {
      "TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e100_dense.pth", "BiT-M-R50x1.npz",
      "imagenet21k_wordnet_ids.txt", "imagenet21k_wordnet_lemmas.txt", "bert-base-uncased/config.json",
      "bert-base-uncased/vocab.txt", "bert-base-uncased/model.safetensors", "wordnet/data.noun"}
  assert pretrained["bert-base-uncased/model.safetensors"].size == 440_449_768
  metadata = {download.path for download in read_downloads(ADDRESSES, "metadata")}
  assert {f"{name}/classes_label_defn.json" for name in ("ucf101", "hmdb51", "olympics")} < metadata
  assert {f"kinetics_zsl220/{part}_{name}" for part in ("trn", "val", "tst")
          for name in ("class_idxs.json", "video_names.json", "video_metas.jsonl")} < metadata


def test_metadata_comes_by_its_own_command(server, folder):
  server.content = {"a.json": b"{}"}
  done = download(server, folder, {"kinetics_zsl220/a.json": {"addresses": ["a.json"]}}, kind="metadata")
  assert done.returncode == 0 and f"{folder / 'kinetics_zsl220'} SOURCE/zsl220" in done.stdout
