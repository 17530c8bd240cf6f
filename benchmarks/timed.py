"""Run `cmcr ARGS...` and write the CPU seconds of its networks to the file named by CMCR_TIMES.

On a CPU each network runs in a single thread, so the seconds of that thread are those of the network.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmcr_cli.cli.main import main
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.model.diffusion import Denoiser

spent: list[float] = []


def counted(call: Callable[..., Any]) -> Callable[..., Any]:
    def counting(*args: Any) -> Any:
        started = time.thread_time()
        result = call(*args)
        spent.append(time.thread_time() - started)
        return result

    return counting


if __name__ == "__main__":
    Denoiser.encode = counted(Denoiser.encode)  # type: ignore[method-assign]
    Denoiser.forward = counted(Denoiser.forward)  # type: ignore[method-assign]
    # A removal calls the parts of the cloud network separately.
    CloudNetwork.look_far = counted(CloudNetwork.look_far)  # type: ignore[method-assign]
    CloudNetwork.look_near = counted(CloudNetwork.look_near)  # type: ignore[method-assign]
    try:
        main(sys.argv[1:])
    finally:
        Path(os.environ["CMCR_TIMES"]).write_text(json.dumps(sum(spent)))
