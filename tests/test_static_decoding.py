"""The step of fixed shapes against `LLM.hidden`: what is recorded, compiled, kept, lent out and given up.

Few machines have a GPU. So a recording is played by `Played`, which computes the same function on the same buffers and
puts its result in the same place. What CUDA itself does is in the last tests.
"""

import copy
import shutil

import pytest
import torch
from cases import for_each

from motiongpt.config import SampleConfig
from motiongpt.decoding import DecodingLLM
from motiongpt.decoding.model import DecodingCache
from motiongpt.decoding.static import CHUNK, StaticCache, StaticStep
from motiongpt.lengths import limits_from_length
from motiongpt.sampling import generate
from tests.test_decoding import SHAPES, steps
from tests.test_llm import CLOSE, KINDS, draw, make


class Played:
    """A recording of a step. Every replay writes over the result of the one before."""

    def __init__(self, step: StaticStep) -> None:
        self.step, self.replays = step, 0

    def replay(self) -> None:
        self.step.out.copy_(self.step._run())
        self.replays += 1


@pytest.fixture
def recorded(monkeypatch) -> None:
    """Steps are recorded, on whatever device."""

    def record(step: StaticStep) -> tuple[Played, torch.Tensor]:
        return Played(step), step._run()

    monkeypatch.setattr("motiongpt.decoding.model.can_record", lambda device: True)
    monkeypatch.setattr(StaticStep, "_record", record)


@pytest.fixture
def compiler(recorded, monkeypatch) -> None:
    """Steps can be compiled on a CPU as well: without its packed matrices, which no compiler knows."""
    torch._dynamo.reset()
    monkeypatch.setattr("motiongpt.decoding.model.MAX_COPIED", -1)


@pytest.fixture
def backend(compiler, monkeypatch) -> list:
    """A compiler that runs what it is given as it is; in here is each function that it was given."""
    functions = []

    def compile_nothing(function: torch.fx.GraphModule, inputs: list) -> torch.fx.GraphModule:
        functions.append(function)
        return function

    monkeypatch.setattr("motiongpt.decoding.static.BACKEND", compile_nothing)
    return functions


def kept(fast: DecodingLLM) -> list[tuple[int, int]]:
    """The shapes of the steps that a model has."""
    return [step.shape for step in fast._steps.kept]


@for_each("kind", SHAPES)
@for_each("B", [1, 3])
@for_each("padded", [False, True])
def test_steps_are_those_of_the_model(recorded, kind, B, padded):
    """Several motions in the same memory: the second is shorter, and begins in other columns."""
    llm = make(**SHAPES[kind])
    llm.extend(290, 20)
    fast = DecodingLLM(llm, "recorded")
    for length, prompt in ((20, 9), (12, 5), (13, 1), (20, 9)):
        ids = draw(0, 310, B, length)
        start = (torch.arange(B) + 1).clamp(max=prompt - 1) if padded else None
        torch.testing.assert_close(steps(fast, ids, prompt, start), steps(llm, ids, prompt, start), **CLOSE)
        if length == 20:  # whatever is left of a motion
            cache = fast._steps.kept[0].cache
            for table in (*cache.keys, *cache.values):
                table.fill_(torch.nan)
    assert kept(fast) == [(B, CHUNK)] and fast._steps.kept[0].graph.replays == 11 + 7 + 13 + 11


@pytest.mark.slow
@for_each("kind, B", [("qwen2", 1), ("qwen3", 3), ("gemma3", 2), ("biases", 1)])
def test_compiled_steps_are_those_of_the_model(backend, kind, B):
    llm = make(**SHAPES[kind])
    llm.extend(290, 20)
    backend.clear()  # of other cases
    fast = DecodingLLM(llm, "compiled")
    for start in (None, torch.arange(B)):
        ids = draw(0, 310, B, 16)
        torch.testing.assert_close(steps(fast, ids, 7, start), steps(llm, ids, 7, start), **CLOSE)
    assert len(backend) == 1  # and not again, whatever the lengths
    assert fast._steps.kept[0].graph.replays == 18  # it is recorded


