"""What numpy's files of arrays raise when they are damaged or hostile, and how their headers are read without what follows."""

from __future__ import annotations

import lzma
import tokenize
import zipfile
import zlib
from typing import Final

import numpy as np

__all__ = ["HEADERS", "UNREADABLE"]

#: What reading a damaged archive may raise, from the archive, its compression, and the headers in it.
UNREADABLE: Final = (
    OSError,
    ValueError,
    RuntimeError,  # encrypted; NotImplementedError: an unknown compression
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
#: Readers of headers by version of the format.
HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
