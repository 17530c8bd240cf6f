"""Trainings in processes of their own, which are killed, or which are two."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cmcr_cli.training.checkpoint import NAME
from cmcr_cli.training.recipe import Recipe, dump_recipe

PATIENCE = 240  # seconds


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "cmcr_cli", *map(str, args)]


def launch(args: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        args,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str]) -> None:
    try:
        out, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, out


@pytest.fixture
def config(tmp_path: Path, tiny_recipe: Recipe) -> Path:
    path = tmp_path / "tiny.toml"
    loop = replace(tiny_recipe.loop, images=96, snapshot=16)
    path.write_text(dump_recipe(replace(tiny_recipe, loop=loop)))
    return path


def test_a_killed_distillation_ends_with_the_weights_of_one_that_was_not(
    cmcr: Callable[..., Any], data: Path, untrained: Path, tmp_path: Path, config: Path
) -> None:
    """The student has it all: a network, its average, a target, moments, data and random numbers."""
    options = "--teacher", untrained, "--config", config, "--run-dir", tmp_path / "killed"
    killed = launch(command("distill", data, *options))
    deadline = time.monotonic() + PATIENCE
    try:
        while killed.poll() is None and not (tmp_path / "killed" / NAME).is_file():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.3))  # anywhere: in an update, a validation, the writing of a file
    finally:
        with suppress(ProcessLookupError):
            os.killpg(killed.pid, signal.SIGKILL)
    printed, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, f"it had ended before it could be killed: {printed}"
    for last in ("killed", "whole"):
        ended = cmcr("distill", data, *options[:-1], tmp_path / last)
        assert ended.code == 0, ended.err
    for name in (NAME, "weights.safetensors"):
        one, other = load_file(tmp_path / "whole" / name), load_file(tmp_path / "killed" / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), name
    one, other = (
        [json.loads(line) for line in (tmp_path / folder / "stats.jsonl").read_text().splitlines()]
        for folder in ("whole", "killed")
    )
    assert [line["images"] for line in one] == list(range(16, 97, 16))
    assert [{**line, "images_per_s": 0} for line in one] == [{**line, "images_per_s": 0} for line in other]


def test_torchrun(data: Path, untrained: Path, tmp_path: Path, config: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    options = "--init", untrained, "--config", config, "--run-dir", tmp_path / "run", "--images", 32
    finished(launch([*torchrun, *command("train", "teacher", data, *options)[2:]]))
    stats = (tmp_path / "run" / "stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["images"] for line in stats] == [16, 32]
    assert (tmp_path / "run" / "weights.safetensors").is_file()
    assert not list((tmp_path / "run").glob("*.part"))
