#!/usr/bin/env python3
"""Writes the files of torch.save that blip/checkpoint/torch_pickle_test.cpp reads.

    python3 tools/make_checkpoint_fixtures.py [tests/data/checkpoint]

Needs torch (any 2.x). The test knows the values: change both together.
"""
import collections
import pathlib
import sys

import torch


def state_dict():
    linear = torch.nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        linear.bias.copy_(torch.tensor([0.5, -0.5]))
    tensors = linear.state_dict(prefix="linear.")  # an OrderedDict with _metadata
    base = torch.arange(12.0).reshape(3, 4)
    tensors["whole"] = base
    tensors["transposed"] = base.t()
    tensors["row"] = base[1]
    tensors["window"] = base[1:, 1:3]
    tensors["parameter"] = torch.nn.Parameter(torch.tensor([7.0, 8.0]))
    tensors["scalar"] = torch.tensor(2.5, dtype=torch.float64)
    tensors["half"] = torch.tensor([1.5, -2.0, 65504.0], dtype=torch.float16)
    tensors["bfloat"] = torch.tensor([1.5, -2.0, 3.0e38], dtype=torch.bfloat16)
    tensors["long"] = torch.tensor([[-1, 2**40]])
    tensors["byte"] = torch.tensor([0, 255], dtype=torch.uint8)
    tensors["flags"] = torch.tensor([True, False, True])
    tensors["empty"] = torch.zeros(0, 3)
    tensors["expanded"] = torch.tensor([9.0]).expand(3)
    return tensors


def optimizer_state():
    layer = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-5)
    layer(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def checkpoint():
    return {
        "model": state_dict(),
        "optimizer": optimizer_state(),
        "config": {"lr": 1e-5, "vit": "base", "ckpt": None, "large": 2**70, "sizes": [224, 384],
                   "tags": {"a", "b"}, "shape": torch.Size([2, 3]), "type": torch.float32,
                   "device": torch.device("cpu"), "bytes": b"\x00\x01", "milestones":
                   collections.Counter({10: 1})},
        "epoch": 3,
    }


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/data/checkpoint")
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    torch.save(checkpoint(), folder / "zip.pth")
    torch.save(checkpoint(), folder / "legacy.pth", _use_new_zipfile_serialization=False)
    few = {f"module.{name}": tensor for name, tensor in state_dict().items()
           if name in ("transposed", "half")}
    torch.save(few, folder / "protocol4.pth", pickle_protocol=4)


if __name__ == "__main__":
    main()
