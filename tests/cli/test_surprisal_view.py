"""The scale of colours of surprisal."""

from __future__ import annotations

from dlkit.information import surprisal_page


def test_the_scale_has_a_step_for_every_surprisal() -> None:
    assert [surprisal_page.colour_level(bits) for bits in (0.0, 0.99, 1.0, 3.0, 5.0, 7.0, 8.0, 40.0)] == [
        0,
        0,
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert surprisal_page.display_text("a\n\x1b\u202e") == "a⏎\n\\x1b\\u202e"
