"""Text from bytes that arrive token by token, with stop strings."""

from __future__ import annotations

import codecs


class TextStream:
    """Decodes bytes that arrive token by token, whole characters only, and ends the text at a stop string.

    Args:
        stops: strings that end the text; they are not part of it.
    """

    def __init__(self, stops: tuple[str, ...] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = stops
        self._held = ""  # text that may be the beginning of a stop string
        self.text = ""
        self.stopped = False

    def push(self, data: bytes) -> str:
        """Add bytes; returns the text that is now certain."""
        return self._release(self._decoder.decode(data), False)

    def finish(self) -> str:
        """The remaining text; an incomplete character becomes U+FFFD."""
        return self._release(self._decoder.decode(b"", final=True), True)

    def _release(self, new: str, final: bool) -> str:
        if self.stopped:
            return ""
        waiting = self._held + new
        found = [at for stop in self._stops if (at := waiting.find(stop)) >= 0]
        if found:
            self.stopped = True
            waiting, self._held = waiting[: min(found)], ""
        elif not final:
            # hold back the longest suffix that begins a stop string
            held = max(
                (n for stop in self._stops for n in range(1, len(stop)) if waiting.endswith(stop[:n])), default=0
            )
            waiting, self._held = waiting[: len(waiting) - held], waiting[len(waiting) - held :]
        else:
            self._held = ""
        self.text += waiting
        return waiting
