"""What was found by reading back."""

from typing import Literal

Verdict = Literal["proved", "counted", "failed"]
"""All is as it should be; it is in number and order, but contents were not compared; it is not."""
