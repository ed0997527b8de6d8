"""A file by its address: whole, checked against its hash, or not there at all."""

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request

from tfembed.formats.disk import FullDiskError, written_beside

__all__ = ["download", "file_digest", "has_hash"]

_SECONDS_BETWEEN_REPORTS = 5.0
_SECONDS_OF_SILENCE = 60.0
_BLOCK = 1 << 20


def download(url, path, expected=None, say=None):
    """Downloads a file; says how far it is.

    Args:
        url: Its address.
        path: Where it is to be; the folder is made.
        expected: Its MD5 or SHA-256, as hexadecimal digits, or `None` where none is
            known.
        say: Function that is given a line of progress now and then; standard error by
            default.

    Raises:
        OSError: If it cannot be had whole, or is not what the hash says; with the
            reason as `strerror`.
    """
    say = say or _say
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with written_beside(path, shared=True) as partial:
            _receive(url, partial, say)
            if expected and not has_hash(partial, expected):
                raise OSError(
                    0, f"the file that came does not have the hash {expected}"
                )
    except FullDiskError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise OSError(0, _reason(error)) from error


def _receive(url, path, say):
    name = os.path.basename(url)
    with urllib.request.urlopen(url, timeout=_SECONDS_OF_SILENCE) as answer:
        total = int(answer.headers.get("Content-Length") or 0)
        say(f"downloading {name}" + f", {total / 1e6:.1f} MB" * bool(total))
        done, said = 0, time.monotonic()
        with open(path, "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                done += len(block)
                if time.monotonic() - said > _SECONDS_BETWEEN_REPORTS:
                    said = time.monotonic()
                    say(f"{name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB")
        if total and done != total:
            raise OSError(0, f"the download ended after {done:,} of {total:,} bytes")


def _reason(error):
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__


def has_hash(path, expected):
    """Tells whether a file has a hash, MD5 or SHA-256 by its length."""
    return file_digest(path, "md5" if len(expected) == 32 else "sha256") == expected


def file_digest(path, algorithm="sha256"):
    """Returns a file's digest as hexadecimal digits."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _say(line):
    print(line, file=sys.stderr, flush=True)
