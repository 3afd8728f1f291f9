"""The real servers that contracts are tested on."""

from tests.integration.conftest import tiny_triton, triton_scorer

__all__ = ["tiny_triton", "triton_scorer"]
