"""Published weights and class lists -> data/pretrained and data/metadata. Nothing but the standard library.

    bash scripts/download_pretrained.sh                     # TSM, BiT-M-R50x1, BERT, BiT's vocabulary, WordNet 3.0
    bash scripts/download_pretrained.sh /data/weights --bit=BiT-M-R152x4
    bash scripts/download_metadata.sh                       # class lists, descriptions, vectors
    bash scripts/download_metadata.sh --addresses=mine.json

What there is to get, and from where, is in downloads.json, beside this file; `--addresses` takes a changed copy (see
downloading/addresses.py). Every file is attempted: one that is there and whole stays as it is, one that was cut short goes on.
Exit status: 1 if any file could not be had, 2 for wrong arguments.
"""

import argparse
import fcntl
import gzip
import os
import shlex
import sys
import tarfile
import tempfile
import time
import urllib.parse
import zipfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))   # to run without being installed

from input_pipeline import paths, startup
from input_pipeline.errors import UserError
from scripts.downloading.addresses import ADDRESSES, BIT, Download, WrongArgument, read_downloads
from scripts.downloading.fetch import CannotWrite, Patience, Refusal, Unreachable, discard, fetch, flaw

TSM = "TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e100_dense.pth"
WORDNET = "wordnet/data.noun"
BROKEN_ARCHIVE = (KeyError, EOFError, NotImplementedError, zlib.error, gzip.BadGzipFile, tarfile.TarError,
                  zipfile.BadZipFile)


def download_all(downloads: list[Download], folder: Path, patience: Patience) -> dict[str, list[str]]:
  """Gets what is missing in a folder, and prints what it does.

  Returns:
    For each file that could not be had, by name: a line for each address that was tried, with the reason.

  Raises:
    CannotWrite: if the disk does not take a file; those after it are not tried.
  """
  failed, silent = {}, set()
  for download in downloads:
    target = folder / download.path
    if download.installed and not target.exists() and Path(download.installed).is_file():
      print(f"{download.installed} is there, and serves as {download.path}", flush=True)
      continue
    if target.is_file():
      wrong = flaw(target, download.size, download.sha256)
      if wrong is None:
        print(f"{target} is there", flush=True)
        continue
      print(f"{target} is there, but not as published ({wrong}): getting it again", flush=True)
    try:
      target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise CannotWrite(f"Cannot make {target.parent}: {error.strerror}.") from error
    if reasons := _download(download, target, patience, silent):
      failed[download.path] = reasons
  return failed


def _download(download: Download, target: Path, patience: Patience, silent: set[str]) -> list[str]:
  """Tries a file's addresses in turn. Returns why each did not do; nothing if one did. Notes `silent` hosts."""
  part, reasons = target.with_name(f"{target.name}.part"), []
  for source in download.sources:
    host = urllib.parse.urlsplit(source.address).netloc
    try:
      if host in silent:
        raise Refusal(f"not tried, since {host} gave no answer before")
      print(f"{target} from {source.address}", flush=True)
      fetch(source, part, patience, Progress())
      if source.member is None:
        os.replace(part, target)
      else:
        _unpack(part, source.member, download, target)
      discard(part)
      return []
    except Refusal as error:
      if isinstance(error, Unreachable):
        silent.add(host)
      print(("\n" if sys.stdout.isatty() else "") + f"  {error}", flush=True)
      reasons.append(f"{source.address}: {error}")
    except OSError as error:
      raise CannotWrite(f"Cannot write {target}: {error.strerror or error}.") from error
  return reasons


def _unpack(archive: Path, member: str, download: Download, target: Path) -> None:
  """Writes one file of a .zip or .tar.gz archive, and nothing else. An archive without it is deleted."""
  unpacked = target.with_name(f".{target.name}.unpacked")
  try:
    unpacked.write_bytes(_read_member(archive, member))
    if wrong := flaw(unpacked, download.size, download.sha256):
      raise Refusal(f"{member} of that archive is not the expected file: {wrong}; it was deleted")
    os.replace(unpacked, target)
  except Refusal:
    discard(archive)
    raise
  finally:
    unpacked.unlink(missing_ok=True)


def _read_member(archive: Path, member: str) -> bytes:
  try:
    if zipfile.is_zipfile(archive):
      with zipfile.ZipFile(archive) as opened:
        return opened.read(member)
    with tarfile.open(archive) as opened:
      found = opened.extractfile(opened.getmember(member))
      if found is None:
        raise KeyError(f"{member} is no file")
      return found.read()
  except BROKEN_ARCHIVE as error:
    raise Refusal(f"no {member} can be read from that archive ({error}); it was deleted") from error


class Progress:
  """Prints how far a download is: in one line on a terminal, a line every half minute elsewhere, and one at the end."""

  def __init__(self):
    self._terminal = sys.stdout.isatty()
    self._start = self._last = time.monotonic()
    self._before = None     # bytes that were there at `_start`

  def __call__(self, have: int, total: int | None) -> None:
    now, done = time.monotonic(), have == total
    if self._before is None or have < self._before:     # the first that came, or the first of another beginning
      self._start, self._before = now, have
    if now - self._last < (0.2 if self._terminal else 30) and not done:
      return
    self._last = now
    line = f"  {have:,} bytes" + (f" of {total:,}" if total and not done else "")
    rate = (have - self._before) / max(now - self._start, 1e-6)
    if total and rate > 0 and not done:
      minutes, seconds = divmod(round((total - have) / rate), 60)
      line += f", {rate / 1e6:,.1f} MB/s, {minutes}:{seconds:02d} left"
    end = "\n" if done or not self._terminal else ""
    print(f"\r{line:<70}" if self._terminal else line, end=end, flush=True)