@pytest.mark.slow
def test_each_shape_is_compiled_once(backend):
    """More shapes than PyTorch compiles of one function without being told to, and under every mode of autograd."""
    llm = make()
    fast = DecodingLLM(llm, "compiled")
    shapes = [(B, T) for B in (1, 2, 3, 4, 5) for T in (CHUNK - 3, CHUNK + 3)]
    for number, (B, T) in enumerate(shapes, 1):
        ids = draw(0, 300, B, T)
        torch.testing.assert_close(steps(fast, ids, T - 3), steps(llm, ids, T - 3), **CLOSE)
        with torch.enable_grad():
            cache = fast.new_cache(B, T)
            fast.hidden(ids[:, :4], cache)
            fast.hidden(ids[:, 4:5], cache)
        assert len(backend) == number
    steps(fast, draw(0, 300, 5, 9), 4)
    assert len(backend) == len(shapes)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("kind", ["qwen3", "gemma3"])
def test_pytorchs_own_compiler(compiler, kind):
    llm, ids = make(**KINDS[kind]), draw(0, 300, 2, 12)
    start = torch.tensor([0, 2])
    fast = DecodingLLM(llm, "compiled")
    torch.testing.assert_close(steps(fast, ids, 7, start), steps(llm, ids, 7, start), **CLOSE)


def test_no_compiler_is_named(compiler, monkeypatch):
    def fail(function, inputs):
        raise RuntimeError("no such file: c++")

    monkeypatch.setattr("motiongpt.decoding.static.BACKEND", fail)
    fast = DecodingLLM(make(), "compiled")
    with pytest.raises(ValueError, match="(?s)a C.. compiler.*write without compiling.*no such file"):
        fast.new_cache(1, 8)


def test_no_state_changes_after_it_was_handed_out(recorded):
    llm, ids = make(), draw(0, 300, 2, 8)
    fast = DecodingLLM(llm, "recorded")
    with torch.inference_mode():
        cache = fast.new_cache(2, 8)
        states = [fast.hidden(piece, cache) for piece in ids.split([4, 1, 1, 1, 1], 1)]
    torch.testing.assert_close(torch.cat(states, 1), steps(llm, ids, 4), **CLOSE)


def test_motions_at_the_same_time_have_memories_of_their_own(recorded):
    llm = make()
    fast = DecodingLLM(llm, "recorded")
    rows = [draw(0, 300, 2, 10), draw(0, 150, 2, 10)]
    with torch.inference_mode():
        caches = [fast.new_cache(2, 10) for _ in rows]
        found = [[], []]
        for column in range(10):
            for ids, cache, states in zip(rows, caches, found, strict=True):
                states.append(fast.hidden(ids[:, column : column + 1], cache))
    for ids, states in zip(rows, found, strict=True):
        torch.testing.assert_close(torch.cat(states, 1), steps(llm, ids, 1), **CLOSE)
    assert kept(fast) == [(2, CHUNK)] * 2
    used = caches[1].step
    del caches, cache
    assert fast.new_cache(2, 10).step is used and len(kept(fast)) == 2  # the one used last is first again


def test_the_least_recently_used_step_goes(recorded, monkeypatch):
    monkeypatch.setattr("motiongpt.decoding.static.KEPT", 2)
    llm, ids = make(), draw(0, 300, 1, 8)
    fast = DecodingLLM(llm, "recorded")
    with torch.inference_mode():
        cache = fast.new_cache(1, 8)
        states = [fast.hidden(ids[:, :4], cache)]
        for B in (2, 3, 2, 4):
            fast.new_cache(B, 8)
        assert kept(fast) == [(2, CHUNK), (4, CHUNK)]
        states += [fast.hidden(piece, cache) for piece in ids[:, 4:].split(1, 1)]  # its motion goes on
    torch.testing.assert_close(torch.cat(states, 1), steps(llm, ids, 4), **CLOSE)
    cache = fast._steps.kept[0].cache
    row = sum(table[0].nbytes for table in (*cache.keys, *cache.values))
    for rows, left in ((9, [4, 5]), (8, [5]), (0, [5])):  # one is kept, however large it is
        fast._steps.kept = [step for step in fast._steps.kept if step.shape[0] != 5]
        monkeypatch.setattr("motiongpt.decoding.static.KEPT_BYTES", rows * row)
        fast.new_cache(5, 8)
        assert kept(fast) == [(B, CHUNK) for B in left]


