from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

Tensors = Tensor | tuple[Tensor, ...]


def assert_close(
    actual: Tensors,
    expected: Tensors,
    *,
    rtol: float = 1.3e-6,
    atol: float = 1e-5,
    equal_nan: bool = False,
) -> None:
    """The same shape and dtype, and values as close as those of `torch.testing.assert_close`.

    That one imports torch.distributed and sympy when it is first called: 3 to 4 CPU seconds a process.
    """
    if isinstance(actual, tuple) or isinstance(expected, tuple):
        for one, other in zip(actual, expected, strict=True):
            assert_close(one, other, rtol=rtol, atol=atol, equal_nan=equal_nan)
        return
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    found, wanted = (each.detach().cpu().to(torch.float64).numpy() for each in (actual, expected))
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol, equal_nan=equal_nan)
