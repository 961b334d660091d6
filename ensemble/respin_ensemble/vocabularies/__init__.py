"""The vocabularies of the two tokenizers; SOURCE.md in each folder documents where its file comes from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from respin.errors import InternalError

BERT_PIECES = "bert-base-uncased/vocab.txt"
"""WordPiece pieces, one per line; a piece's id is its line number from 0."""

CLIP_MERGES = "clip-vit-large-patch14/merges.txt"
"""A header line, then byte-pair merges, one per line, best first."""

SHA256 = {
    BERT_PIECES: "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    CLIP_MERGES: "685491abbdad36159d094ecdc23bebc0dd53f8d1df35c4d74ef6036db2ba7572",
}
"""SHA-256 of each file: a changed line would shift the ids without any error."""


def vocabulary_lines(name: str, folder: Path = Path(__file__).parent) -> list[str]:
    """Read a vocabulary and verify its checksum.

    Args:
        name: a key of `SHA256`.
        folder: the folder of the vocabularies.

    Raises:
        InternalError: the file is missing or damaged.
    """
    try:
        content = (folder / name).read_bytes()
    except FileNotFoundError:
        raise InternalError(f"vocabulary {name} is missing; install respin again") from None
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise InternalError(
            f"vocabulary {name} is damaged: its SHA-256 begins {found[:12]}, wanted {SHA256[name][:12]}; "
            "install respin again"
        )
    # Not splitlines(): some pieces are characters that it takes for line ends.
    return content.decode().removesuffix("\n").split("\n")
