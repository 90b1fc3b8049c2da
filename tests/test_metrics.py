"""Metrics against numbers worked out by hand."""

import math

import pytest
import torch

from motiongpt.metrics import mpjpe, perplexity


def test_mpjpe_by_hand():
    target = torch.zeros(2, 3, 3)
    predicted = target.clone()
    predicted[0, 1] = torch.tensor([3.0, 0.0, 4.0])  # 5 m in one of three joints
    predicted[1] += torch.tensor([0.0, 2.0, 0.0])  # the whole body 2 m too high
    assert mpjpe(predicted, target).tolist() == pytest.approx([5 / 3, 0.0])
    assert mpjpe(predicted, target, root=None).tolist() == pytest.approx([5 / 3, 2.0])
    # aligned at joint 1, the joint that is off moves the two others instead
    assert mpjpe(predicted, target, root=1).tolist() == pytest.approx([10 / 3, 0.0])


def test_mpjpe_properties():
    a, b = torch.randn(4, 7, 22, 3), torch.randn(4, 7, 22, 3)
    assert mpjpe(a, b).shape == (4, 7) and (mpjpe(a, a) == 0).all()
    torch.testing.assert_close(mpjpe(a, b), mpjpe(b, a))
    torch.testing.assert_close(mpjpe(a + 3.0, b), mpjpe(a, b))  # root-aligned: where the body stands is no matter
    with pytest.raises(ValueError, match=r"equal shapes, got \(4, 7, 22, 3\) and \(4, 7, 21, 3\)"):
        mpjpe(a, b[:, :, :21])


def test_perplexity_by_hand():
    assert perplexity(torch.tensor([5, 5, 5, 5])) == pytest.approx(4.0)
    assert perplexity(torch.tensor([9, 0, 0])) == pytest.approx(1.0)
    assert perplexity(torch.arange(4)).shape == ()  # a tensor: a training step logs it without waiting for it
    wanted = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert perplexity(torch.tensor([3, 1, 0])) == pytest.approx(wanted)
    assert perplexity(torch.zeros(4, dtype=torch.long)) == 0.0
