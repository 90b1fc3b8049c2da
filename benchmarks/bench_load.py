"""Loading a language model and its first token: seconds and peak memory of ours and `transformers`, in turn, warm disk.

    python benchmarks/bench_load.py
    python benchmarks/bench_load.py --rounds 5 --dtypes bf16

Random weights of Qwen3-0.6B's shape are written in bf16 by shards (1.2 GB, removed at the end). Every load runs in a
new process. Memory is the peak of what the process holds (resident set) above what it held before the load, divided by
the size of the weights in the loaded dtype. Files that a program maps into memory count as far as they were read; one
pass of one token makes sure that they were.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from compare import QWEN3_06B

LOADERS = {
    "motiongpt": "from motiongpt.weights import load_llm as load",
    "motiongpt, and the hash": (
        "from motiongpt.weights import load_llm\nfrom motiongpt.weights.shards import weights_hash\n"
        "def load(folder, dtype):\n    model = load_llm(folder, dtype)\n    weights_hash(folder)\n    return model"
    ),
    "transformers": "from transformers import AutoModelForCausalLM\nload = AutoModelForCausalLM.from_pretrained",
}
CHILD = """
import json, sys, time
import torch
{imports}
def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
torch.set_num_threads(1)
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
before, started = status("VmRSS:"), time.perf_counter()
model = load(sys.argv[1], dtype=torch.{dtype})
with torch.inference_mode():
    model(torch.zeros(1, 1, dtype=torch.long))
seconds, peak = time.perf_counter() - started, status("VmHWM:")
size = sum(p.numel() * p.element_size() for p in model.parameters())
print(json.dumps({{"seconds": seconds, "ratio": (peak - before) / size}}))
"""
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def write_model(folder: Path) -> None:
    """A Qwen3-0.6B of random bf16 weights, one shard per table and per four layers: never two of them in memory."""
    import torch

    from motiongpt.files.store import write_json, write_tensors
    from motiongpt.llm import LLM
    from motiongpt.weights.checks import Unfilled, rename
    from motiongpt.weights.hf_config import LLM_KEYS, llm_config_to_hf

    with Unfilled():
        shapes = {name: tensor.shape for name, tensor in LLM(QWEN3_06B).state_dict().items()}
    shards: dict[str, list[str]] = {}
    for name in shapes:
        part = f"layers-{int(name.split('.')[1]) // 4}" if name.startswith("layers.") else "tables"
        shards.setdefault(f"model-{part}.safetensors", []).append(name)
    for file, names in shards.items():
        tensors = {rename(name, LLM_KEYS): torch.randn(shapes[name], dtype=torch.bfloat16) for name in names}
        write_tensors(folder / file, tensors)
    where = {rename(name, LLM_KEYS): file for file, names in shards.items() for name in names}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": where})
    write_json(folder / "config.json", llm_config_to_hf(QWEN3_06B) | {"dtype": "bfloat16"})


def measure(imports: str, dtype: str, folder: Path) -> dict:
    code = CHILD.format(imports=imports, dtype=dtype)
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main(args) -> None:
    with tempfile.TemporaryDirectory(prefix="bench_load") as name:
        folder = Path(name)
        write_model(folder)
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        print(f"Qwen3-0.6B's shape in {len(list(folder.glob('*.safetensors')))} shards, {size / 1e9:.2f} GB in bf16")
        time.sleep(2.5)  # hashes of files that were written a moment ago are not remembered
        for label in args.dtypes:
            found: dict[str, list[dict]] = {program: [] for program in LOADERS}
            for _ in range(args.rounds):
                for path in folder.glob("*.safetensors"):  # into the page cache
                    with open(path, "rb") as file:
                        while file.read(1 << 24):
                            pass
                for program, imports in LOADERS.items():
                    found[program].append(measure(imports, DTYPES[label], folder))
            for program, runs in found.items():
                seconds = [run["seconds"] for run in runs]
                print(
                    f"{label} {program:24} {statistics.median(seconds):5.1f} s ({min(seconds):.1f} to "
                    f"{max(seconds):.1f}), peak memory {max(run['ratio'] for run in runs):.2f}x the weights",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="loads of each program and dtype (default 3)")
    parser.add_argument("--dtypes", nargs="+", choices=tuple(DTYPES), default=list(DTYPES), help="default: both")
    main(parser.parse_args())
