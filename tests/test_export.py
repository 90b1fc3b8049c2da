"""scripts/export.py: what it writes is what it was given, and it overwrites nothing."""

import torch

from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.weights.vqvae import load_vqvae


def test_t2m_gpt(script, tiny, tmp_path):
    """Codebook and weights come back exactly, and so do codes and motions; a run's own tokenizer is found too."""
    done = script("export", "--vqvae", tiny.vqvae, "--format", "t2m-gpt", "--out", tmp_path / "deep" / "x.pth")
    assert done.code == 0, done.err
    assert "--nb-code 32 --code-dim 16 --output-emb-width 16 --width 16 --depth 1 --down-t 2" in done.out
    ours, back = MotionTokenizer.load(tiny.vqvae).vqvae, load_vqvae(tmp_path / "deep" / "x.pth")
    theirs = back.state_dict()
    for name, value in ours.state_dict().items():
        if name.split(".")[-1] not in ("code_sum", "code_count", "ready"):  # the layout has no place for them
            assert torch.equal(value, theirs[name]), name
    motion, lengths = torch.randn(2, 40, 263), torch.tensor([40, 18])
    codes = ours.encode(motion, lengths)
    assert torch.equal(back.encode(motion, lengths), codes)
    assert torch.equal(back.decode(codes, lengths // 4), ours.decode(codes, lengths // 4))
    assert back.config == ours.config
    assert script("export", "--vqvae", tiny.run, "--format", "t2m-gpt", "--out", tmp_path / "run.pth").code == 0


def test_mistakes_end_in_one_line(script, tiny, tmp_path):
    there = tmp_path / "x.pth"
    there.write_text("mine")
    for args, message in [
        (("--vqvae", tiny.vqvae, "--format", "t2m-gpt", "--out", there), "x.pth is there already"),
        (("--format", "t2m-gpt", "--out", tmp_path / "y.pth"), "--format t2m-gpt needs --vqvae"),
        (("--vqvae", tmp_path, "--format", "t2m-gpt", "--out", tmp_path / "y.pth"), "holds no tokenizer"),
    ]:
        done = script("export", *args)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1
    assert there.read_text() == "mine" and not (tmp_path / "y.pth").exists()