@for_each("change", ["written to", "moved"])
def test_a_step_of_former_weights_is_given_up(recorded, change):
    llm, ids = make(), draw(0, 300, 2, 8)
    fast = DecodingLLM(llm, "recorded")
    steps(fast, ids, 4)
    if change == "written to":
        with torch.no_grad():
            llm.layers[1].mlp.up_proj.weight.mul_(2)
    else:
        fast.to("cpu")
        assert fast._steps is None
    torch.testing.assert_close(steps(fast, ids, 4), steps(llm, ids, 4), **CLOSE)
    torch.testing.assert_close(steps(copy.deepcopy(fast), ids, 4), steps(llm, ids, 4), **CLOSE)


def test_autocast_takes_the_plain_model(recorded):
    llm, ids = make(), draw(0, 300, 2, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert isinstance(DecodingLLM(llm, "recorded").new_cache(2, 8), DecodingCache)
        assert torch.equal(steps(DecodingLLM(llm, "recorded"), ids, 4), steps(llm, ids, 4))


def test_without_a_gpu_nothing_is_static():
    fast = DecodingLLM(make(), "compiled")
    assert isinstance(fast.new_cache(2, 8), DecodingCache) and fast._steps is None


def test_too_many_tokens_are_named(recorded):
    """As many as were asked for, not as many as there is room for."""
    fast = DecodingLLM(make(), "recorded")
    with pytest.raises(ValueError, match="5 tokens exceed the cache's capacity of 4"), torch.inference_mode():
        cache = fast.new_cache(1, 4)
        assert isinstance(cache, StaticCache)
        fast.hidden(draw(0, 300, 1, 4), cache)
        fast.hidden(draw(0, 300, 1, 1), cache)


def codes_of(model, rows: range, device: str = "cpu") -> list[list[int]]:
    """What the sampler writes with a model of 300 words and 32 codes. Prompts and lengths differ by rows."""
    return generate(
        model,
        [draw(0, 300, 1, 3 + row)[0].tolist() for row in rows],
        begin_id=300,
        codes=32,
        limits=[limits_from_length(6 + 2 * row, exact=True) for row in rows],
        seeds=list(rows),
        config=SampleConfig(temperature=1.0, top_k=20, top_p=0.95, repetition_penalty=1.1),
        device=device,
    )


@for_each("kind", KINDS)
def test_same_seeds_write_the_same_codes(recorded, kind):
    """Rows of different lengths, each of them alone, and all again."""
    llm = make(**KINDS[kind])
    llm.extend(300, 34)
    expected, fast = codes_of(llm, range(5)), DecodingLLM(llm, "recorded")
    assert codes_of(fast, range(5)) == expected
    assert [codes_of(fast, range(row, row + 1))[0] for row in range(5)] == expected
    assert codes_of(fast, range(5)) == expected
    assert kept(fast) == [(1, CHUNK), (5, CHUNK)]


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need an NVIDIA GPU")


@gpu
@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_cuda_graphs_write_as_the_plain_model(kind, compiled):
    """fp32 on a GPU: its products take sums in other orders for other numbers of rows, about 1e-4 of these states."""
    llm = make(**KINDS[kind]).cuda()
    llm.extend(290, 20)
    fast = DecodingLLM(llm, "compiled" if compiled else "recorded")
    for B, padded in ((1, False), (3, True), (3, False), (1, False)):
        ids = draw(0, 310, B, 12).cuda()
        start = torch.arange(B, device="cuda") + 1 if padded else None
        expected = steps(llm, ids, 7, start)
        torch.testing.assert_close(steps(fast, ids, 7, start), expected, atol=1e-3, rtol=1e-3)
    assert kept(fast) == [(3, CHUNK), (1, CHUNK)]
    assert all(isinstance(step.graph, torch.cuda.CUDAGraph) for step in fast._steps.kept)


@gpu
def test_cuda_graphs_are_as_near_to_fp32_in_bf16():
    llm, ids = make(qk_norm=True).cuda(), draw(0, 300, 2, 12).cuda()
    exact = steps(llm, ids, 6)
    llm.to(torch.bfloat16)
    plain, fast = steps(llm, ids, 6).float(), steps(DecodingLLM(llm, "recorded"), ids, 6).float()
    assert (fast - exact).norm() < 1.2 * (plain - exact).norm() < 0.1 * exact.norm()


@gpu
def test_cuda_graphs_write_the_codes_of_the_plain_model():
    llm = make(qk_norm=True)
    llm.extend(300, 34)
    llm.cuda()
    expected, fast = codes_of(llm, range(5), "cuda"), DecodingLLM(llm, "recorded")
    assert codes_of(fast, range(5), "cuda") == expected
    assert codes_of(fast, range(5), "cuda") == expected
