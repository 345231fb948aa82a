"""The program of the fixture `in_two_processes`: calls a function of a file in each of torchrun's processes."""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
from contextlib import nullcontext
from pathlib import Path

import torch

from dlkit.distributed.process_group import join_world


def main(folder: Path) -> None:
    file, name, arguments, joined = pickle.loads((folder / "request").read_bytes())
    specification = importlib.util.spec_from_file_location("tested", file)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["tested"] = module
    specification.loader.exec_module(module)
    torch.set_num_threads(1)
    with join_world(torch.device("cpu")) if joined else nullcontext():
        result = getattr(module, name)(*arguments)
        (folder / f"result-{os.environ['RANK']}").write_bytes(pickle.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