def next_steps(kind: str, folder: Path, bit: str) -> str:
  """The commands that use what was downloaded."""
  quoted = shlex.quote(str(folder))
  if kind == "metadata":
    return (f"Next: bash scripts/download_pretrained.sh, and with videos of Kinetics (or of another dataset)\n"
            f"  python -m input_pipeline.prepare --dataset=kinetics_zsar --source=VIDEOS --metadata={quoted} ...\n"
            f"With features as published in SOURCE/features (--dataset=precomputed --source=SOURCE):\n"
            f"  ln -s {shlex.quote(str(folder.resolve() / 'kinetics_zsl220'))} SOURCE/zsl220")
  wordnet = quoted + "/wordnet" if (folder / WORDNET).is_file() else "/usr/share/wordnet"
  return (f"Next, name BiT's outputs and prepare videos (TSM's .pth needs pip install torch):\n"
          f"  python scripts/build_concepts.py --lemmas={quoted}/imagenet21k_wordnet_lemmas.txt \\\n"
          f"      --wnids={quoted}/imagenet21k_wordnet_ids.txt --wordnet={wordnet} --output={quoted}/concepts.jsonl\n"
          f"  python -m input_pipeline.prepare --dataset=kinetics_zsar --source=VIDEOS \\\n"
          f"      --tsm={quoted}/{TSM} \\\n"
          f"      --bit={quoted}/{bit}.npz --concepts={quoted}/concepts.jsonl\n"
          f"and train with --config.model.text_backbone.name_or_path={quoted}/bert-base-uncased")


def _seconds(text: str) -> float:
  try:
    seconds = float(text)
  except ValueError:
    seconds = 0
  if not 0 < seconds < 1e6:
    raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
  return seconds


def parse(argv: list[str]) -> argparse.Namespace:
  """The command line; ends the program with status 2 if it is wrong."""
  kind = argv[0] if argv and argv[0] in ("pretrained", "metadata") else None
  if kind is None:
    print("error: expected pretrained or metadata, as download_pretrained.sh and download_metadata.sh give.",
          file=sys.stderr)
    sys.exit(2)
  default = ROOT / "data" / kind
  parser = argparse.ArgumentParser(prog=f"bash scripts/download_{kind}.sh", allow_abbrev=False)
  parser.add_argument("folder", nargs="?", help=f"where to; default {default}", metavar="FOLDER",
                      default=default)
  parser.add_argument("--addresses", default=ADDRESSES, help=f"a changed copy of {ADDRESSES}")
  if kind == "pretrained":
    parser.add_argument("--bit", choices=BIT, default=BIT[0], help="which of the published sizes of BiT")
  parser.add_argument("--timeout", type=_seconds, default=60, help="seconds to wait for an answer")
  parser.add_argument("--retries", type=int, choices=range(100), metavar="N", default=3,
                      help="more tries at an address that is down, from 0 to 99")
  parser.add_argument("--wait", type=_seconds, default=1, help="seconds before the second try, doubled after each")
  return argparse.Namespace(kind=kind, **{"bit": BIT[0], **vars(parser.parse_args(argv[1:]))})


def main(argv: list[str]) -> int:
  """Downloads as the command line says. Returns the exit status."""
  options = parse(argv)
  try:
    options.folder = paths.absolute(options.folder, "FOLDER")
    options.addresses = paths.absolute(options.addresses, "--addresses")
    downloads = read_downloads(options.addresses, options.kind, options.bit)
    lock = _open_folder(options.folder, options.kind)
    patience = Patience(options.timeout, options.retries, options.wait)
    failed = download_all(downloads, options.folder, patience)
    os.close(lock)
  except (WrongArgument, UserError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  except CannotWrite as error:
    print(f"\nerror: {error} What has arrived is kept. Make room, or give another folder: "
          f"bash scripts/download_{options.kind}.sh FOLDER", file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print("\nStopped. What has arrived is kept; the same command goes on from there.", file=sys.stderr)
    return 130
  if not failed:
    print(f"\nAll {len(downloads)} files are there.\n{next_steps(options.kind, options.folder, options.bit)}")
    return 0
  hints = {download.path: download.hint for download in downloads}
  print(f"\nerror: {len(failed)} of {len(downloads)} files could not be downloaded:", file=sys.stderr)
  for name, reasons in failed.items():
    print("\n  ".join([str(options.folder / name), *reasons, *filter(None, [hints[name]])]), file=sys.stderr)
  print("Give the same command again later; or get them elsewhere and put them there under these names; or copy "
        f"{ADDRESSES}, put other addresses in, and give --addresses=COPY. What has arrived is kept.", file=sys.stderr)
  return 1


def _open_folder(folder: Path, kind: str) -> int:
  """Makes the folder, and locks it until the returned descriptor is closed. Raises: WrongArgument."""
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
      pass
    lock = os.open(folder, os.O_RDONLY)
  except OSError as error:
    raise WrongArgument(f"Cannot write to {folder}: {error.strerror}. Give a folder that can be written: "
                        f"bash scripts/download_{kind}.sh FOLDER") from error
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    os.close(lock)
    raise WrongArgument(f"Another download into {folder} is running; wait for it, or give another folder.") from error
  except OSError:      # a file system without locks
    pass
  return lock


if __name__ == "__main__":
  startup.begin()
  sys.exit(main(sys.argv[1:]))
