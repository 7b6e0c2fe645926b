"""What the scripts are given: numbers, files and folders, or one line that says what is wrong with them."""

import argparse
from collections.abc import Callable
from pathlib import Path


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """An argument's type: numbers above 0."""
    def number(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value
    return number


def read_text(path: Path) -> str:
    """A text file, UTF-8."""
    try:
        return path.read_text(encoding="utf8")
    except OSError as error:
        raise SystemExit(f"cannot read {path} ({error.strerror}): give a text file") from None
    except UnicodeDecodeError:
        raise SystemExit(f"{path} is no UTF-8 text: convert it") from None


def make_folder(path: Path) -> None:
    """The folder that results go to: better now than after the work."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"cannot make the folder {path} ({error.strerror}): give another") from None


def check_folder(path: Path, holds: str) -> None:
    """A folder that must be there."""
    if not path.is_dir():
        raise SystemExit(f"there is no folder {path}: expected one with {holds}")
